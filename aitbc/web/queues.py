"""The five queues: their sizes; cleared, paused and resumed."""

import time

from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel

from aitbc.ledger import queues as steps
from aitbc.ledger import tasks
from aitbc.model.priority import Priority
from aitbc.web import answers, jobs
from aitbc.web.answers import Answer
from aitbc.web.parts import run
from aitbc.web.schemas.base import AnyCase

blueprint = APIBlueprint("queues", __name__)

CLEAR_SECONDS = 25.0
"""How long one request clears; a queue that takes longer is cleared by repeating it (`more` is true)."""


class QueuePath(BaseModel):
    """`/tasks/queues/{priority}`."""

    priority: AnyCase

    @property
    def queue(self) -> Priority:
        """Raises BadRequest `Invalid priority: X`."""
        return Priority.parse(self.priority)


@blueprint.get("/tasks/queues")
def sizes() -> Answer:
    """What is queued and waiting, by priority."""
    found = run(tasks.stats())
    return answers.success(queue_sizes=found.queue_sizes, paused=found.paused)


@blueprint.get("/tasks/queues/stats")
def stats() -> Answer:
    """Sizes, their sum, which queues are paused, and the outbox of callback_urls."""
    found = run(tasks.stats())
    by_priority = found.queue_sizes
    return answers.success(queue_sizes=by_priority, total=sum(by_priority.values()), paused=found.paused, callbacks=found.callbacks)


@blueprint.post("/tasks/queues/<priority>/clear")
def clear(path: QueuePath) -> Answer:
    """Cancel what was queued or waiting when the request came; what comes meanwhile stays."""
    queue, cleared, limit, more = path.queue, 0, 0, True
    end = time.monotonic() + CLEAR_SECONDS
    while more and time.monotonic() < end:
        count, limit, more = run(steps.clear(queue, limit))
        cleared += count
    return answers.success(priority=queue, cleared_count=cleared, more=more)


@blueprint.post("/tasks/queues/<priority>/pause")
def pause(path: QueuePath) -> Answer:
    """No new grants; running work goes on."""
    queue = path.queue
    grants = run(steps.pause(queue))
    jobs.dispatch(grants)
    return answers.success(priority=queue, paused=True)


@blueprint.post("/tasks/queues/<priority>/resume")
def resume(path: QueuePath) -> Answer:
    """Grants again, at once."""
    queue = path.queue
    grants = run(steps.resume(queue))
    jobs.dispatch(grants)
    return answers.success(priority=queue, paused=False)
