"""RabbitMQ, and Redis with a replica and three sentinels: real servers on free ports, each ended by its own process id."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import redis

from tests.harness.cluster import Cluster
from tests.harness.processes import Place, Process, environment, free_port, redis_binary, wait_for

SENTINEL = """port {port}
bind {address}
protected-mode no
dir {folder}
sentinel monitor mymaster {host} {master} 2
sentinel down-after-milliseconds mymaster 2000
sentinel failover-timeout mymaster 6000
"""


def debian_redis(folder: Path) -> str:
    """The redis-server of Debian's package redis-tools, which is there under other names: the one it is called by says what it does."""
    link = folder / "redis-server"
    if not link.is_symlink():
        link.symlink_to(Path("/usr/bin/redis-sentinel").resolve())
    return str(link)


class Fleet:
    """The cluster's Redis as the first master, a replica of it, three sentinels, in one place. Who starts later knows only the sentinels.

    `others`: two places. Each has a replica and a sentinel then, and the third sentinel is where the master is.
    """

    def __init__(self, cluster: Cluster, others: Sequence[Place] = ()) -> None:
        self.cluster, self.folder = cluster, cluster.directory
        self.at: dict[int, Place] = {cluster.redis_port: cluster.at}  # where the Redis of each port is
        self.nodes = {cluster.redis_port: cluster.redis}
        for place in others or (cluster.at,):
            self._replica(free_port(), place)
        self.seers: list[redis.Redis] = []
        self._hosts: list[str] = []
        self.sentinels = [self._sentinel(f"sentinel-{n}", place) for n, place in enumerate((cluster.at, *(others or [cluster.at] * 2)))]
        cluster.redis_url = f"sentinel://{','.join(self._hosts)}/mymaster/1"
        wait_for(self._complete, 20, "three sentinels and replicas that know each other")

    def _replica(self, port: int, place: Place) -> None:
        folder = self.folder / str(port)
        folder.mkdir()
        quiet = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"]
        open_to = ["--bind", place.address, "--protected-mode", "no"]
        command = [redis_binary(), "--port", str(port), "--dir", str(folder), *quiet, *open_to]
        self.nodes[port] = Process(f"redis-{port}", place.inside(command), self.folder, environment())
        self.nodes[port].start()
        self.at[port] = place
        self.replicate(port, self.cluster.redis_port)

    def _sentinel(self, name: str, place: Place) -> Process:
        folder, port, master = self.folder / name, free_port(), self.cluster.redis_port
        folder.mkdir()
        conf = folder / "sentinel.conf"
        conf.write_text(SENTINEL.format(port=port, folder=folder, address=place.address, host=self.at[master].address, master=master))
        process = Process(name, place.inside(["redis-sentinel", str(conf)]), self.folder, environment())
        process.start()
        self.seers.append(redis.Redis(place.address, port, decode_responses=True, socket_timeout=2))
        self._hosts.append(f"{place.address}:{port}")
        return process

    def _complete(self) -> bool:
        try:
            masters = [seer.sentinel_master("mymaster") for seer in self.seers]
        except redis.RedisError:
            return False
        return all(m["num-slaves"] == len(self.nodes) - 1 and m["num-other-sentinels"] == 2 for m in masters) and self.copied()

    def ask(self, port: int, *words: object) -> object:
        """One command to one node."""
        with redis.Redis(self.at[port].address, port, socket_timeout=2) as client:
            return client.execute_command(*words)

    def info(self, port: int) -> dict[str, object]:
        with redis.Redis(self.at[port].address, port, socket_timeout=2) as client:
            return dict(client.info("replication"))

    def replicate(self, port: int, master: int) -> None:
        def told() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(self.ask(port, "REPLICAOF", self.at[master].address, master))
            return False

        wait_for(told, 10, "a replica")

    @property
    def master(self) -> int:
        """The port that the last sentinel names."""
        return int(self.seers[-1].sentinel_master("mymaster")["port"])

    def copied(self) -> bool:
        """Every replica's link to the master is up."""
        master = self.master
        with contextlib.suppress(redis.RedisError):
            others = [self.info(port) for port in self.nodes if port != master]
            return all((at.get("master_link_status"), at.get("master_port")) == ("up", master) for at in others)
        return False

    def unlink(self) -> None:
        """Break the replicas' links, for as long as this master lives."""
        self.ask(self.master, "ACL", "SETUSER", "default", "-psync", "-sync")
        self.ask(self.master, "CLIENT", "KILL", "TYPE", "replica")

    def close(self) -> None:
        for seer in self.seers:
            seer.close()
        for process in (*self.sentinels, *self.nodes.values()):
            if process.alive:
                process.signal(signal.SIGCONT)
            process.kill()


class Rabbit:
    """One RabbitMQ node; its data outlives a kill. (In a folder of its own: pytest's are closed to RabbitMQ's user.)"""

    def __init__(self) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="aitbc-rabbit-")), free_port()
        self.node = f"aitbc{self.port}@localhost"
        for name in ("mnesia", "log"):
            (self.folder / name).mkdir()
            shutil.chown(self.folder / name, "rabbitmq", "rabbitmq")
        self.folder.chmod(0o755)
        paths = {"MNESIA_BASE": self.folder / "mnesia", "LOG_BASE": self.folder / "log", "PID_FILE": self.folder / "mnesia" / "pid"}
        own = {"NODENAME": self.node, "DIST_PORT": free_port(), "SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none"}
        self.env = environment(**{f"RABBITMQ_{name}": str(value) for name, value in {**paths, **own, **self.listening()}.items()})
        self.process = Process("rabbitmq", ["rabbitmq-server"], self.folder, self.env)
        self.start()

    def listening(self) -> dict[str, object]:
        """The variables that say where it listens."""
        return {"NODE_IP_ADDRESS": "127.0.0.1", "NODE_PORT": self.port}

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def ctl(self, *words: str) -> str:
        """What rabbitmqctl says; OSError when it fails."""
        done = subprocess.run(["rabbitmqctl", "-q", "-n", self.node, *words], env=self.env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout

    def start(self) -> None:
        self.process.start()
        try:
            wait_for(self._answers, 60, "RabbitMQ")
        except AssertionError as exc:
            said = [f"{log.name}:\n{log.read_text(errors='replace')[-3000:]}" for log in (self.process.log, *self.folder.glob("log/*"))]
            raise AssertionError("\n".join([str(exc), *said])) from exc

    def _answers(self) -> bool:
        """It closes what does not speak AMQP with its own header."""
        with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
            probe.settimeout(2)
            probe.sendall(b"no AMQP.")
            return probe.recv(4) == b"AMQP"

    @property
    def pid(self) -> int:
        """The node's own: what started it has left its process group."""
        return int((self.folder / "mnesia" / "pid").read_text())

    def kill(self) -> None:
        """kill -9 of the node; `epmd`, which every Erlang node of the machine shares, is left alone."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.end_within(10)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)
