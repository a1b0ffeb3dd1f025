"""Carry out an attempt: POST it, finish it, and go on with the next one that finishing it granted to this worker."""

import asyncio
import logging
import time

from aitbc.ledger import jobs, leases, tasks
from aitbc.ledger.leases import Ended
from aitbc.model.lease import Attempt, Grant, new_token, token_hash
from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode
from aitbc.tasks import enqueue, rows
from aitbc.tasks.node import Node, node
from aitbc.tasks.rows import Ending
from aitbc.telemetry import logs, tracing
from aitbc.telemetry.histogram import Histogram
from aitbc.telemetry.steps import reached
from aitbc.worker import current_job, room, spawn, stopping

log = logging.getLogger(__name__)

CLOSED = Outcome(Verdict.STOPPED, AgentSays.NOTHING, code=ErrorCode.CANCELLED, message="the call was closed: its task was cancelled")
WORKER_STOPPED = Outcome(
    Verdict.STOPPED, AgentSays.NOTHING, code=ErrorCode.WORKER_STOPPED, message="the worker was stopped during the call"
)


DISPATCH, LEASE = Histogram("dispatch"), Histogram("lease")
"""Reported with each sign of life (upkeep.py)."""


async def carry_out(attempt: Attempt, token: str) -> Ending | None:
    """POST and finish one attempt; what it granted runs on beside the caller. None: the agent works on (202), or it is not ours any more.

    Raises CancelledError when this worker stops or the job is revoked; the attempt has been ended by then.
    """
    here, began = node(), time.monotonic()
    logs.bind(task_id=attempt.task_id, lease_id=attempt.lease_id, attempt=str(attempt.attempt))
    reached("attempt.begun")
    try:
        outcome = await (_spanned(attempt, token) if tracing.on() else here.call(attempt, token))
    except asyncio.CancelledError:
        if is_revoked():  # first, or the freed slot would be given to this very task again
            await publish((await here.ledger.run(tasks.cancel(attempt.task_id))).grants)
        DISPATCH.observe("stopped", time.monotonic() - began)
        await _finish(here, attempt, token, WORKER_STOPPED, spare=None)
        raise
    if isinstance(outcome, Accepted):
        DISPATCH.observe("accepted", time.monotonic() - began)
        if not await _renew(here, attempt, token):
            LEASE.observe("accepted", time.monotonic() - began)  # it ended as the worker's: the ledger did not count it
        return None
    reached("attempt.answered")
    DISPATCH.observe(outcome.verdict if outcome else "cancelled", time.monotonic() - began)
    outcome = outcome or CLOSED
    spare = new_token() if room() and not stopping() else None
    ended = await _finish(here, attempt, token, outcome, spare)
    if ended.next is not None and spare is not None:
        spawn(carry_on(ended.next, spare))
    lived = time.monotonic() - began
    LEASE.observe("call", lived)
    if log.isEnabledFor(logging.DEBUG):
        log.debug("attempt ended: %s", ended.word, extra={"agent_id": attempt.agent_id, "ms": round(lived * 1000, 2)})
    return rows.ending(ended.word, attempt, outcome, lived)


async def _spanned(attempt: Attempt, token: str) -> Outcome | Accepted | None:
    """The call in a span of its own, whose child is the agent's."""
    with tracing.span("dispatch", attempt.traceparent, "client") as span:
        attempt.traceparent = span.traceparent
        span.note(task_id=attempt.task_id, attempt=attempt.attempt, lease_id=attempt.lease_id, agent_id=attempt.agent_id)
        outcome = await node().call(attempt, token)
        if isinstance(outcome, Outcome):
            span.note(outcome=outcome.verdict.value, http_status=outcome.http_status)
        if isinstance(outcome, Outcome) and outcome.verdict is not Verdict.COMPLETED:
            span.fail(f"{outcome.code}: {outcome.message}")
        return outcome


def is_revoked() -> bool:
    """The job that is calling was cancelled by `celery revoke --terminate`; False without a job."""
    try:
        return current_job().revoked
    except LookupError:
        return False


async def carry_on(attempt: Attempt, token: str) -> None:
    """Carry out an attempt that has no job of its own; its events are sent here."""
    rows.started(attempt)
    end = await carry_out(attempt, token)
    if end is not None:
        rows.ended(attempt, end)


async def _finish(here: Node, attempt: Attempt, token: str, outcome: Outcome, spare: str | None) -> Ended:
    step = leases.finish(attempt.lease_id, token_hash(token), outcome, worker=here.worker, spare_hash=token_hash(spare) if spare else "")
    ended = await here.ledger.run(step)
    reached("attempt.finished")
    if ended.grants and stopping():
        await publish(ended.grants)
    elif ended.grants:
        spawn(publish(ended.grants))  # beside: the next attempt does not wait for the broker
    return ended


async def _renew(here: Node, attempt: Attempt, token: str) -> bool:
    """The agent said 202. False when its callback has overtaken it: then there is nothing to renew."""
    try:
        await here.ledger.run(leases.renew(attempt.lease_id, token_hash(token)))
    except leases.ENDED as exc:
        log.debug("202 of %s came after its end: %s", attempt.lease_id, exc)
        return False
    return True


async def publish(grants: list[Grant]) -> None:
    """Jobs for grants that this worker does not run itself: pushed with its other calls where the ledger's Redis is the broker.

    Elsewhere they are published in a thread, as that blocks; and while that broker is away this worker runs them itself, as far as it has
    room: the ledger's sweep alone keeps the work going.
    """
    if not grants:
        return
    reached("grants.unpublished")
    here = node()
    if enqueue.beside(here.settings.redis_url):
        await here.ledger.run(jobs.push(enqueue.jobs_of(grants)))
        return
    for grant in await asyncio.to_thread(enqueue.dispatch, grants):
        if stopping() or not room():
            break
        spawn(_begin(grant))


async def _begin(grant: Grant) -> None:
    here, token = node(), new_token()
    begun = await here.ledger.run(leases.begin(grant.lease_id, here.worker, token_hash(token)))
    await publish(begun.grants)
    if begun.attempt is not None:
        await carry_on(begun.attempt, token)
