"""A child process of `aitbc up`: started on a leash, its output told line by line, ended by its own pid and process group."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_LEASH = Path(__file__).with_name("leash.py")
_LONGEST_LINE = 16_384
_LEVEL = re.compile(
    r"""\[[^]]*\b(?P<bracket>DEBUG|INFO|WARNING|ERROR|CRITICAL)\b   # Celery, gunicorn
    |\[(?P<flower>[DIWEC])\ \d+                                     # Flower
    |^\d+:[A-Z]\ .{20,30}\ (?P<redis>[-.*\#])\                      # Redis
    |^(?P<plain>DEBUG|INFO|WARNING|ERROR|CRITICAL)\b""",
    re.VERBOSE,
)
_JSON_LEVEL = re.compile(r'"level":\s*"(?P<json>\w+)"')
"""In our own logs, an object a line."""
_QUIET = {"debug", "info", "d", "i", "-", ".", "*"}

Tell = Callable[[str, IO[str]], None]
"""Prints one line to a stream."""


@dataclass(frozen=True, slots=True)
class Service:
    """A process that has to run.

    `env` is added to the environment; `grace`: seconds between SIGTERM and SIGKILL; `ends`: lower ones are ended first; `ready`: the next
    service starts once it returns true; `pass_fds`: open files that the process inherits; `hush`: a pattern of lines that look like
    warnings and are none.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    grace: float = 2.0
    ends: int = 0
    ready: Callable[[], bool] | None = None
    pass_fds: tuple[int, ...] = ()
    hush: str = ""


class Volume:
    """Which lines of a child are shown: all, or warnings and above with what belongs to them (the lines of a traceback)."""

    def __init__(self, everything: bool, unknown: bool, hush: str = "") -> None:
        """`unknown`: whether lines before the first with a level are shown; `hush`: a pattern of those that never are."""
        self._everything, self._shown = everything, unknown
        self._hush = re.compile(hush or r"(?!)")

    def passes(self, line: str) -> bool:
        """Whether this line is shown; one without a level goes with the one before."""
        found = (_JSON_LEVEL if line.startswith("{") else _LEVEL).search(line)
        if self._hush.search(line):
            self._shown = False
        elif found:
            self._shown = str(found[found.lastgroup or 0]).lower() not in _QUIET
        return self._everything or self._shown


class Child:
    """One service's process, from start to end, over and over. Start it from the main thread: the leash is tied to the thread."""

    def __init__(self, service: Service, verbose: bool, tell: Tell) -> None:
        """Nothing runs yet."""
        self.service, self._verbose, self._tell = service, verbose, tell
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self.started = 0.0
        self.pause = 0.0
        self.restart_at: float | None = None

    @property
    def pid(self) -> int | None:
        """Its process while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process in a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone."""
        command = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *self.service.argv]
        process = subprocess.Popen(  # noqa: S603 - a command of ours
            command,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.service.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=self.service.pass_fds,
            start_new_session=True,
        )
        self._process, self.started, self.restart_at = process, time.monotonic(), None
        streams = ((process.stdout, sys.stdout, False), (process.stderr, sys.stderr, True))
        self._readers = [threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams]
        for reader in self._readers:
            reader.start()

    def ended(self) -> int | None:
        """None while it runs or when it was never started; else its exit code, once: what it left of its group is killed first."""
        process = self._process
        if process is None or os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self._signal_group(process.pid)
        code = process.wait()
        self._process = None
        for reader in self._readers:
            reader.join(0.5)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process:
            self._process.terminate()

    def kill(self) -> None:
        """End it and all of its process group at once."""
        if self._process:
            self._signal_group(self._process.pid)

    def _signal_group(self, pid: int) -> None:
        """SIGKILL; the process is not reaped yet, so the number is still its own."""
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _read(self, pipe: IO[bytes], stream: IO[str], unknown: bool) -> None:
        volume = Volume(self._verbose, unknown, self.service.hush)
        with pipe:
            while raw := pipe.readline(_LONGEST_LINE):
                line = raw.decode("utf-8", "replace").rstrip()
                if volume.passes(line) and line:
                    self._tell(f"{self.service.name:<7}| {line}", stream)
