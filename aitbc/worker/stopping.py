"""The order of a shutdown.

Warm (SIGTERM): hooks of phase `begin` at once; jobs and spawned coroutines run on for `timeout` seconds, then are cancelled and
have 5 s to clean up; periodic work ends; hooks of phase `end`. Cold (SIGQUIT, or a second signal): cancelled at once, 2 s.

While it waits the hub goes on turning: finished jobs are acknowledged, heartbeats leave. Celery calls in from three sides: its
signal handlers (`worker_shutting_down`), where only `begin` is possible; `pool.stop()`; `pool.terminate()`.
"""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from celery import signals
from celery.utils.log import get_logger

from aitbc.worker.hooks import hooks, run_hook
from aitbc.worker.jobs import Job
from aitbc.worker.loop import LONGEST_TURN, Loop

logger = get_logger("celery.pool")

# Seconds that cancelled work has to clean up, and hooks of phase `end` to run.
CLEAN_UP = 5.0
CLEAN_UP_COLD = 2.0


class Stopping:
    """One pool's shutdown."""

    def __init__(
        self, loop: Loop, jobs: set[Job], spawned: set["asyncio.Task[Any]"], periodic: set["asyncio.Task[Any]"], timeout: float
    ) -> None:
        """`timeout`: seconds that running work is waited for; the sets are the pool's own."""
        self.begun = False
        self.cold = False
        self.hub: Any = None
        self._loop = loop
        self._jobs = jobs
        self._spawned = spawned
        self._periodic = periodic
        self._timeout = timeout
        self._hooks: set[asyncio.Task[None]] = set()
        self._done = False
        signals.worker_shutting_down.connect(self._on_signal, weak=False)

    def _on_signal(self, how: str, **_: object) -> None:
        """Celery got a signal; this is inside its handler, so nothing happens here but a note to the loop."""
        self.begin(cold=how == "Cold" or self.begun)

    def begin(self, *, cold: bool) -> None:
        """Start the first phase. Repeats do nothing, except that one with `cold` cancels what runs."""
        if self._loop.asyncio.is_closed():
            return  # one signal more, after the end
        call = self._loop.asyncio.call_soon_threadsafe
        if not self.begun:
            self.begun = True
            call(self._run_hooks, hooks.stop["begin"])
        if cold and not self.cold:
            self.cold = True
            call(self._cancel)
        call(self._loop.asyncio.stop)  # Celery looks at its flags between two turns of the hub

    def complete(self, *, cold: bool) -> None:
        """Bring the pool to its end. Repeats do nothing."""
        self.begin(cold=cold)
        if self._done:
            return
        self._done = True
        self._wait(self._work, self._timeout, until_cold=True)
        if self._work():
            self._cancel()
            self._wait(self._work, self._clean_up)
        if left := self._work():
            logger.error("%d jobs and coroutines did not end when cancelled and are left behind: %s", len(left), left[:10])
        self._end(self._periodic)
        self._run_hooks(hooks.stop["end"])
        self._wait(lambda: list(self._hooks), self._clean_up)
        self._end(self._hooks)

    @property
    def _clean_up(self) -> float:
        return CLEAN_UP_COLD if self.cold else CLEAN_UP

    def _work(self) -> list[object]:
        return [*self._jobs, *self._spawned, *self._hooks]

    def _cancel(self) -> None:
        running = self._work()
        if running:
            logger.warning("Cancelling %d jobs and coroutines", len(running))
        for job in list(self._jobs):
            job.cancel()
        _cancel_all(self._spawned)

    def _end(self, tasks: set["asyncio.Task[Any]"]) -> None:
        _cancel_all(tasks)
        self._wait(lambda: list(tasks), self._clean_up)

    def _run_hooks(self, works: Iterable[Any]) -> None:
        for work in works:
            task = self._loop.asyncio.create_task(run_hook(work))
            self._hooks.add(task)
            task.add_done_callback(self._hook_ended)

    def _hook_ended(self, task: "asyncio.Task[None]") -> None:
        self._hooks.discard(task)
        self._loop.hub_has_work()

    def _wait(self, remaining: Callable[[], list[object]], seconds: float, *, until_cold: bool = False) -> None:
        """Turn the hub until nothing remains, `seconds` are over, or (if so asked) the shutdown has become a cold one."""
        end = monotonic() + seconds
        while remaining() and not (until_cold and self.cold) and (left := end - monotonic()) > 0:
            self._turn(min(left, LONGEST_TURN))

    def _turn(self, seconds: float) -> None:
        """One turn of the hub. Without a broker it has nothing to turn; coroutines run on without it."""
        if self.hub is None:
            self._loop.run(seconds)
            return
        timer = self._loop.asyncio.call_later(seconds, self._loop.asyncio.stop)
        try:
            self.hub.run_once()
        except Exception as error:  # noqa: BLE001  the broker went away: the end of the work matters more
            logger.warning("The broker is away during the shutdown (%r); what is not acknowledged will be delivered again", error)
            self.hub = None
        finally:
            timer.cancel()


def _cancel_all(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    for task in list(tasks):
        if not task.cancelling():
            task.cancel()
