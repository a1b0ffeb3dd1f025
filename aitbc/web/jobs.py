"""Jobs that a view publishes beside its step; nothing here raises when the broker is away, or the ledger that is the broker too."""

import logging
from collections.abc import Sequence

from aitbc.errors import AitbcError
from aitbc.ledger import jobs
from aitbc.model.job import Job
from aitbc.model.lease import Grant
from aitbc.model.priority import Priority
from aitbc.tasks import enqueue
from aitbc.web.parts import parts, run

log = logging.getLogger(__name__)


def of(task_id: str, priority: Priority) -> Job | None:
    """The `route` job that the step of a submit pushes; None when the broker is not the ledger's Redis."""
    return enqueue.job_beside(_url(), task_id, priority)


def route(tasks: Sequence[tuple[str, Priority]]) -> None:
    """Workers shall look at these tasks."""
    if not enqueue.beside(_url()):
        enqueue.route(tasks)
    elif tasks:
        _push([job for task_id, priority in tasks if (job := of(task_id, priority))])


def dispatch(grants: Sequence[Grant]) -> None:
    """Workers shall begin these leases."""
    if not enqueue.beside(_url()):
        enqueue.dispatch(grants)
    elif grants:
        _push(enqueue.jobs_of(grants))


def _push(ready: list[Job]) -> None:
    try:
        run(jobs.push(ready))
    except AitbcError as exc:
        log.warning("%d jobs are left to the sweep: %s", len(ready), exc)


def _url() -> str:
    return parts().ledger.settings.redis_url
