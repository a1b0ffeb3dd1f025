"""Start, watch and kill the coordinator's processes."""

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TypeVar

ROOT = Path(__file__).parents[2]
PORTS = range(20_000, 32_000)
_locks: list[IO[str]] = []
T = TypeVar("T")


class Place:
    """Where processes run and servers listen. This one: here, on loopback; tests/harness/network.py has hosts of their own."""

    address = "127.0.0.1"
    env: Mapping[str, str] = {}

    def inside(self, command: list[str]) -> list[str]:
        """The command that runs it there."""
        return command

    def run(self, function: Callable[[], T]) -> T:
        """Call it there."""
        return function()


HERE = Place()


def free_port() -> int:
    """A port that nothing listens on and that no other test is given while this one runs.

    Below the kernel's ephemeral range: there it could be taken by any test's server on port 0 before its own server, which may need
    ten seconds to start, listens. Each is locked until this process ends.
    """
    folder = Path(tempfile.gettempdir()) / "aitbc-test-ports"
    folder.mkdir(exist_ok=True)
    for port in random.sample(PORTS, len(PORTS)):
        lock = (folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                _locks.append(lock)
                return port
        except OSError:
            lock.close()
    raise AssertionError(f"no port of {PORTS} is free")


def wait_for(ready: Callable[[], object], seconds: float = 20.0, what: str = "") -> object:
    """Poll until it is true; what it returned. AssertionError names what was waited for."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = ready()
            error: object = None
        except (OSError, AssertionError) as exc:
            value, error = None, exc
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what or ready} did not come true in {seconds} s ({error or value!r})")
        time.sleep(0.02)


class Process:
    """A child in a process group of its own; its output goes to a file."""

    def __init__(self, name: str, command: list[str], log_dir: Path, env: dict[str, str]) -> None:
        self.name, self.command, self.env, self.log = name, command, env, log_dir / f"{name}.log"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(self.command, cwd=ROOT, stdout=out, stderr=out, env=self.env, start_new_session=True)

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def signal(self, number: int) -> None:
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """kill -9 of the whole group."""
        if self.alive:
            self.signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait(10)

    def terminate(self) -> None:
        """SIGTERM to the leader; nothing when it has ended."""
        if self.alive and self.child is not None:
            self.child.terminate()
            self.child.send_signal(signal.SIGCONT)

    def end_within(self, seconds: float) -> None:
        """Wait for the end of a process that was told to end, then kill it."""
        if self.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(seconds)
        self.kill()

    def stop(self, seconds: float = 15) -> int:
        """SIGTERM to the leader, as a supervisor does; its exit code. What hangs is killed and fails the test."""
        assert self.child is not None
        if not self.alive:
            return int(self.child.returncode)
        self.child.terminate()
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds} s of SIGTERM:\n{self.tail()}") from None

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def redis_binary() -> str:
    inside = Path(sys.executable).parent / "redis-server"
    return str(inside) if inside.exists() else "redis-server"


def environment(**extra: str) -> dict[str, str]:
    """The test's environment without any setting of the coordinator, and `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AITBC_") and k not in ("REDIS_URL", "CELERY_BROKER_URL")}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}
