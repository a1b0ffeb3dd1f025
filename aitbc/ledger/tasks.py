"""Steps of a task: submit, read, list, cancel, retry, count; dead letters."""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aitbc.errors import AitbcError, Conflict, Full, Invalid, NotFound, PreconditionFailed
from aitbc.ledger.records import task_of
from aitbc.ledger.step import Arg, Step, Versions, grants, iso, micros, text, texts
from aitbc.model.job import Job
from aitbc.model.lease import Grant
from aitbc.model.priority import PRIORITIES, Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import NewTask, Task, TaskState


@dataclass(frozen=True, slots=True)
class Submitted:
    """`created`: False for a repeat. `publish`: a `route` job is wanted (it may run now), and the step did not push it."""

    task_id: str
    submitted_at: str
    created: bool
    publish: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """The task's state now, and leases that need a job."""

    state: TaskState
    grants: list[Grant]


@dataclass(frozen=True, slots=True)
class TaskPage:
    """`next_cursor`: opaque, None at the end."""

    tasks: list[Task]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a listing shows; None = all. `owner`: the API key that they belong to; empty = all."""

    state: TaskState | None = None
    priority: Priority | None = None
    agent_id: str | None = None
    owner: str = ""


SUBMIT_FIELDS = 22
"""Arguments of a submit: those of a task and its job."""
SUBMITS = 50
"""Tasks a script: it holds Redis for about 3 ms."""
_TOO_MANY = {
    "full": ("too many live tasks: wait until some have ended, or raise AITBC_MAX_LIVE_TASKS", 5),
    "signatures": ("too many different requirements in use: wait, ask the same more often, or raise AITBC_MAX_SIGNATURES", 60),
    "share": ("this API key brought its share of different requirements into use, half of AITBC_MAX_SIGNATURES: wait, or ask the same", 60),
}
"""Why there may not be one more live task, or one more signature; seconds after which to ask again."""


def submit(task: NewTask, job: Job | None = None) -> Step[Submitted]:
    """Record a task and put it into the order; `queued`, or `scheduled` when it is not due.

    `job`: its `route` job, pushed in the same step when the task is new and due.

    Raises Conflict (the id or key is known with another body), Full (live tasks or signatures at their cap); refusals store nothing.
    """

    def parse(reply: list[Any]) -> Submitted:
        done = _submitted(reply)
        if isinstance(done, AitbcError):
            raise done
        return done

    return Step("submit", _submit_args(task, job), parse)


def submit_many(tasks: Sequence[tuple[NewTask, Job | None]]) -> Step[list[Submitted | AitbcError]]:
    """At most SUBMITS at once, each as `submit` would alone, in this order: what it returns or raises."""
    args = [arg for task, job in tasks for arg in _submit_args(task, job)]
    return Step("submit", tuple(args), lambda reply: [_submitted(reply[i : i + 4]) for i in range(0, len(reply), 4)])


def _submit_args(task: NewTask, job: Job | None) -> tuple[Arg, ...]:
    sig = task.requirements.signature
    asked = json.dumps(task.requirements.as_json())
    times = [micros(t) for t in (task.run_timeout, task.queue_timeout, task.delay, task.run_at)]
    args = (task.task_id, task.digest[:32], task.priority.rank, sig.id, sig.terms, sig.floor, task.task_data, asked)
    more = (task.max_attempts, *times, task.idempotency_key, "1" if task.idempotent else "", task.affinity_key, task.owner)
    more += (task.share, task.callback_url, task.traceparent)
    return args + more + (job or ("", ""))


def _submitted(reply: list[Any]) -> Submitted | AitbcError:
    word, task_id, at, publish = text(reply[0]), text(reply[1]), reply[2], reply[3]
    if word == "conflict":
        return Conflict(f"task {task_id} was submitted before with another body, or by another API key")
    if word in _TOO_MANY:
        return _too_many(word)
    return Submitted(task_id, iso(at), word == "created", bool(publish))


def read(task_id: str) -> Step[Task]:
    """One task. Raises NotFound."""

    def parse(reply: list[Any]) -> Task:
        if not reply:
            raise NotFound("Task", task_id)
        return task_of([*reply, "task_id", task_id])

    return Step("read_task", (task_id,), parse)


def page(where: TaskFilter, limit: int, cursor: str | None = None) -> Step[TaskPage]:
    """Newest first, at most `limit` (1 to 200); looks at no more than 2,000 a call, so a page may be short and still have a cursor.

    Raises Invalid for a cursor that is not ours.
    """
    score, last = _cursor(cursor)
    rank = "" if where.priority is None else where.priority.rank

    def parse(reply: list[Any]) -> TaskPage:
        end, *found = reply
        return TaskPage([task_of(item) for item in found], _next(end))

    return Step("list_tasks", (where.state or "all", rank, where.agent_id or "", limit, score, last, where.owner), parse)


def cancel(task_id: str, versions: Versions = ()) -> Step[Changed]:
    """`cancelled` at once and for good; a running call keeps its slot until it ends, 30 s at most. Raises NotFound, PreconditionFailed.

    Repeating it is harmless: the terminal state that stands comes back. `versions`: the task must have one of them.
    """
    return Step("cancel", (task_id, *versions), lambda reply: _changed(task_id, reply))


def retry(task_id: str, request_id: str, requirements: Requirements, versions: Versions = (), share: str = "") -> Step[Changed]:
    """Reopen a failed or cancelled task by hand, with new counters and a new stamp. A repeat of the same request changes nothing.

    `share`: as in NewTask, of whoever retries it.

    Raises NotFound, Conflict (not failed or cancelled; or its cancelled call still runs), Full (live tasks, signatures),
    PreconditionFailed.
    """
    sig = requirements.signature

    def parse(reply: list[Any]) -> Changed:
        word = text(reply[0])
        if word == "final":
            raise Conflict(f"task {task_id} is {text(reply[1])}: only failed and cancelled tasks can be retried")
        if word == "busy":
            raise Conflict(f"task {task_id} was cancelled and its call has not ended yet: retry in a moment")
        if word in _TOO_MANY:
            raise _too_many(word)
        return _changed(task_id, reply)

    return Step("retry", (task_id, request_id, sig.id, sig.terms, sig.floor, share, *versions), parse)


def drop(task_id: str) -> Step[bool]:
    """Forget a dead letter. True when it was one."""
    return Step("drop", (task_id,), bool)


@dataclass(frozen=True, slots=True)
class TaskStats:
    """Counters and sizes. `distribution_seconds`: mean time from runnable to begun; `success_rate` 0 to 1."""

    begun: int
    completed: int
    failed: int
    succeeded_attempts: int
    failed_attempts: int
    distribution_seconds: float
    live_leases: int
    active_agents: int
    strategy: str
    queue_sizes: dict[str, int]
    weights: dict[str, float]
    paused: list[str]
    callbacks: dict[str, int]

    @property
    def success_rate(self) -> float:
        """Attempts that succeeded among those that ended; 1.0 before the first."""
        ended = self.succeeded_attempts + self.failed_attempts
        return self.succeeded_attempts / ended if ended else 1.0


def stats() -> Step[TaskStats]:
    """Counters, queue sizes (queued + waiting) and strategy, in one look."""

    def parse(reply: list[Any]) -> TaskStats:
        counters, sizes, paused, leases, agents, strategy, weights, told = reply
        begun, completed, failed, good, bad, waited = (float(text(n) or 0) for n in counters)
        pairs = texts(weights)
        return TaskStats(
            begun=int(begun),
            completed=int(completed),
            failed=int(failed),
            succeeded_attempts=int(good),
            failed_attempts=int(bad),
            distribution_seconds=waited / begun / 1e6 if begun else 0.0,
            live_leases=int(leases),
            active_agents=int(agents),
            strategy=text(strategy),
            queue_sizes={p.value: int(n) for p, n in zip(PRIORITIES, sizes, strict=True)},
            weights={a: float(w) for a, w in zip(pairs[::2], pairs[1::2], strict=True)},
            paused=[PRIORITIES[int(rank)].value for rank in paused],
            callbacks=dict(zip(("due", "delivered", "given_up"), map(int, told), strict=True)),
        )

    return Step("stats", (), parse)


def _too_many(word: str) -> Full:
    why, seconds = _TOO_MANY[word]
    return Full(why, retry_after=seconds)


def _changed(task_id: str, reply: list[Any]) -> Changed:
    word = text(reply[0])
    if word == "unknown":
        raise NotFound("Task", task_id)
    if word == "version":
        raise PreconditionFailed(f"task {task_id} is at {text(reply[1])} now (state, last attempt, retries): read it again")
    return Changed(TaskState(word), grants(reply[1:]))


def _cursor(cursor: str | None) -> tuple[str, str]:
    """Score and id of the last task of the page before; `+inf` at the start."""
    if cursor is None:
        return "+inf", ""
    try:
        score, _, last = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
    except (ValueError, binascii.Error):
        score, last = "", ""
    if not re.fullmatch(r"\d+(\.\d+)?(e\+?\d+)?", score, re.ASCII):
        raise Invalid("cursor: use the next_cursor of an earlier answer")
    return score, last


def _next(end: Any) -> str | None:
    return base64.urlsafe_b64encode(bytes(end)).decode() if end else None
