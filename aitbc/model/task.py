"""A task: one unit of work that a client submitted, and what became of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements


class TaskState(StrEnum):
    """Where a task is. docs/states.md draws the transitions."""

    QUEUED = "queued"  # in the order, no worker has looked yet
    WAITING = "waiting"  # looked at: no free slot, or no eligible agent
    SCHEDULED = "scheduled"  # not before a time: a delay, or a retry's backoff
    RUNNING = "running"  # has a lease
    COMPLETED = "completed"
    FAILED = "failed"  # for good: a dead letter
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Nothing but a retry by hand reopens it."""
        return self in TERMINAL


TERMINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED})


class ErrorCode(StrEnum):
    """Why a task or an attempt failed: `error.code` of the API."""

    AGENT_FAILED = "agent_failed"
    AGENT_REFUSED = "agent_refused"
    INVALID_RESPONSE = "invalid_response"
    REDIRECT_REFUSED = "redirect_refused"
    RESPONSE_TOO_LARGE = "response_too_large"
    RUN_TIMEOUT = "run_timeout"
    QUEUE_TIMEOUT = "queue_timeout"
    EXPIRED = "expired"
    DISPATCH_LIMIT = "dispatch_limit"
    OUTCOME_UNKNOWN = "outcome_unknown"
    POISON = "poison"
    WORKER_LOST = "worker_lost"
    WORKER_STOPPED = "worker_stopped"
    AGENT_RESTARTED = "agent_restarted"
    ADDRESS_REFUSED = "address_refused"
    CONNECTION_FAILED = "connection_failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A submit. Texts that the ledger never reads: `task_data` (JSON). Times in seconds; `queue_timeout` 0 = none.

    `digest` tells a repeat (same digest: same answer) from a conflict (another body).
    `run_at`: Unix seconds, 0 = now; it and `delay` may not both be given. `owner`: the API key that submits it, or empty.
    `share`: the API key among whose signatures a new one counts, empty for an admin's and for none.
    `traceparent`: W3C trace context, empty = none.
    """

    task_id: str
    task_data: str
    priority: Priority
    requirements: Requirements
    digest: str
    max_attempts: int = 3
    run_timeout: float = 300.0
    queue_timeout: float = 0.0
    delay: float = 0.0
    run_at: float = 0.0
    idempotent: bool = False
    affinity_key: str = ""
    idempotency_key: str = ""
    owner: str = ""
    share: str = ""
    callback_url: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One begun lease as a task shows it. Times are ISO-8601 UTC, empty while it runs."""

    attempt: int
    agent_id: str
    began_at: str
    ended_at: str | None
    outcome: str | None
    http_status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class CallbackRecord:
    """What became of telling a task's `callback_url` of its end.

    `state`: waiting (it has not ended), due, delivered or given_up; `error`: what was wrong with the last try.
    """

    url: str
    state: str
    tries: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the ledger has it now; the fields are those of the API's task object. Times are ISO-8601 UTC or None.

    `run_timeout`, `queue_timeout`: seconds; `retries`: by hand, so far; `owner`: the API key that submitted it; `worker`: the Celery node
    that began its last attempt.
    """

    task_id: str
    state: TaskState
    priority: str
    requirements: dict[str, Any]
    task_data: Any
    result: Any
    error: dict[str, Any] | None
    agent_id: str | None
    attempts: list[AttemptRecord]
    progress: dict[str, Any] | None
    submitted_at: str
    ended_at: str | None
    run_at: str | None
    max_attempts: int
    run_timeout: float
    queue_timeout: float | None
    idempotent: bool
    deadline: str | None
    retries: int
    affinity_key: str | None
    owner: str | None
    worker: str | None
    callback: CallbackRecord | None
