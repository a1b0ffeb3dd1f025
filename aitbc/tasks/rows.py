"""Task events: Flower's row of a task *is* the task, under its own id, with true state and runtime.

A job that runs an attempt of its own task leaves its events to Celery (jobs.py raises or returns what they should say).  An attempt that
runs without a job of its own (granted by a finish, or ended by a callback) has its events sent here.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime

from kombu.exceptions import OperationalError

from aitbc.model.lease import Attempt, keyed
from aitbc.model.outcome import Outcome
from aitbc.model.task import Task
from aitbc.tasks.app import app
from aitbc.worker import events


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. `word`: the task's state after it (or why the end was refused); `runtime` in seconds; `text` for a reader."""

    word: str
    runtime: float
    text: str


def ending(word: str, attempt: Attempt, outcome: Outcome, runtime: float) -> Ending:
    """What a reader of the row should see."""
    why = f": {outcome.message}" if outcome.message else ""
    return Ending(word, runtime, f"{outcome.code or outcome.verdict} by {attempt.agent_id}, attempt {attempt.attempt}{why}")


def started(attempt: Attempt) -> None:
    """An attempt without a job of its own begins."""
    events.send("task-started", attempt.idempotency_key)


def ended(attempt: Attempt, end: Ending) -> None:
    """An attempt without a job of its own has ended."""
    kind, fields = event_of(end)
    if kind:
        events.send(kind, attempt.idempotency_key, **fields)


def event_of(end: Ending) -> tuple[str, dict[str, object]]:
    """The event of an ending: its type (empty when the end was refused: nothing happened) and fields."""
    if end.word == "completed":
        return "task-succeeded", {"result": repr(end.text), "runtime": end.runtime}
    if end.word == "failed":
        return "task-failed", {"exception": end.text, "traceback": ""}
    if end.word == "cancelled":
        return "task-revoked", {"terminated": True, "signum": None, "expired": False}
    if end.word in ("waiting", "scheduled", "running"):
        return "task-retried", {"exception": end.text, "traceback": ""}
    return "", {}


def ended_by_callback(task: Task, word: str, outcome: Outcome) -> None:
    """From the API: a 202 task ended; shown under the worker that sent it. Best effort: a broker that is away costs the row its end."""
    last = task.attempts[-1]
    runtime = (datetime.fromisoformat(last.ended_at) - datetime.fromisoformat(last.began_at)).total_seconds() if last.ended_at else 0.0
    why = f": {outcome.message}" if outcome.message else ""
    text = f"{outcome.code or outcome.verdict} by {last.agent_id}, attempt {last.attempt}, by callback{why}"
    kind, fields = event_of(Ending(word, runtime, text))
    if not kind:
        return
    with contextlib.suppress(OperationalError, OSError), app.events.default_dispatcher(hostname=task.worker) as dispatcher:
        dispatcher.send(kind, uuid=keyed(task.task_id, task.retries), **fields)
