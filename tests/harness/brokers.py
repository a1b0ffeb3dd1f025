"""RabbitMQ, and Redis with a replica and three sentinels: real servers on free ports, each ended by its own process id."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import redis

from tests.harness.cluster import Cluster
from tests.harness.processes import Process, environment, free_port, redis_binary, wait_for

SENTINEL = """port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor mymaster 127.0.0.1 {master} 2
sentinel down-after-milliseconds mymaster 2000
sentinel failover-timeout mymaster 6000
"""


class Fleet:
    """The cluster's Redis as the first master, a replica, three sentinels. Processes started after it know only the sentinels."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.folder = cluster, cluster.directory
        ports = (cluster.redis_port, free_port())
        self.nodes = {cluster.redis_port: cluster.redis, ports[1]: self._node(ports[1])}
        self.replicate(ports[1], cluster.redis_port)
        seers = [free_port() for _ in range(3)]
        self.sentinels = [self._sentinel(f"sentinel-{n}", port) for n, port in enumerate(seers)]
        self.seers = [redis.Redis(port=port, decode_responses=True) for port in seers]
        hosts = ",".join(f"127.0.0.1:{port}" for port in seers)
        cluster.redis_url = f"sentinel://{hosts}/mymaster/1"
        wait_for(self._complete, 20, "three sentinels and a replica that know each other")

    def _node(self, port: int) -> Process:
        folder = self.folder / str(port)
        folder.mkdir()
        quiet = ["--save", "", "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"]
        command = [redis_binary(), "--port", str(port), "--dir", str(folder), *quiet]
        process = Process(f"redis-{port}", command, self.folder, environment())
        process.start()
        return process

    def _sentinel(self, name: str, port: int) -> Process:
        folder = self.folder / name
        folder.mkdir()
        conf = folder / "sentinel.conf"
        conf.write_text(SENTINEL.format(port=port, folder=folder, master=self.cluster.redis_port))
        process = Process(name, ["redis-sentinel", str(conf)], self.folder, environment())
        process.start()
        return process

    def _complete(self) -> bool:
        try:
            masters = [seer.sentinel_master("mymaster") for seer in self.seers]
        except redis.RedisError:
            return False
        return all(m["num-slaves"] == 1 and m["num-other-sentinels"] == 2 for m in masters) and self.copied()

    def ask(self, port: int, *words: object) -> object:
        """One command to one node."""
        with redis.Redis(port=port, socket_timeout=2) as client:
            return client.execute_command(*words)

    def info(self, port: int) -> dict[str, object]:
        with redis.Redis(port=port, socket_timeout=2) as client:
            return dict(client.info("replication"))

    def replicate(self, port: int, master: int) -> None:
        def told() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(self.ask(port, "REPLICAOF", "127.0.0.1", master))
            return False

        wait_for(told, 10, "a replica")

    @property
    def master(self) -> int:
        """The port that the first sentinel names."""
        return int(self.seers[0].sentinel_master("mymaster")["port"])

    @property
    def replica(self) -> int:
        return next(port for port in self.nodes if port != self.master)

    def copied(self) -> bool:
        """The replica's link is up."""
        with contextlib.suppress(redis.RedisError):
            return self.info(self.replica)["master_link_status"] == "up"
        return False

    def unlink(self) -> None:
        """Break the replica's link, for as long as this master lives."""
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
        ports = {"NODENAME": self.node, "NODE_IP_ADDRESS": "127.0.0.1", "NODE_PORT": self.port, "DIST_PORT": free_port()}
        small = {"SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none"}
        self.env = environment(**{f"RABBITMQ_{name}": str(value) for name, value in {**paths, **ports, **small}.items()})
        self.process = Process("rabbitmq", ["rabbitmq-server"], self.folder, self.env)
        self.start()

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
