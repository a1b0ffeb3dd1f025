"""A Celery pool whose tasks are coroutines:  worker_pool = "aitbc.worker.pool:TaskPool".

One thread: Celery's consumer keeps its loop and its hub, the hub's sleep runs asyncio (loop.py), and Celery's own Request decides
what a job's end means (jobs.py). Plain functions run in a few threads with Celery's own tracer.
`worker_concurrency` is the number of places; a job takes one, and so does a spawned coroutine.
"""

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from inspect import iscoroutinefunction
from time import monotonic
from typing import Any

from celery import signals
from celery.concurrency.base import BasePool
from celery.utils.log import get_logger
from celery.worker import state

from aitbc.worker.hooks import Periodic, hooks
from aitbc.worker.jobs import Job, no_current_job
from aitbc.worker.loop import Loop
from aitbc.worker.refusals import check_call, check_options, check_tasks, no_resize
from aitbc.worker.stopping import Stopping

logger = get_logger("celery.pool")

# Allocations between two young collections. Python's 700 (2,000 in 3.14) costs a quarter of the CPU: a job in flight is many small objects.
GC_YOUNG = 20_000
# Seconds that a warm shutdown waits for work in flight, unless the app's configuration has aitbc_shutdown_timeout.
SHUTDOWN_TIMEOUT = 30.0
# A hub turns at least once a second while its connection stands.
POLLED_WITHIN = 5.0
# Plain (not async) task functions that run at the same time, each in a thread.
PLAIN_AT_ONCE = 4


