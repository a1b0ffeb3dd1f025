"""Callbacks of agents that answered 202: known by the token of the attempt, which only its agent has."""

import json

from flask import request
from flask_openapi3.blueprint import APIBlueprint

from aitbc.ledger import leases as steps
from aitbc.ledger import tasks
from aitbc.model.lease import token_hash
from aitbc.model.outcome import Outcome, Verdict
from aitbc.model.task import ErrorCode
from aitbc.tasks import rows
from aitbc.telemetry.steps import reached
from aitbc.web import answers, jobs
from aitbc.web.answers import Answer
from aitbc.web.parts import run
from aitbc.web.requests import bearer
from aitbc.web.schemas.base import TaskPath
from aitbc.web.schemas.tasks import Completed, Failed, Progress

blueprint = APIBlueprint("callbacks", __name__)

MAX_MESSAGE = 4096
"""Characters of an agent's error message that are kept."""


@blueprint.post("/tasks/<task_id>/complete")
def complete(path: TaskPath, body: Completed) -> Answer:
    """The work is done."""
    return _end(path.task_id, Outcome(Verdict.COMPLETED, result=compact(body.result)))


@blueprint.post("/tasks/<task_id>/fail")
def fail(path: TaskPath, body: Failed) -> Answer:
    """The work failed; for good unless the agent says `retryable`."""
    verdict = Verdict.COUNTED if body.retryable else Verdict.FINAL
    return _end(path.task_id, Outcome(verdict, code=ErrorCode.AGENT_FAILED, message=in_words(body.error)))


@blueprint.post("/tasks/<task_id>/progress")
def progress(path: TaskPath, body: Progress) -> Answer:
    """The work goes on: its lease lives longer. The answer says whether the client cancelled."""
    said = compact(body.model_dump(exclude_none=True))
    renewed = run(steps.renew(path.task_id, _hash(), said))
    return answers.success(task_id=path.task_id, cancel=renewed.cancel, expires_at=answers.at(renewed.expires))


def in_words(error: object) -> str:
    """The message of an agent's `error`: a text, an object's `message`, or else its JSON."""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        error = error["message"]
    text = error if isinstance(error, str) else "" if error is None else compact(error)
    return text[:MAX_MESSAGE] or "the agent gave no reason"


def compact(value: object) -> str:
    """JSON text without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _end(task_id: str, outcome: Outcome) -> Answer:
    reached("callback")
    done = run(steps.call_back(task_id, _hash(), outcome))
    reached("callback.finished")
    jobs.dispatch(done.grants)
    rows.ended_by_callback(run(tasks.read(task_id)), done.word, outcome)
    return answers.success(task_id=task_id, state=done.word)


def _hash() -> str:
    return token_hash(bearer(request.headers.get("Authorization")))
