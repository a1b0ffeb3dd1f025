"""What the rooms above have the engine run beside the jobs: periodic work, and hooks at start and stop.

Registered at import, or later: periodic work that is registered while the pool runs begins at once.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from celery.utils.log import get_logger

logger = get_logger("celery.pool")

Work = Callable[[], Coroutine[Any, Any, object]]
W = TypeVar("W", bound=Work)
Phase = Literal["begin", "end"]


class Periodic:
    """One piece of work that is done again and again, never overlapping with itself."""

    def __init__(self, seconds: float, work: Work, name: str) -> None:
        """`seconds` from one beginning to the next; more than 0."""
        if seconds <= 0:
            raise ValueError(f"every({seconds}, {name}): the interval must be more than 0 seconds")
        self.seconds = seconds
        self.work = work
        self.name = name
        self._complained: set[type[BaseException]] = set()

    async def run(self) -> None:
        """Begin at once and never end. A turn that takes longer than the interval is followed at once by one turn, not by a burst."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            await self._turn()
            due = max(due + self.seconds, clock())
            await asyncio.sleep(due - clock())

    async def _turn(self) -> None:
        """An exception is logged once per class until a turn succeeds again."""
        try:
            await self.work()
        except Exception as error:  # periodic work outlives whatever goes wrong in one turn
            if type(error) not in self._complained:
                self._complained.add(type(error))
                logger.warning("Periodic work %s failed; it goes on every %g s", self.name, self.seconds, exc_info=error)
        else:
            if self._complained:
                self._complained.clear()
                logger.info("Periodic work %s succeeds again", self.name)


class Hooks:
    """What was registered in this process."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.periodic: list[Periodic] = []
        self.start: list[Work] = []
        self.stop: dict[Phase, list[Work]] = {"begin": [], "end": []}
        self.launch: Callable[[Periodic], object] | None = None  # set by a pool while it runs


hooks = Hooks()


def every(seconds: float, work: Work, *, name: str = "") -> None:
    """Run `work()` each `seconds` on the loop, the first time when the pool starts, until the pool's jobs have ended.

    It goes on while the broker is away. `name` is for the log; the function's own by default.
    Raises ValueError when `seconds` is not more than 0.
    """
    periodic = Periodic(seconds, work, name or getattr(work, "__qualname__", repr(work)))
    hooks.periodic.append(periodic)
    if hooks.launch is not None:
        hooks.launch(periodic)


def on_start(work: W) -> W:
    """Run `work()` when the pool starts, before any job; the worker does not start if it raises. Usable as a decorator."""
    hooks.start.append(work)
    return work


def on_stop(work: W, *, phase: Phase = "begin") -> W:
    """Run `work()` when the pool stops, while the broker's connection is still open.

    `begin`: at once, on the first SIGTERM, beside the jobs that are still running.
    `end`: after all jobs, spawned coroutines and periodic work have ended or were cancelled; it has 5 seconds (2 when cold).
    An exception is logged.
    """
    hooks.stop[phase].append(work)
    return work


async def run_hook(work: Work) -> None:
    """Run a stop hook: whatever it raises, the shutdown goes on."""
    try:
        await work()
    except Exception:
        logger.exception("Stop hook %s failed", getattr(work, "__qualname__", work))
