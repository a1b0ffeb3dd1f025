"""Publish jobs. A job carries ids only, and is only a nudge: one that is not published is made good by the ledger's sweep.

Two ways.  Where broker and ledger are one Redis (the default), a job is a message that the ledger's own step pushes: `job_beside` and
`jobs_of` make it, and it costs no trip of its own.  Elsewhere (RabbitMQ, another Redis) Celery publishes: `route` and `dispatch`.  They
never raise when the broker is away: that is logged once, and for a moment nothing more is tried, so that callers are not held up.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from kombu.exceptions import BatchPublishError, OperationalError  # type: ignore[attr-defined]  # the stubs are older

from aitbc.model.job import Job
from aitbc.model.lease import Grant
from aitbc.model.priority import PRIORITIES, Priority
from aitbc.tasks import messages, queues
from aitbc.tasks.app import app
from aitbc.telemetry.once import OutageLog
from aitbc.worker import broker

ROUTE, DISPATCH = "aitbc.route", "aitbc.dispatch"
AWAY_SECONDS = 1.0
"""After a failure nothing is published for so long: each try may cost a connect timeout."""
LOOK_SECONDS = 1.0
"""How long it is known whether the broker is there: anybody may ask, and each look is a new connection."""
BATCH = 100
"""Messages that kombu sends in one write."""

outage = OutageLog("the Celery broker")


class _Publishing:
    """This process's one broker."""

    resume_at = 0.0
    alive = False
    look_at = 0.0
    looking = threading.Lock()


@cache
def beside(redis_url: str) -> bool:
    """Whether this ledger's Redis is the broker too, the same database: only then may its steps push jobs."""
    return broker.broker_of(redis_url)[0] == app.conf.broker_write_url and "db=" not in redis_url


def job_beside(redis_url: str, task_id: str, priority: Priority) -> Job | None:
    """The `route` job of a new task, for the step that records it; None when the broker is elsewhere."""
    return messages.fill(*_route(task_id, priority)) if beside(redis_url) else None


def jobs_of(grants: Iterable[Grant]) -> list[Job]:
    """The `dispatch` jobs of these leases, for a broker that is the ledger's Redis."""
    return [messages.fill(*_dispatch(grant)) for grant in grants]


def prepare(redis_url: str) -> None:
    """Make the forms of all jobs now, so that the first request does not wait for it."""
    if beside(redis_url):
        for priority in PRIORITIES:
            messages.fill(*_route("t", priority))
            messages.fill(*_dispatch(Grant("t:1", priority)))


def route(tasks: Sequence[tuple[str, Priority]]) -> None:
    """Workers shall look at these tasks."""
    _publish([_route(task_id, priority) for task_id, priority in tasks])


def dispatch(grants: Sequence[Grant]) -> list[Grant]:
    """Workers shall begin these leases. Returns those that no job could be published for."""
    return list(grants[_publish([_dispatch(grant) for grant in grants]) :])


def broker_alive() -> bool:
    """Whether a new connection to the broker can be made, within about 2 s; known for LOOK_SECONDS. One caller looks, others wait."""
    with _Publishing.looking:
        if time.monotonic() >= _Publishing.look_at:
            _Publishing.alive = _connects()
            _Publishing.look_at = time.monotonic() + LOOK_SECONDS
        return _Publishing.alive


def _connects() -> bool:
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
    except (OperationalError, OSError):
        return False
    return True


def _route(task_id: str, priority: Priority) -> tuple[Any, ...]:
    values = {"task_id": task_id, "priority": priority.value}
    return ROUTE, priority.value, task_id, "task_id", values


def _dispatch(grant: Grant) -> tuple[Any, ...]:
    values = {"lease_id": grant.lease_id, "priority": grant.priority.value}
    return DISPATCH, queues.granted(grant.priority), grant.job_id, "lease_id", values


def _publish(jobs: list[tuple[Any, ...]]) -> int:
    """How many left, in their order."""
    if not jobs or time.monotonic() < _Publishing.resume_at:
        return 0
    sent = 0
    try:
        with app.producer_or_acquire() as producer:
            for at in range(0, len(jobs), BATCH):
                sent += _send(producer, jobs[at : at + BATCH])
    except (OperationalError, OSError) as exc:
        _Publishing.resume_at = time.monotonic() + AWAY_SECONDS
        outage.down(exc)
        return sent
    outage.up()
    return sent


def _send(producer: Any, jobs: list[tuple[Any, ...]]) -> int:
    """Send all or raise OperationalError, OSError: in one write where kombu can (Redis), else one by one."""
    link = producer.connection
    try:
        with producer.batch(BATCH):
            for name, queue, job_id, _, values in jobs:
                messages.send(name, job_id, queue, values, producer=producer)
    except (BatchPublishError, *link.connection_errors, *link.channel_errors) as exc:
        link.collect()  # it may stand and never answer again: the next use connects anew
        raise OperationalError(str(exc)) from exc
    return len(jobs)
