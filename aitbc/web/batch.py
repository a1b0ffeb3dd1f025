"""Many tasks in one call: each is checked, stored and answered as if it had come alone."""

import json
from dataclasses import dataclass
from typing import Any, cast

from flask import request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import ValidationError

from aitbc.errors import AitbcError, TooLarge
from aitbc.ledger import tasks as steps
from aitbc.ledger.tasks import Submitted
from aitbc.model.task import NewTask
from aitbc.telemetry.steps import reached
from aitbc.telemetry.tracing import client_traceparent, span
from aitbc.web import access, answers, jobs, problems
from aitbc.web.answers import Answer
from aitbc.web.parts import parts, run
from aitbc.web.requests import an_object, idempotency_key, refuse_deep
from aitbc.web.schemas.tasks import Submit, SubmitBatch
from aitbc.web.tasks import accepted, callers_task, refuse_when_full

blueprint = APIBlueprint("batch", __name__)


@dataclass(slots=True)
class _Entry:
    """One task of a batch: checked (`task`), or refused already (`done`)."""

    body: Submit | None = None
    task: NewTask | None = None
    done: Submitted | AitbcError | None = None


@blueprint.post("/tasks/submit/batch")
def submit_batch(body: SubmitBatch) -> Answer:
    """Accept many tasks. From this answer on none of those that it calls accepted is lost."""
    key = idempotency_key(request.headers.get("Idempotency-Key"))
    with span("submit", client_traceparent(request.headers.get("traceparent"))) as spanned:
        owner, trace = access.caller().key_id, spanned.traceparent
        entries = [_checked(one, f"{key}\n{place}" if key else "", owner, trace) for place, one in enumerate(body.tasks)]
        spanned.note(tasks=len(entries))
        refuse_when_full()
        access.about(f"{len(entries)} tasks")
        reached("submit")
        _store([entry for entry in entries if entry.task])
        reached("submit.published")
    results = [_result(entry) for entry in entries]
    count = sum(isinstance(entry.done, Submitted) for entry in entries)
    return answers.success(results=results, accepted_count=count, refused_count=len(entries) - count)


def _checked(sent: Any, key: str, owner: str, traceparent: str) -> _Entry:
    """`key`: the Idempotency-Key with the place of the task in the batch; no header can hold its line break."""
    try:
        refuse_deep(an_object(sent))
        _refuse_large(sent)
        body = Submit.model_validate(sent)
        return _Entry(body, callers_task(body, sent, key, owner, traceparent))
    except ValidationError as exc:
        return _Entry(done=problems.invalid(exc))
    except AitbcError as exc:
        return _Entry(done=exc)


def _refuse_large(sent: Any) -> None:
    most = parts().settings.max_request_bytes
    if len(json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()) > most:
        raise TooLarge(f"the body is larger than {most} bytes; AITBC_MAX_REQUEST_BYTES sets the limit")


def _store(entries: list[_Entry]) -> None:
    """Run the steps. Raises what the first raises (nothing is stored then); what a later one raises is the error of all that are left."""
    for at in range(0, len(entries), steps.SUBMITS):
        some = entries[at : at + steps.SUBMITS]
        try:
            found = run(steps.submit_many([(entry.task, jobs.of(entry.task.task_id, entry.task.priority)) for entry in some if entry.task]))
        except AitbcError as exc:
            if not at:
                raise
            for entry in entries[at:]:
                entry.done = exc
            return
        for entry, done in zip(some, found, strict=True):
            entry.done = done
        reached("submit.stored")
        jobs.route([(e.done.task_id, e.task.priority) for e in some if e.task and isinstance(e.done, Submitted) and e.done.publish])


def _result(entry: _Entry) -> dict[str, Any]:
    """The body that a submit of this task alone would have been answered with."""
    if isinstance(entry.done, Submitted) and entry.body:
        return accepted(entry.done, entry.body)
    return problems.of_one(cast("AitbcError", entry.done))
