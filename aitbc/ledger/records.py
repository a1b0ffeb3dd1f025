"""A task's record as Redis has it, read."""

import json
from typing import Any

from aitbc.ledger.scripts import USUAL_ATTEMPTS, USUAL_RUN
from aitbc.ledger.step import MICRO, iso, iso_or_none, texts
from aitbc.model.priority import PRIORITIES
from aitbc.model.task import AttemptRecord, CallbackRecord, Task, TaskState


def task_of(reply: list[Any]) -> Task:
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
        run_timeout=int(f.get("run_timeout") or USUAL_RUN) / MICRO,
        queue_timeout=int(f["queue_timeout"]) / MICRO if f.get("queue_timeout") else None,
        idempotent=f.get("idempotent") == "1",
        deadline=iso_or_none(f.get("deadline")) if state is TaskState.RUNNING else None,
        retries=int(f.get("retries") or 0),
        affinity_key=f.get("affinity") or None,
        owner=f.get("owner") or None,
        worker=f.get("worker", "").rpartition(":")[0] or None,
        callback=_callback(f),
    )


def _callback(f: dict[str, str]) -> CallbackRecord | None:
    """What became of telling its callback_url; None when it has none."""
    if not f.get("callback"):
        return None
    ended = TaskState(f["state"]).terminal
    word = f.get("callback_end") or ("due" if ended else "waiting")
    return CallbackRecord(f["callback"], word, int(f.get("callback_tries") or 0), f.get("callback_error") or None)


def _attempt(line: str) -> AttemptRecord:
    """An attempt's line: number|agent|token hash|began, when ended |ended|outcome|http status|error code, then what finish keeps."""
    number, agent, _, began, *end = line.split("|")
    ended, outcome, http, code = end[:4] or ("", "", "", "")
    return AttemptRecord(int(number), agent, iso(began), iso_or_none(ended), outcome or None, int(http) if http else None, code or None)
