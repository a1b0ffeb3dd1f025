"""Publish jobs. A job carries ids only, and is only a nudge: one that is not published is made good by the ledger's sweep.

So nothing here raises when the broker is away; it is logged once, and for a moment nothing more is tried, so that callers are not held up.
"""

import time
from collections.abc import Iterable
from typing import Any

from kombu.exceptions import OperationalError

from aitbc.model.lease import Grant, keyed
from aitbc.model.priority import Priority
from aitbc.tasks import queues
from aitbc.tasks.app import app
from aitbc.telemetry.once import OutageLog

ROUTE, DISPATCH = "aitbc.route", "aitbc.dispatch"
AWAY_SECONDS = 1.0
"""After a failure nothing is published for so long: each try may cost a connect timeout."""

outage = OutageLog("the Celery broker")


class _Publishing:
    """This process's one broker."""

    resume_at = 0.0


def route(task_id: str, priority: Priority, retries: int = 0) -> None:
    """A worker shall look at this task."""
    _publish(ROUTE, keyed(task_id, retries), queue=priority.value, task_id=task_id, priority=priority.value)


def dispatch(grants: Iterable[Grant]) -> list[Grant]:
    """Workers shall begin these leases. Returns those that no job could be published for."""
    return [grant for grant in grants if not _dispatch(grant)]


def _dispatch(grant: Grant) -> bool:
    return _publish(
        DISPATCH,
        grant.job_id,
        queue=queues.granted(grant.priority),
        lease_id=grant.lease_id,
        priority=grant.priority.value,
    )


def broker_alive() -> bool:
    """Whether a new connection to the broker can be made, within about 2 s."""
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
    except (OperationalError, OSError):
        return False
    return True


def _publish(name: str, job_id: str, *, queue: str, **kwargs: Any) -> bool:
    if time.monotonic() < _Publishing.resume_at:
        return False
    try:
        app.send_task(name, task_id=job_id, kwargs=kwargs, queue=queue, retry=False, argsrepr="()")
    except (OperationalError, OSError) as exc:
        _Publishing.resume_at = time.monotonic() + AWAY_SECONDS
        outage.down(exc)
        return False
    outage.up()
    return True
