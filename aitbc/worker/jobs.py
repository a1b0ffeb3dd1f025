"""One Celery message: its body, its start and its end.

A job hears from the body when it really starts (`current_job().start()`): that sends `task-started` and makes it active. A body
that ends with a result or an error without having said so has started when it began. One that raises `celery.exceptions.Ignore`
before it started leaves no trace but its acknowledgement: in Flower its row stays RECEIVED, which is how work that only waits
is shown.

What a job's end means (state, late acknowledgement, events, the answer to `revoke`) is decided by Celery's own `Request`, whose
callbacks are called here as Celery's pools call them. Not done for coroutines, because aitbc has no use for it: results in a
result backend, `link`, chains and chords, the signals task_prerun, task_postrun and task_success, `self.request`.
"""

import asyncio
import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import Any, Protocol

from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated
from celery.app.task import Context
from celery.app.trace import FAILURE, RETRY, TraceInfo
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.log import get_logger
from celery.utils.saferepr import saferepr

from aitbc.worker.loop import Loop, in_thread

logger = get_logger("celery.pool")
_current: ContextVar["Job | None"] = ContextVar("job", default=None)


class _Passing(ExceptionInfo):
    """Of Ignore and Reject. Celery asks it for the exception alone; to format a traceback takes longer than all the rest of such a job."""

    def __init__(self, exception: Exception) -> None:
        self.exception, self.traceback, self.internal = exception, "", True


class Crew(Protocol):
    """What a job needs of its pool."""

    loop: Loop
    plain: asyncio.Semaphore
    places: asyncio.Semaphore  # RabbitMQ delivers up to worker_concurrency messages a queue: those beyond it wait here

    @property
    def closing(self) -> bool:
        """A shutdown has begun."""

    def report(self, callback: Callable[..., object], *args: object) -> None:
        """Call back into Celery and let the hub run soon."""

    def leave(self, job: "Job") -> None:
        """The job's body has ended."""


class Job:
    """A message in flight. Celery keeps a weak reference to it and calls `terminate` for `revoke --terminate`."""

    __slots__ = (
        "__weakref__",
        "_began",
        "_crew",
        "_limit",
        "_options",
        "_signal",
        "_started",
        "future",
        "id",
        "request",
        "revoked",
        "task",
    )

    def __init__(self, crew: Crew, task: Any, task_id: str, options: dict[str, Any], limit: float | None) -> None:
        """`options` are those of BasePool.apply_async: Celery's callbacks. `limit`: seconds the body may take, or None."""
        self._crew = crew
        self._options = options
        self._limit = limit
        self._began = 0.0
        self._started = False
        self._signal: int | None = None
        self.task = task
        self.id = task_id
        self.request = options["accept_callback"].__self__  # Celery's Request: every pool is given its bound methods
        self.revoked = False  # cancelled by `revoke --terminate`, not by a shutdown
        self.future: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Say that the work begins now. Repeats, and a start after a revoke, have no effect."""
        if not self.revoked:
            self._start(monotonic())

    def _start(self, when: float) -> None:
        if not self._started:
            self._started = True
            self._began = when
            self._crew.report(self._options["accept_callback"], os.getpid(), when)

    def terminate(self, signum: int | None = None) -> None:
        """Called by Celery for `revoke --terminate`, and by its cold shutdown. May be called inside a signal handler."""
        if not self.request._already_cancelled:  # noqa: SLF001  set by Request.cancel alone: a shutdown, no revoke
            self.revoked = True
            self._signal = signum
        self._crew.loop.asyncio.call_soon_threadsafe(self.cancel)

    def cancel(self) -> None:
        """Interrupt the body, once: a second CancelledError would break its clean-up."""
        if self.future is not None and not self.future.cancelling():
            self.future.cancel()

    async def run(self, call: dict[str, Any]) -> None:
        """Run the coroutine task with the arguments in `call` (the message's headers and arguments) and report its end."""
        _current.set(self)
        self._began = monotonic()
        if not self.task.acks_late:
            self.request.acknowledge()
        scope = asyncio.timeout(self._limit) if self._limit is not None else None
        try:
            waits = self._crew.places.locked()
            async with self._crew.places:
                if waits and self._crew.closing:
                    raise asyncio.CancelledError  # noqa: TRY301  not begun and not acknowledged: another worker will get it
                value = await self._body(call, scope)
        except asyncio.CancelledError:
            self._cancelled()
        except Exception as error:  # noqa: BLE001  whatever the body raises is the task's failure
            if scope is not None and scope.expired():
                self._timed_out()
            else:
                self._failed(error, call)
        else:
            self._succeeded(value)
        finally:
            self._leave()

    async def _body(self, call: dict[str, Any], scope: asyncio.Timeout | None) -> object:
        body = self.task.run(*call["args"], **call["kwargs"])
        if scope is None:
            return await body
        async with scope:
            return await body

    async def run_plain(self, target: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run a plain function with Celery's own tracer `target`, in a thread. Once there it cannot be interrupted."""
        try:
            async with self._crew.plain:
                self.start()
                outcome = await asyncio.shield(in_thread(self._crew.loop.asyncio, partial(target, *args)))
        except asyncio.CancelledError:
            if self._started:
                logger.warning("Task %s[%s] is a plain function: its thread cannot be stopped", self.task.name, self.id)
            self._cancelled()
        except Exception:  # noqa: BLE001  the tracer lets Reject through; Request.on_failure knows it
            self._crew.report(self._options["error_callback"], ExceptionInfo())
        else:
            self._crew.report(self._options["callback"], outcome)
        finally:
            self._leave()

    def _leave(self) -> None:
        self.future = None  # job and future held each other: without the circle both are freed at once, not by the collector
        self._crew.leave(self)

    def _succeeded(self, value: object) -> None:
        if self.revoked:
            self._cancelled()
            return
        self._start(self._began)
        text = "None" if value is None else saferepr(value, self.task.resultrepr_maxsize)
        self._end(0, text)

    def _failed(self, error: Exception, call: dict[str, Any]) -> None:
        """Called while `error` is being handled: Celery's handlers read it from sys.exc_info()."""
        if self.revoked:
            self._cancelled()
        elif isinstance(error, (Ignore, Reject)):
            self._end(1, _Passing(error))
        elif isinstance(error, Retry):
            self._end(1, TraceInfo(RETRY, error).handle_error_state(self.task, Context(call)))
        else:
            self._start(self._began)
            self._end(1, TraceInfo(FAILURE, error).handle_error_state(self.task, Context(call)))

    def _timed_out(self) -> None:
        self._start(self._began)
        self._crew.report(self._options["timeout_callback"], False, self._limit)

    def _cancelled(self) -> None:
        """Revoked: announced and acknowledged, unless Celery did so already. Shut down: left unacknowledged, to be redelivered."""
        if self.revoked:
            try:
                raise Terminated(self._signal)  # noqa: TRY301  ExceptionInfo wants a traceback
            except Terminated:
                self._end(1, ExceptionInfo())

    def _end(self, failed: int, outcome: object) -> None:
        self._crew.report(self._options["callback"], (failed, outcome, monotonic() - self._began))


def current_job() -> Job:
    """The job whose body is calling.

    Raises LookupError outside of one: in periodic work, hooks, spawned coroutines and plain functions.
    """
    job = _current.get()
    if job is None:
        raise LookupError("there is no job here: current_job() is for the body of a coroutine task")
    return job


def no_current_job() -> None:
    """Forget the job in this context: a coroutine spawned by a body is not that body."""
    _current.set(None)
