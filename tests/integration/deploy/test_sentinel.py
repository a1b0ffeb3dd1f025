"""deploy/examples/sentinel with Debian's Redis: a master, a replica, three sentinels, a password; the main job, a failover by hand.

A failover because the master died, and what it costs with and without AITBC_LEDGER_REPLICAS: tests/faults/test_outages.py.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.harness.brokers import debian_redis
from tests.harness.examples import settings, written
from tests.harness.load import Load
from tests.harness.matrix import Row, row
from tests.harness.processes import ROOT, Process, environment, free_port, wait_for

PASSWORD = "changed"


class ExampleSet:
    """The servers; `env` is what the nodes' settings say of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, debian_redis(folder)
        self.ports, self.seers = [free_port(), free_port()], [free_port() for _ in range(3)]
        self.processes: list[Process] = []
        for number, port in enumerate(self.ports):
            follows = {"#replicaof 10.0.0.11 6379": f"replicaof 127.0.0.1 {self.ports[0]}"} if number else {}
            self._server(f"redis-{number}", "redis.conf", {**follows, "port 6379": f"port {port}"})
        wait_for(lambda: self.copied(self.ports[0]), 10, "the replica")  # a sentinel looks for replicas at its start, then every 10 s
        for number, port in enumerate(self.seers):
            mine = {"port 26379": f"port {port}", "10.0.0.11 6379": f"127.0.0.1 {self.ports[0]}"}
            self._server(f"sentinel-{number}", "sentinel.conf", mine, "--sentinel")
        hosts = {f"10.0.0.1{n}:26379": f"127.0.0.1:{port}" for n, port in enumerate(self.seers, start=1)}
        self.env = settings("sentinel/aitbc.env", {**hosts, "change-me": PASSWORD})
        wait_for(self.complete, 20, "three sentinels and a replica that know each other")

    def _server(self, name: str, conf: str, changes: dict[str, object], *options: str) -> None:
        folder = self.folder / name
        folder.mkdir()
        common = {"change-me": PASSWORD, "dir /var/lib/redis": f"dir {folder}", "bind 10.0.0.11": "bind 127.0.0.1"}
        path = written(folder, f"sentinel/{conf}", {**changes, **common})
        process = Process(name, [self.program, str(path), *options], self.folder, environment())
        self.processes.append(process)
        process.start()

    def ask(self, number: int, *words: str) -> Any:
        """Sentinel `number`."""
        with redis.Redis(port=self.seers[number], decode_responses=True, socket_timeout=2) as seer:
            return seer.execute_command("SENTINEL", *words)

    def complete(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            states = [self.ask(number, "MASTER", "aitbc") for number in range(3)]
            return all(str(state["num-slaves"]) == "1" and str(state["num-other-sentinels"]) == "2" for state in states)
        return False

    @property
    def master(self) -> int:
        return int(self.ask(0, "GET-MASTER-ADDR-BY-NAME", "aitbc")[1])

    def copied(self, port: int) -> bool:
        """This master has its replica."""
        with contextlib.suppress(redis.RedisError), redis.Redis(port=port, password=PASSWORD, socket_timeout=2) as master:
            found: Any = master.info("replication")
            return bool(found.get("slave0", {}).get("state") == "online")
        return False

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleSet]:
    servers = ExampleSet(Path(tmp_path_factory.mktemp("sentinel")))
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def world(servers: ExampleSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Row]:
    """Nodes with the example's settings."""
    with row("Sentinel as in deploy/examples", Path(tmp_path_factory.mktemp("nodes")), **servers.env) as world:
        world.cluster.redis_url = servers.env["REDIS_URL"]
        yield world


def test_the_main_job(world: Row, servers: ExampleSet) -> None:
    api = world.node()
    worker = world.worker()
    world.agent(api, delay=0.05)
    for n in range(20):
        world.submit(api, priority=("urgent", "low")[n % 2])
    world.settle(api, faults=0)
    assert str(servers.ask(0, "CKQUORUM", "aitbc")).startswith("OK 3 usable Sentinels")
    assert api.ok("GET", "/ready")["warnings"] == []
    env = environment(**servers.env, AITBC_URL=api.url)
    told = subprocess.run([sys.executable, "-m", "aitbc", "doctor", "--ledger"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    assert PASSWORD not in told.stdout + worker.log.read_text() + api.process.log.read_text()

    load = Load(lambda: api, pause=0.02)
    load.start()
    old = servers.master
    wait_for(lambda: len(load.accepted) > 20, 10, "work")
    servers.ask(0, "FAILOVER", "aitbc")  # as docs/operations.md moves Redis
    wait_for(lambda: servers.master != old, 20, "the new master")
    before = len(load.accepted)
    wait_for(lambda: len(load.accepted) > before + 20, 30, "submits to be accepted again")
    world.accepted += load.end()
    assert [task_id for task_id in world.accepted if api.call("GET", f"/tasks/{task_id}")[0] == 404] == []
    world.settle(api, faults=1)
    assert worker.alive
