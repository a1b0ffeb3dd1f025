"""Requests that wait for a task to end: one reader of the ledger's events a process wakes them, so a waiter costs Redis nothing."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from aitbc.errors import LedgerAway
from aitbc.ledger.client import Ledger
from aitbc.model.task import Task
from aitbc.telemetry.once import OutageLog

log = logging.getLogger(__name__)

FROM_NOW = "$"
"""The first read asks only where the stream stands, and answers at once."""
BLOCK_SECONDS = 1.0
"""How long one read of the events blocks; the reader ends this long after its last waiter."""
RECHECK_SECONDS = 10.0
"""A waiter looks for itself this often: events may be cut off by an outage of Redis."""


class Held:
    """The waiting requests of a process, at most `limit`. Threads and greenlets may use it alike."""

    def __init__(self, ledger: Ledger, limit: int) -> None:
        """`limit`: beyond it nobody waits."""
        self._ledger = ledger
        self._limit = limit
        self._lock = threading.Lock()
        self._waiters: dict[str, set[threading.Event]] = {}
        self._count = 0
        self._reader: threading.Thread | None = None
        self._reading = threading.Event()
        self._closed = False
        self._outage = OutageLog("the ledger's event stream")

    def wait(self, task_id: str, seconds: float, read: Callable[[], Task]) -> tuple[Task, bool]:
        """The task once it has ended or the seconds are over.

        The second value is False when it was not waited for: too many wait already, or the process stops. Then it is the task as it is.
        """
        if not self._enter(task_id, woken := threading.Event()):
            return read(), False
        try:
            task = self._until_ended(seconds, woken, read)
            return task, task.state.terminal or not self._closed
        finally:
            self._leave(task_id, woken)

    def close(self) -> None:
        """Answer all that wait, now; nobody waits any more. For a process that stops."""
        with self._lock:
            self._closed = True
            for waiting in self._waiters.values():
                for woken in waiting:
                    woken.set()

    def _until_ended(self, seconds: float, woken: threading.Event, read: Callable[[], Task]) -> Task:
        end = time.monotonic() + seconds
        self._reading.wait(min(seconds, BLOCK_SECONDS))
        task = read()
        while not task.state.terminal and not self._closed and (left := end - time.monotonic()) > 0:
            woken.wait(min(left, RECHECK_SECONDS))
            woken.clear()
            task = read()
        return task

    def _enter(self, task_id: str, woken: threading.Event) -> bool:
        with self._lock:
            if self._closed or self._count >= self._limit:
                return False
            self._count += 1
            self._waiters.setdefault(task_id, set()).add(woken)
            if self._reader is None or not self._reader.is_alive():
                self._reading.clear()
                self._reader = threading.Thread(target=self._read, name="held", daemon=True)
                self._reader.start()
            return True

    def _leave(self, task_id: str, woken: threading.Event) -> None:
        with self._lock:
            self._count -= 1
            waiting = self._waiters[task_id]
            waiting.discard(woken)
            if not waiting:
                del self._waiters[task_id]

    def _read(self) -> None:
        """The reader: lives while somebody waits. It says `reading` once it knows where the stream stands, so no end falls in between."""
        last = FROM_NOW
        while self._wanted():
            try:
                last, ended = self._ledger.follow(last, BLOCK_SECONDS)
            except LedgerAway as exc:
                self._outage.down(exc)
                time.sleep(BLOCK_SECONDS)
                continue
            self._outage.up()
            self._reading.set()
            self._wake(task_id for task_id, _state in ended)

    def _wanted(self) -> bool:
        with self._lock:
            if self._waiters:
                return True
            self._reader = None
            return False

    def _wake(self, task_ids: Iterable[str]) -> None:
        with self._lock:
            for task_id in task_ids:
                for woken in self._waiters.get(task_id, ()):
                    woken.set()
