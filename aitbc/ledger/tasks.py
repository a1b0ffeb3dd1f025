"""Steps of a task: submit, read, list, cancel, retry, count; dead letters."""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aitbc.errors import AitbcError, Conflict, Full, Invalid, NotFound
from aitbc.ledger.scripts import USUAL_ATTEMPTS
from aitbc.ledger.step import Arg, Step, grants, iso, iso_or_none, micros, text, texts
from aitbc.model.job import Job
from aitbc.model.lease import Grant
from aitbc.model.priority import PRIORITIES, Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import AttemptRecord, NewTask, Task, TaskState


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
    """Which tasks a listing shows; None = all."""

    state: TaskState | None = None
    priority: Priority | None = None
    agent_id: str | None = None


SUBMIT_FIELDS = 17
"""Arguments of a submit: those of a task and its job."""
SUBMITS = 50
"""Tasks a script: it holds Redis for about 3 ms."""


def submit(task: NewTask, job: Job | None = None) -> Step[Submitted]:
    """Record a task and put it into the order; `queued`, or `scheduled` when it is not due.

    `job`: its `route` job, pushed in the same step when the task is new and due.

    Raises Conflict (the id or key is known with another body), Full (live tasks or signatures at their cap); refusals store nothing.
    """

    def parse(reply: list[Any]) -> Submitted:
        done = _submitted(reply[0])
        if isinstance(done, AitbcError):
            raise done
        return done

    return Step("submit", _submit_args(task, job), parse)


def submit_many(tasks: Sequence[tuple[NewTask, Job | None]]) -> Step[list[Submitted | AitbcError]]:
    """At most SUBMITS at once, each as `submit` would alone, in this order: what it returns or raises."""
    args = [arg for task, job in tasks for arg in _submit_args(task, job)]
    return Step("submit", tuple(args), lambda reply: [_submitted(one) for one in reply])


def _submit_args(task: NewTask, job: Job | None) -> tuple[Arg, ...]:
    sig = task.requirements.signature
    asked = json.dumps(task.requirements.as_json())
    times = [micros(t) for t in (task.run_timeout, task.queue_timeout, task.delay, task.run_at)]
    args = (task.task_id, task.digest[:32], task.priority.rank, sig.id, sig.terms, sig.floor, task.task_data, asked)
    more = (task.max_attempts, *times, task.idempotency_key, "1" if task.idempotent else "")
    return args + more + (job or ("", ""))


def _submitted(reply: list[Any]) -> Submitted | AitbcError:
    word, task_id, at, publish = text(reply[0]), text(reply[1]), reply[2], reply[3]
    if word == "conflict":
        return Conflict(f"task {task_id} was submitted before with another body")
    if word == "full":
        return _too_many_live()
    if word == "signatures":
        return Full("too many different requirements in use: wait, ask the same more often, or raise AITBC_MAX_SIGNATURES", retry_after=60)
    return Submitted(task_id, iso(at), word == "created", bool(publish))


def read(task_id: str) -> Step[Task]:
    """One task. Raises NotFound."""

    def parse(reply: list[Any]) -> Task:
        if not reply:
            raise NotFound("Task", task_id)
        return _task([*reply, "task_id", task_id])

    return Step("read_task", (task_id,), parse)


def page(where: TaskFilter, limit: int, cursor: str | None = None) -> Step[TaskPage]:
    """Newest first, at most `limit` (1 to 200); looks at no more than 2,000 a call, so a page may be short and still have a cursor.

    Raises Invalid for a cursor that is not ours.
    """
    score, last = _cursor(cursor)
    rank = "" if where.priority is None else where.priority.rank

    def parse(reply: list[Any]) -> TaskPage:
        end, *found = reply
        return TaskPage([_task(item) for item in found], _next(end))

    return Step("list_tasks", (where.state or "all", rank, where.agent_id or "", limit, score, last), parse)


