"""Events as they happen (server-sent events): the end of every task, and all that becomes of one that is watched."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from aitbc.errors import Invalid, LedgerAway
from aitbc.ledger import events as steps
from aitbc.ledger.events import place
from aitbc.model.task import TERMINAL
from aitbc.web import access
from aitbc.web.feed import ALL
from aitbc.web.listening import Listening, reset, wire, wired
from aitbc.web.parts import parts, run
from aitbc.web.schemas.base import TaskPath

blueprint = APIBlueprint("events", __name__)

HEADERS = {"X-Accel-Buffering": "no"}
"""nginx hands each event on at once."""


@blueprint.get("/events")
def of_all() -> Response:
    """The end of every task, and the states and progress of those that are watched."""
    known, newest = _last_event_id(), parts().stream.newest()
    if known and not parts().stream.holds(known):
        return _listen(ALL, newest, reset(newest))
    return _listen(ALL, known or newest)


@blueprint.get("/tasks/<task_id>/events")
def of_one(path: TaskPath) -> Response:
    """A task's state now, then each state and its progress until it has ended. From the first such call on the task is watched."""
    known = _last_event_id()
    access.own("task", path.task_id)
    task = run(steps.watch(path.task_id))
    now = wire(task.state, task.event_id, {"task_id": path.task_id, "state": task.state})
    if not known:
        return _listen(path.task_id, task.event_id, now, ended=task.ended is not None)
    stream = parts().stream
    missed = stream.of_task(known, path.task_id, task.ended) if stream.holds(known) else None
    if missed is None:
        return _listen(path.task_id, task.event_id, reset(task.event_id) + now, ended=task.ended is not None)
    if task.ended is not None and not missed.events:
        return Response(status=204)  # the client has heard its end: browsers do not come again
    ended = bool(missed.events) and missed.events[-1].word in TERMINAL
    return _listen(path.task_id, missed.last_id, b"".join(map(wired, missed.events)), ended=ended)


def _last_event_id() -> str:
    """The header's id; empty when there is none. Raises Invalid."""
    sent = request.headers.get("Last-Event-ID", "").strip()
    try:
        return f"{'-'.join(map(str, place(sent)))}" if sent else ""
    except ValueError:
        raise Invalid("Last-Event-ID: use the id of an event that was sent here, as 1715098015123-0") from None


def _listen(topic: str, last_id: str, first: bytes = b"", *, ended: bool = False) -> Response:
    """Raises Full, LedgerAway."""
    if ended:
        return Response(first, headers=HEADERS, content_type="text/event-stream")
    mine = parts()
    owner = access.owner()

    def leave() -> None:
        mine.feed.leave(topic, listening, owner)

    listening = Listening(mine.stream, topic, last_id, first, access.lasting(), leave)
    mine.feed.enter(topic, listening, owner)
    if not mine.feed.stands():
        listening.close()
        raise LedgerAway("the ledger (Redis) does not answer", retry_after=2)
    listening.through(request.environ.get("gunicorn.socket"))
    return Response(listening, headers=HEADERS, content_type="text/event-stream")
