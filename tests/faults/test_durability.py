"""What a kill of Redis costs on a slow disk: `appendfsync everysec` loses what it acknowledged, `always` does not.

The disk is a shim before fsync and fdatasync (300 to 600 ms), compiled here.  While an fsync is under way `everysec` keeps what it has
acknowledged in memory only, for up to 2 s.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from aitbc.errors import AitbcError
from aitbc.ledger import tasks
from aitbc.ledger.client import Ledger
from aitbc.ledger.doctor import examine
from aitbc.settings import Settings
from tests.harness.processes import Process, environment, free_port, redis_binary, wait_for
from tests.integration.ledger.desk import new_task

CLIENTS, KILLS = 8, 4
MARKS = "fsyncs"
INSIDE = 0.2
"""Seconds into an fsync at which Redis is killed: it takes 0.3 at least."""


@pytest.fixture(scope="module")
def slow_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "slow_fsync.so"
    source = Path(__file__).parents[1] / "harness" / "slow_fsync.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source)], check=True)
    return library


class Clients:
    """Submit as fast as answers come; `accepted` are the acknowledged ones."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.accepted, self.halt = ledger, list[str](), threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _work(self, n: int) -> None:
        number = 0
        while not self.halt.is_set():
            number += 1
            with contextlib.suppress(AitbcError):
                self.accepted.append(self.ledger.run(tasks.submit(new_task(f"c{n}-{number}"))).task_id)

    def end(self) -> None:
        self.halt.set()
        for thread in self.threads:
            thread.join(20)


@pytest.fixture
def server(tmp_path: Path, slow_disk: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Process, int]]:
    port = free_port()
    options = ["--save", "", "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", request.param, "--dir", str(tmp_path)]
    env = environment(LD_PRELOAD=str(slow_disk), SLOW_FSYNC=str(tmp_path / MARKS))
    server = Process("redis", [redis_binary(), "--port", str(port), *options], tmp_path, env)
    yield server, port
    server.kill()


def begin(server: tuple[Process, int]) -> None:
    process, port = server
    process.start()

    def answers() -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis(port=port) as client:
            return bool(client.ping())
        return False

    wait_for(answers, 20, "Redis")


def in_an_fsync(marks: Path) -> None:
    """Wait for the next to begin, and then until it is well under way."""
    before = marks.stat().st_size
    wait_for(lambda: marks.stat().st_size > before, 10, "an fsync")
    time.sleep(INSIDE)


@pytest.mark.parametrize(("server", "loses"), [("everysec", True), ("always", False)], indirect=["server"])
def test_killed_on_a_slow_disk(server: tuple[Process, int], loses: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(server)
    ledger = Ledger(Settings(redis_url=f"redis://127.0.0.1:{server[1]}/1"))
    accepted, lost = 0, 0
    for _ in range(KILLS):
        clients = Clients(ledger)
        time.sleep(1.0)
        in_an_fsync(tmp_path / MARKS)
        server[0].kill()
        clients.end()
        begin(server)
        left = {str(name, "utf-8") for name in ledger.redis.zrange("tasks:all", 0, -1)}
        accepted += len(clients.accepted)
        lost += len(set(clients.accepted) - left)
        ledger.redis.flushall()
        if lost and loses:
            break  # enough to know
    with capsys.disabled():
        print(f"\n{server[0].command[-3]}: {accepted} accepted, {lost} lost")
    assert examine(ledger) == []
    ledger.close()
    assert accepted > 0
    assert (lost > 0) is loses