def cancel(task_id: str) -> Step[Changed]:
    """`cancelled` at once and for good; a running call keeps its slot until it ends, 30 s at most. Raises NotFound.

    Repeating it is harmless: the terminal state that stands comes back.
    """
    return Step("cancel", (task_id,), lambda reply: _changed(task_id, reply))


def retry(task_id: str, request_id: str, requirements: Requirements) -> Step[Changed]:
    """Reopen a failed or cancelled task by hand, with new counters and a new stamp. A repeat of the same request changes nothing.

    Raises NotFound, Conflict (not failed or cancelled; or its cancelled call still runs), Full (live tasks, signatures).
    """
    sig = requirements.signature

    def parse(reply: list[Any]) -> Changed:
        word = text(reply[0])
        if word == "final":
            raise Conflict(f"task {task_id} is {text(reply[1])}: only failed and cancelled tasks can be retried")
        if word == "busy":
            raise Conflict(f"task {task_id} was cancelled and its call has not ended yet: retry in a moment")
        if word == "full":
            raise _too_many_live()
        if word == "signatures":
            raise Full("too many different requirements in use: raise AITBC_MAX_SIGNATURES", retry_after=60)
        return _changed(task_id, reply)

    return Step("retry", (task_id, request_id, sig.id, sig.terms, sig.floor), parse)


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

    @property
    def success_rate(self) -> float:
        """Attempts that succeeded among those that ended; 1.0 before the first."""
        ended = self.succeeded_attempts + self.failed_attempts
        return self.succeeded_attempts / ended if ended else 1.0


def stats() -> Step[TaskStats]:
    """Counters, queue sizes (queued + waiting) and strategy, in one look."""

    def parse(reply: list[Any]) -> TaskStats:
        counters, sizes, paused, leases, agents, strategy, weights = reply
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
        )

    return Step("stats", (), parse)


def _too_many_live() -> Full:
    return Full("too many live tasks: wait until some have ended, or raise AITBC_MAX_LIVE_TASKS", retry_after=5)


def _changed(task_id: str, reply: list[Any]) -> Changed:
    word = text(reply[0])
    if word == "unknown":
        raise NotFound("Task", task_id)
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


def _task(reply: list[Any]) -> Task:
    """Read a task's hash, its id added."""
    f = dict(zip(texts(reply[::2]), texts(reply[1::2]), strict=True))
    error = None
    if f.get("error_code"):
        error = {"code": f["error_code"], "message": f.get("error_message", ""), "agent_id": f.get("error_agent") or None}
    state = TaskState(f["state"])
    return Task(
        task_id=f["task_id"],
        state=state,
        priority=PRIORITIES[int(f["priority"])].value,
        requirements=json.loads(f.get("requirements") or "{}"),
        task_data=json.loads(f["task_data"]),
        result=json.loads(f["result"]) if f.get("result") else None,
        error=error,
        agent_id=f.get("agent") or None,
        attempts=[_attempt(f[f"L{g}"]) for g in f.get("lines", "").split() if f.get(f"L{g}")],
        progress=json.loads(f["progress"]) if f.get("progress") else None,
        submitted_at=iso(f.get("submitted_at") or f["stamp"]),
        ended_at=iso_or_none(f.get("ended_at")),
        run_at=iso_or_none(f.get("due")),
        max_attempts=int(f.get("max_attempts") or USUAL_ATTEMPTS),
        deadline=iso_or_none(f.get("deadline")) if state is TaskState.RUNNING else None,
        retries=int(f.get("retries") or 0),
        worker=f.get("worker", "").rpartition(":")[0] or None,
    )


def _attempt(line: str) -> AttemptRecord:
    """An attempt's line: number|agent|token hash|began, when ended |ended|outcome|http status|error code, then what finish keeps."""
    number, agent, _, began, *end = line.split("|")
    ended, outcome, http, code = end[:4] or ("", "", "", "")
    return AttemptRecord(int(number), agent, iso(began), iso_or_none(ended), outcome or None, int(http) if http else None, code or None)
