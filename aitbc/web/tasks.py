"""Tasks: submitted, looked at, waited for, cancelled, tried again."""

import hashlib
import json
import uuid
from dataclasses import replace

from flask import Response, jsonify, request
from flask_openapi3.blueprint import APIBlueprint

from aitbc.dispatch.address import is_literal
from aitbc.dispatch.guard import parse_url
from aitbc.errors import Full, Unauthorized
from aitbc.ledger import tasks as steps
from aitbc.ledger.redis_state import look
from aitbc.ledger.tasks import Submitted
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import NewTask, Task
from aitbc.telemetry import logs
from aitbc.telemetry.steps import reached
from aitbc.telemetry.tracing import client_traceparent, span
from aitbc.web import access, answers, jobs
from aitbc.web.answers import Answer
from aitbc.web.parts import parts, run
from aitbc.web.requests import asked, idempotency_key, waits
from aitbc.web.schemas.base import TaskPath
from aitbc.web.schemas.tasks import Submit, TaskPageQuery, WaitQuery

blueprint = APIBlueprint("tasks", __name__)

FULL_SHARE = 0.8
"""Share of Redis' memory from which nothing new is accepted: what is accepted needs the rest to end."""


@blueprint.post("/tasks/submit")
def submit(body: Submit) -> Response:
    """Accept a task. From this answer on it is not lost."""
    sent = asked()
    with span("submit", client_traceparent(sent.headers.get("traceparent"))) as spanned:
        key = idempotency_key(sent.headers.get("Idempotency-Key"))
        task = callers_task(body, sent.get_json(), key, sent.caller.key_id, spanned.traceparent)
        sent.target = task.task_id
        spanned.note(task_id=task.task_id, priority=task.priority.value)
        logs.bind(task_id=task.task_id)
        done = _store(task)
    response = jsonify(accepted(done, body))
    response.headers["Location"] = f"/tasks/{done.task_id}"
    return response


@blueprint.get("/tasks/<task_id>")
def read(path: TaskPath, query: WaitQuery) -> Response:
    """One task; with `wait` (or `Prefer: wait=n`), once it has ended or the seconds are over."""
    step, held, headers = steps.read(path.task_id), True, {}
    task = run(step)
    access.refuse_foreign("task", path.task_id, task.owner)
    seconds = query.wait
    if seconds is None and (seconds := waits(request.headers.getlist("Prefer"))):
        headers = {"Preference-Applied": f"wait={seconds:g}", "Vary": "Prefer"}
    if seconds and not task.state.terminal:
        good = access.lasting()
        task, held = parts().held.wait(path.task_id, seconds, lambda: run(step), access.owner())
        if not good():
            raise Unauthorized("the API key is not valid any more: revoked or expired", access.CHALLENGE)
    if not held:
        headers["Retry-After"] = "1"
    return answers.tagged("task", task, answers.version_of_task(task), **headers)


@blueprint.get("/tasks")
def page(query: TaskPageQuery) -> Answer:
    """Tasks, newest first."""
    found = run(steps.page(query.as_filter(query.state, access.owner()), query.limit, query.cursor))
    return answers.tasks(found.tasks, found.next_cursor)


@blueprint.post("/tasks/<task_id>/cancel")
def cancel(path: TaskPath) -> Answer:
    """Final at once for the record, best effort for the agent; an ended task stays as it is."""
    access.own("task", path.task_id)
    done = run(steps.cancel(path.task_id, answers.if_match()))
    jobs.dispatch(done.grants)
    return answers.success(task_id=path.task_id, state=done.state)


@blueprint.post("/tasks/<task_id>/retry")
def retry(path: TaskPath) -> Answer:
    """Reopen a failed or cancelled task. A repeat with the same Idempotency-Key (or X-Request-Id) changes nothing."""
    key = idempotency_key(request.headers.get("Idempotency-Key")) or answers.request_id()
    task = run(steps.read(path.task_id))
    access.refuse_foreign("task", path.task_id, task.owner)
    state = reopen(task, key, answers.if_match())
    return answers.success(task_id=path.task_id, state=state)


def _store(task: NewTask) -> Submitted:
    refuse_when_full()
    reached("submit")
    done = run(steps.submit(task, jobs.of(task.task_id, task.priority)))
    reached("submit.stored")
    if done.publish:
        jobs.route([(done.task_id, task.priority)])
    reached("submit.published")
    return done


def callers_task(body: Submit, sent: object, key: str, owner: str, traceparent: str) -> NewTask:
    """What the ledger stores of a submit, `sent` in this form by this API key (or none). Raises BadRequest `Invalid priority: X`.

    The owner is part of what makes two submits the same, and each has idempotency keys of its own (no header can hold a tab).
    """
    if not owner:
        return new_task(body, digest(sent), key, traceparent)
    return replace(new_task(body, digest([owner, sent]), f"{owner}\t{key}" if key else "", traceparent), owner=owner, share=access.owner())


def new_task(body: Submit, body_digest: str, key: str, traceparent: str = "") -> NewTask:
    """What the ledger stores of a submit. Raises BadRequest `Invalid priority: X`, AddressRefused."""
    return NewTask(
        task_id=body.task_id or uuid.uuid4().hex,
        task_data=json.dumps(body.task_data, ensure_ascii=False, separators=(",", ":")),
        priority=Priority.parse(body.priority),
        requirements=body.requirements.as_requirements(),
        digest=body_digest,
        max_attempts=body.max_attempts,
        run_timeout=body.run_timeout,
        queue_timeout=body.queue_timeout or 0.0,
        delay=body.delay or 0.0,
        run_at=body.run_at or 0.0,
        idempotent=body.idempotent,
        affinity_key=body.affinity_key or "",
        idempotency_key=key,
        callback_url=_allowed(body.callback_url or ""),
        traceparent=traceparent,
    )


def _allowed(callback_url: str) -> str:
    """A callback_url that may be called as far as its text says; a name's addresses are looked up and checked at each call.

    Raises AddressRefused.
    """
    if callback_url and is_literal(host := (url := parse_url(callback_url)).raw_host or ""):
        parts().guard.check_address(host, host, url.port or 0)
    return callback_url


def accepted(done: Submitted, body: Submit) -> Answer:
    """The answer to a submit."""
    return {
        "status": "success",
        "message": "Task submitted successfully",
        "task_id": done.task_id,
        "priority": body.priority,
        "submitted_at": done.submitted_at,
    }


def digest(body: object) -> str:
    """SHA-256 of a body in canonical form: the same whatever the order of its keys and its blanks."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def reopen(task: Task, key: str, versions: tuple[str, ...] = ()) -> str:
    """Retry a task by hand and publish what that grants; its new state. Raises Conflict, Full, PreconditionFailed."""
    requirements = Requirements.from_json(json.dumps(task.requirements))
    done = run(steps.retry(task.task_id, key, requirements, versions, access.owner()))
    jobs.dispatch(done.grants)
    return done.state.value


def refuse_when_full() -> None:
    """Raises Full when Redis has no room for a new task beside those that were accepted."""
    if look(parts().ledger).memory_share >= FULL_SHARE:
        raise Full(
            "Redis' memory is 80 % full: nothing was stored; let tasks end, keep ended ones for less time"
            " (AITBC_KEEP_TASKS), or raise Redis' maxmemory or AITBC_MAX_LEDGER_BYTES",
            retry_after=30,
        )