class TaskPool(BasePool):
    """The pool. Celery makes one in each worker process and calls the methods below; the room above uses the module's functions."""

    body_can_be_buffer = True
    signal_safe = False  # stop() waits for work, which a signal handler cannot do

    def __init__(self, *args: Any, **options: Any) -> None:
        """Options are Celery's. Raises ImproperlyConfigured for those that cannot be honoured."""
        check_options(options)
        super().__init__(*args, **options)
        self.jobs: set[Job] = set()
        self.spawned: set[asyncio.Task[Any]] = set()
        self.periodic: set[asyncio.Task[None]] = set()
        self._told: set[tuple[str, str]] = set()
        self._coroutine: dict[str, bool] = {}

    def on_start(self) -> None:
        """Make the loop, run the start hooks, begin periodic work. An exception of a start hook keeps the worker from starting."""
        check_tasks(self.app)
        self.loop = Loop()
        self.plain = asyncio.Semaphore(PLAIN_AT_ONCE)
        self.places = asyncio.Semaphore(int(self.limit))
        timeout = self.app.conf.get("aitbc_shutdown_timeout")
        self.stopping = Stopping(self.loop, self.jobs, self.spawned, self.periodic, SHUTDOWN_TIMEOUT if timeout is None else float(timeout))
        _Running.pool = self
        for work in hooks.start:
            self.loop.complete(work())
        hooks.launch = self.launch
        for periodic in hooks.periodic:
            self.launch(periodic)
        gc.collect()
        gc.freeze()  # what was imported stays: never scan it again
        gc.set_threshold(GC_YOUNG, 20, 20)
        signals.worker_process_init.send(sender=None)

    def register_with_event_loop(self, loop: Any) -> None:
        """Called with Celery's hub at each (re)connect, before the hub turns."""
        self.loop.attach(loop)
        self.stopping.hub = loop

    def on_apply(self, target: Any, args: Any, kwargs: Any = None, **options: Any) -> Job:  # type: ignore[override]  # noqa: ARG002
        """Take a message: `args` are those of Celery's tracer `target`, (task name, id, headers with arguments, body, ...)."""
        name, task_id, call = args[:3]
        task = self.app.tasks[name]
        coroutine = self._is_coroutine(name, task)
        job = Job(self, task, task_id, options, options.get("timeout") or self.options.get("timeout"))
        check_call(job, options, self._told, plain=not coroutine)
        body = job.run(call) if coroutine else job.run_plain(target, args)
        self.jobs.add(job)
        job.future = self.loop.asyncio.create_task(body)
        return job

    def _is_coroutine(self, name: str, task: Any) -> bool:
        known = self._coroutine.get(name)
        if known is None:
            known = self._coroutine[name] = iscoroutinefunction(task.run)
        return known

    def report(self, callback: Callable[..., object], *args: object) -> None:
        """Call back into Celery, in its own thread, and let the hub run soon: it has acknowledgements or events to send."""
        try:
            callback(*args)
        except Exception:
            logger.exception("Celery's callback of a job failed")
        self.loop.hub_has_work()

    def leave(self, job: Job) -> None:
        """A job's body has ended: its place is free."""
        self.jobs.discard(job)

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> "asyncio.Task[Any]":
        """See the function of this name."""
        context = copy_context()
        context.run(no_current_job)
        task = self.loop.asyncio.create_task(coroutine, context=context)
        self.spawned.add(task)
        task.add_done_callback(self._spawned_ended)
        return task

    def _spawned_ended(self, task: "asyncio.Task[Any]") -> None:
        self.spawned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A spawned coroutine failed: %r", error, exc_info=error)
        self.loop.hub_has_work()

    def launch(self, periodic: Periodic) -> None:
        """Begin periodic work."""
        context = copy_context()
        context.run(no_current_job)
        task = self.loop.asyncio.create_task(periodic.run(), name=periodic.name, context=context)
        self.periodic.add(task)
        task.add_done_callback(self.periodic.discard)

    @property
    def closing(self) -> bool:
        """A shutdown has begun."""
        return self.stopping.begun

    def in_flight(self) -> int:
        """Jobs and spawned coroutines that have not ended."""
        return len(self.jobs) + len(self.spawned)

    def on_stop(self) -> None:
        """Warm shutdown. For SIGQUIT Celery calls this inside its signal handler, and `terminate` soon after: only begin then."""
        if self.loop.asyncio.is_running() or state.should_terminate:
            self.stopping.begin(cold=True)
        else:
            self._stop(cold=False)

    def on_terminate(self) -> None:
        """Cold shutdown."""
        self._stop(cold=True)

    def _stop(self, *, cold: bool) -> None:
        if self.stopping.hub is not None and not self.loop.asyncio.is_closed():
            self.loop.attach(self.stopping.hub)  # a lost connection has given the hub a poller of its own
        self.stopping.complete(cold=cold)
        hooks.launch = None
        if not self.loop.asyncio.is_closed():
            self.loop.close()

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Nothing: Celery goes on to call Job.terminate, which cancels the coroutine."""

    def grow(self, n: int = 1) -> None:  # noqa: ARG002  Celery passes it
        """Refused: raises NotImplementedError."""
        raise no_resize()

    def shrink(self, n: int = 1) -> None:  # noqa: ARG002  as above
        """Refused: raises NotImplementedError."""
        raise no_resize()

    def _get_info(self) -> dict[str, Any]:
        """What `celery inspect stats` shows of the pool."""
        return {
            **super()._get_info(),  # type: ignore[misc]  # the stubs do not know it
            "processes": [os.getpid()],
            "running": len(self.jobs),
            "spawned": len(self.spawned),
            "periodic": len(self.periodic),
            "gc": [*gc.get_threshold(), gc.get_freeze_count()],
        }


class _Running:
    """The pool of this process."""

    pool: TaskPool | None = None


def _pool() -> TaskPool:
    if _Running.pool is None:
        raise RuntimeError("no aitbc.worker.pool runs in this process")
    return _Running.pool


def spawn(coroutine: Coroutine[Any, Any, object]) -> "asyncio.Task[Any]":
    """Run a coroutine outside of any job. It takes a place and a warm shutdown waits for it. What it raises is logged.

    Raises RuntimeError where no pool runs; so do the four below.
    """
    return _pool().spawn(coroutine)


def in_flight() -> int:
    """Jobs and spawned coroutines that have not ended."""
    return _pool().in_flight()


def room() -> int:
    """Free places: worker_concurrency less what is in flight, at least 0."""
    pool = _pool()
    return max(int(pool.limit) - pool.in_flight(), 0)


def polling() -> bool:
    """Whether this worker takes jobs: it is connected to its broker (its hub turned within the last 5 s), and is not stopping."""
    pool = _pool()
    return monotonic() - pool.loop.polled < POLLED_WITHIN and not pool.stopping.begun


def stopping() -> bool:
    """True from the first SIGTERM (or other shutdown) on."""
    return _pool().stopping.begun
