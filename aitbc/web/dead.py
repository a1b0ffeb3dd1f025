"""Dead letters: tasks that failed for good; listed, retried and dropped, at most 1,000 a call."""

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import request
from flask_openapi3.blueprint import APIBlueprint

from aitbc.errors import Conflict, NotFound
from aitbc.ledger import tasks as steps
from aitbc.model.task import Task, TaskState
from aitbc.web import access, answers
from aitbc.web.answers import Answer
from aitbc.web.parts import run
from aitbc.web.requests import idempotency_key
from aitbc.web.schemas.base import ID
from aitbc.web.schemas.tasks import DeadChoice, DeadPageQuery
from aitbc.web.tasks import reopen

blueprint = APIBlueprint("dead", __name__)

MOST = 1000
"""Dead letters that one call retries or drops."""
PAGE = 200


@dataclass(slots=True)
class Sweep:
    """What a call over many dead letters came to. `skipped`: ids that were none; `cursor`: where the next call goes on."""

    count: int = 0
    skipped: list[str] = field(default_factory=list)
    cursor: str | None = None


@blueprint.get("/tasks/dead")
def page(query: DeadPageQuery) -> Answer:
    """Dead letters, newest first. With `error_code` a page may be short and still have a cursor."""
    found = run(steps.page(query.as_filter(TaskState.FAILED, access.owner()), query.limit, query.cursor))
    return answers.tasks([task for task in found.tasks if _has(task, query.error_code)], found.next_cursor)


@blueprint.post("/tasks/dead/retry")
def retry(body: DeadChoice) -> Answer:
    """Reopen dead letters."""
    key = idempotency_key(request.headers.get("Idempotency-Key")) or answers.request_id()

    def again(task: Task) -> bool:
        try:
            reopen(task, key)
        except (Conflict, NotFound):  # somebody else was quicker
            return False
        return True

    done = over(body, again)
    return answers.success(retried_count=done.count, skipped=done.skipped, next_cursor=done.cursor, more=done.cursor is not None)


@blueprint.post("/tasks/dead/drop")
def drop(body: DeadChoice) -> Answer:
    """Forget dead letters."""
    done = over(body, lambda task: run(steps.drop(task.task_id)))
    return answers.success(dropped_count=done.count, skipped=done.skipped, next_cursor=done.cursor, more=done.cursor is not None)


def over(body: DeadChoice, act: Callable[[Task], bool]) -> Sweep:
    """Do `act` for each chosen dead letter. Raises BadRequest for an invalid priority."""
    access.about(_chosen(body))
    return _named(body.task_ids, act) if body.task_ids is not None else _filtered(body, act)


def _chosen(body: DeadChoice) -> str:
    """What was chosen, for the audit stream: ids as far as they have room there, or the filter."""
    if body.task_ids is not None:
        return " ".join(task_id for task_id in body.task_ids if ID.fullmatch(task_id))
    filters = {"priority": body.priority, "agent_id": body.agent_id, "error_code": body.error_code}
    return " ".join(f"{name}={value!a}" for name, value in filters.items() if value is not None) or "all"


def _named(task_ids: list[str], act: Callable[[Task], bool]) -> Sweep:
    done = Sweep()
    for task_id in dict.fromkeys(task_ids):
        task = _dead(task_id)
        if task is not None and act(task):
            done.count += 1
        else:
            done.skipped.append(task_id)
    return done


def _filtered(body: DeadChoice, act: Callable[[Task], bool]) -> Sweep:
    """Page by page; a page whose tasks have gone leaves the cursor right, since it holds a place and no number."""
    done, where, looked = Sweep(cursor=body.cursor), body.as_filter(access.owner()), 0
    while looked < MOST:
        found = run(steps.page(where, PAGE, done.cursor))
        done.count += sum(act(task) for task in found.tasks if _has(task, body.error_code))
        looked += PAGE
        done.cursor = found.next_cursor
        if done.cursor is None:
            break
    return done


def _dead(task_id: str) -> Task | None:
    if not ID.fullmatch(task_id):
        return None
    try:
        task = run(steps.read(task_id))
    except NotFound:
        return None
    mine = not access.owner() or task.owner == access.owner()
    return task if mine and task.state is TaskState.FAILED else None


def _has(task: Task, error_code: str | None) -> bool:
    return error_code is None or (task.error or {}).get("code") == error_code
