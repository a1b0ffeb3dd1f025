"""Requests that wait for a task to end: woken by the process's one reader of the ledger's events, so a waiter costs Redis nothing."""

import threading
import time
from collections.abc import Callable

from aitbc.errors import Full
from aitbc.ledger.events import Event
from aitbc.model.task import TERMINAL, Task
from aitbc.web.feed import BLOCK_SECONDS, Feed

RECHECK_SECONDS = 10.0
"""A waiter looks for itself this often: events may be cut off by an outage of Redis."""


class _Waiter:
    """Woken by its task's end, and when the process stops."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def hear(self, event: Event) -> None:
        """Its task has changed."""
        if event.word in TERMINAL:
            self.woken.set()

    def lost(self) -> None:
        """The end may be among what was lost."""
        self.woken.set()

    def stop(self) -> None:
        """The process stops."""
        self.woken.set()


class Held:
    """The waiting requests of a process."""

    def __init__(self, feed: Feed) -> None:
        """`feed`: bounds how many wait."""
        self._feed = feed

    def wait(self, task_id: str, seconds: float, read: Callable[[], Task], owner: str) -> tuple[Task, bool]:
        """The task once it has ended or the seconds are over. `owner`: as in `Feed.enter`.

        The second value is False when it was not waited for: too many wait already, or the process stops. Then it is the task as it is.
        """
        waiter = _Waiter()
        try:
            self._feed.enter(task_id, waiter, owner)
        except Full:
            return read(), False
        try:
            task = self._until_ended(seconds, waiter.woken, read)
            return task, task.state.terminal or not self._feed.closed
        finally:
            self._feed.leave(task_id, waiter, owner)

    def _until_ended(self, seconds: float, woken: threading.Event, read: Callable[[], Task]) -> Task:
        end = time.monotonic() + seconds
        self._feed.stands(min(seconds, BLOCK_SECONDS))
        task = read()
        while not task.state.terminal and not self._feed.closed and (left := end - time.monotonic()) > 0:
            woken.wait(min(left, RECHECK_SECONDS))
            woken.clear()
            task = read()
        return task
