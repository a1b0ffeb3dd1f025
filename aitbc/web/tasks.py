"""Tasks: submitted, looked at, waited for, cancelled, tried again."""

import hashlib
import json
import uuid
from dataclasses import asdict

from flask import Response, jsonify, request
from flask_openapi3.blueprint import APIBlueprint

from aitbc.errors import Full
from aitbc.ledger import tasks as steps
from aitbc.ledger.redis_state import look
from aitbc.ledger.tasks import Submitted
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import NewTask, Task
from aitbc.telemetry.steps import reached
from aitbc.web import answers, jobs
from aitbc.web.answers import Answer
from aitbc.web.parts import parts, run
from aitbc.web.requests import idempotency_key
from aitbc.web.schemas.base import TaskPath
from aitbc.web.schemas.tasks import Submit, TaskPageQuery, WaitQuery

blueprint = APIBlueprint("tasks", __name__)

FULL_SHARE = 0.8
"""Share of Redis' memory from which nothing new is accepted: what is accepted needs the rest to end."""


@blueprint.post("/tasks/submit")
def submit(body: Submit) -> Response:
    """Accept a task. From this answer on it is not lost."""
    task = new_task(body, digest(request.get_json()), idempotency_key(request.headers.get("Idempotency-Key")))
    refuse_when_full()
    reached("submit")
    done = run(steps.submit(task, jobs.of(task.task_id, task.priority)))
    reached("submit.stored")
    if done.publish:
        jobs.route([(done.task_id, task.priority)])
    reached("submit.published")
    response = jsonify(accepted(done, body))
    response.headers["Location"] = f"/tasks/{done.task_id}"
    return response


@blueprint.get("/tasks/<task_id>")
def read(path: TaskPath, query: WaitQuery) -> Response:
    """One task; with `wait`, once it has ended or the seconds are over."""
    step, held = steps.read(path.task_id), True
    task = run(step)
    if query.wait and not task.state.terminal:
        task, held = parts().held.wait(path.task_id, query.wait, lambda: run(step))
    response = jsonify(answers.success(task=asdict(task)))
    if not held:
        response.headers["Retry-After"] = "1"
    return response


@blueprint.get("/tasks")
def page(query: TaskPageQuery) -> Answer:
    """Tasks, newest first."""
    found = run(steps.page(query.as_filter(query.state), query.limit, query.cursor))
    return answers.tasks(found.tasks, found.next_cursor)


@blueprint.post("/tasks/<task_id>/cancel")
def cancel(path: TaskPath) -> Answer:
    """Final at once for the record, best effort for the agent; an ended task stays as it is."""
    done = run(steps.cancel(path.task_id))
    jobs.dispatch(done.grants)
    return answers.success(task_id=path.task_id, state=done.state)


@blueprint.post("/tasks/<task_id>/retry")
def retry(path: TaskPath) -> Answer:
    """Reopen a failed or cancelled task. A repeat with the same Idempotency-Key (or X-Request-Id) changes nothing."""
    key = idempotency_key(request.headers.get("Idempotency-Key")) or answers.request_id()
    state = reopen(run(steps.read(path.task_id)), key)
    return answers.success(task_id=path.task_id, state=state)


def new_task(body: Submit, body_digest: str, key: str) -> NewTask:
    """What the ledger stores of a submit. Raises BadRequest `Invalid priority: X`."""
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
        idempotency_key=key,
    )


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


def reopen(task: Task, key: str) -> str:
    """Retry a task by hand and publish what that grants; its new state. Raises Conflict, Full."""
    requirements = Requirements.from_json(json.dumps(task.requirements))
    done = run(steps.retry(task.task_id, key, requirements))
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
