"""One piece of work: what its function may know, and the desk that decides whether it starts."""

import json
import select
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from aitbc.errors import AitbcError

Handler = Callable[[Any], Any]
"""task_data -> result, both JSON."""

KEPT_ANSWERS = 1000
"""Answers kept for repeated requests, ..."""
KEPT_BYTES = 64 << 20
"""... as long as they are no bigger than this together, bytes."""


class WorkFailed(AitbcError):
    """The work failed; `retryable`: another try, perhaps at another agent, may succeed."""

    status = 424
    title = "The work failed"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        """`message` becomes the `error.message` of the task."""
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Execution:
    """The attempt that this thread works on. `timeout`: seconds it has, None when the coordinator did not say."""

    task_id: str
    attempt: int = 1
    priority: str = "normal"
    timeout: float | None = None
    requirements: dict[str, Any] = field(default_factory=dict)
    connection: socket.socket | None = field(default=None, repr=False)
    closing: threading.Event = field(default_factory=threading.Event, repr=False)

    def abandoned(self) -> bool:
        """Nobody waits for the result any more: the coordinator closed the connection (cancelled, out of time), or this agent ends."""
        if self.closing.is_set() or self.connection is None:
            return self.closing.is_set()
        watch = select.poll()
        try:
            watch.register(self.connection, select.POLLIN)
            return bool(watch.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True


_current: ContextVar[Execution] = ContextVar("aitbc_execution")


def current() -> Execution:
    """The attempt that the calling function works on. Raises LookupError outside of one."""
    return _current.get()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the agent answers. `keep`: a repeat of the request gets the same."""

    status: int
    body: bytes
    keep: bool = False
    retry_after: int = 0


class Desk:
    """Counts what runs and remembers what was answered, so that a repeated request does no work twice. Safe from all threads."""

    def __init__(self, max_concurrency: int) -> None:
        """`max_concurrency`: calls at once, at least 1."""
        self.max_concurrency = max_concurrency
        self.closing = threading.Event()
        self.running = 0
        self._keys: set[str] = set()
        self._answers: OrderedDict[str, Reply] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def enter(self, key: str) -> Reply | None:
        """None: start, and `leave` afterwards.

        Else the answer: the stored one, 409 while the same key runs, 503 when all slots are taken.
        """
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            if key in self._keys:
                return Reply(409, _error("the same request is still running"))
            if self.running >= self.max_concurrency:
                return Reply(503, _error(f"all {self.max_concurrency} slots are taken"), retry_after=1)
            self.running += 1
            if key:
                self._keys.add(key)
            return None

    def leave(self, key: str, reply: Reply) -> None:
        """The slot is free again; a kept reply answers repeats of the key."""
        with self._lock:
            self.running -= 1
            self._keys.discard(key)
            if key and reply.keep:
                self._answers[key] = reply
                self._bytes += len(reply.body)
            while len(self._answers) > KEPT_ANSWERS or self._bytes > KEPT_BYTES:
                self._bytes -= len(self._answers.popitem(last=False)[1].body)

    def load(self) -> dict[str, float]:
        """What a heartbeat reports: `queue`, the share of slots taken, 0 to 1."""
        return {"queue": min(1.0, self.running / self.max_concurrency)}


def execute(handler: Handler, task_data: Any, execution: Execution) -> Reply:
    """Do the work; whatever happens in it becomes an answer. What may be tried again is not kept."""
    token = _current.set(execution)
    try:
        return Reply(200, json.dumps(handler(task_data), allow_nan=False).encode(), keep=True)
    except WorkFailed as exc:
        return Reply(424, _error(str(exc), retryable=exc.retryable), keep=not exc.retryable)
    except Exception as exc:  # noqa: BLE001 - a handler may raise anything; the coordinator is told what
        return Reply(424, _error(f"{type(exc).__name__}: {exc}"), keep=True)
    finally:
        _current.reset(token)


def _error(text: str, *, retryable: bool | None = None) -> bytes:
    fields: dict[str, Any] = {"status": "failed", "error": text[:4096]}
    return json.dumps(fields if retryable is None else {**fields, "retryable": retryable}).encode()
