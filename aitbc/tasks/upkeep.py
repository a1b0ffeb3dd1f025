"""What a worker does beside its jobs: its sign of life every 2 s, cancel notices as they come, and, when it is its turn, the sweep."""

import asyncio
import logging
import time

from celery.worker import state

from aitbc.errors import AitbcError
from aitbc.ledger import leases, sweep, workers
from aitbc.ledger.step import Step
from aitbc.settings import Settings
from aitbc.tasks.attempts import DISPATCH, LEASE, publish
from aitbc.tasks.jobs import cancel
from aitbc.tasks.node import close_node, node, open_node
from aitbc.telemetry import tracing
from aitbc.worker import every, on_start, on_stop, polling, room

log = logging.getLogger(__name__)

LIFE_SECONDS = 2.0


class _Upkeep:
    """What is remembered between two looks."""

    strays: frozenset[str] = frozenset()  # begun leases that no job here knew at the last look
    revoked: frozenset[str] = frozenset()
    listening: "asyncio.Task[None] | None" = None
    polls = False  # what the ledger was told last
    alone: asyncio.Lock  # held during a look


@on_start
async def enter() -> None:
    """Open the node and tell the ledger that it lives."""
    tracing.start()
    here = open_node(Settings.load())
    _Upkeep.alone = asyncio.Lock()
    _Upkeep.listening = asyncio.ensure_future(listen(here.worker))
    asyncio.ensure_future(here.ledger.run(workers.alive(here.worker, first=True, polls=False))).add_done_callback(_entered)


async def leave() -> None:
    """The last thing: a worker that holds nothing is forgotten at once instead of after 10 s."""
    if _Upkeep.listening is not None:
        _Upkeep.listening.cancel()
    try:
        async with asyncio.timeout(1):
            await node().ledger.run(_alive(polls=False))
            await node().ledger.run(workers.leave(node().worker))
    except (TimeoutError, AitbcError):
        log.warning("the ledger does not answer: this worker leaves without saying so")
    await close_node()


async def live() -> None:
    """Say that this worker lives; hear what was cancelled; hand back what it never knew it had begun.

    One look at a time: two that waited for the ledger together would be answered together, and a lease begun just before them would be
    unknown to both, or this worker would take two new ids for one death.
    """
    async with _Upkeep.alone:
        await _look()


async def _look() -> None:
    here = node()
    _Upkeep.polls = polling()
    view = await here.ledger.run(_alive(polls=_Upkeep.polls))
    if not view.known:
        return await _declared_dead()
    for lease_id in view.cancelled:
        here.close(lease_id)
    await _hand_back(frozenset(view.begun) - frozenset(here.held))
    return await _revoke()


def _alive(*, polls: bool) -> Step[workers.WorkerView]:
    """The sign of life, with what this worker has counted under its id."""
    return workers.alive(node().worker, polls=polls, room=room(), totals={**DISPATCH.totals(), **LEASE.totals()})


async def tell_of_polling() -> None:
    """Whether this worker takes jobs has changed: /ready should know at once, not at the next sign of life."""
    if polling() != _Upkeep.polls:
        await live()


async def listen(worker: str) -> None:
    """Close the call of each lease whose task is cancelled, as soon as the ledger says so."""
    async for lease_id in node().ledger.cancels(worker):
        node().close(lease_id)


async def sweep_once() -> None:
    """One turn of the sweep, if it is ours: at most 0.5 s of scripts of at most 5 ms."""
    here = node()
    if not await here.ledger.run(sweep.turn(here.worker)):
        return
    until = time.monotonic() + sweep.LONGEST_SECONDS
    for step in sweep.steps():
        more = True
        while more and time.monotonic() < until:
            swept = await here.ledger.run(step)
            await publish(swept.grants)
            more = swept.more


async def _declared_dead() -> None:
    """Its leases have ended without it: close their calls, and go on as another."""
    here = node()
    log.warning("this worker was declared dead: its calls are closed, it goes on under a new id")
    for lease_id in list(here.held):
        here.close(lease_id)
    here.rename()
    DISPATCH.clear()  # counted under the old id, but for what happened since it last reported
    LEASE.clear()
    if _Upkeep.listening is not None:
        _Upkeep.listening.cancel()
    _Upkeep.listening = asyncio.ensure_future(listen(here.worker))
    await here.ledger.run(workers.alive(here.worker, first=True, polls=polling()))


async def _hand_back(strays: frozenset[str]) -> None:
    """A begun lease that two looks running found with no call and no step under way: its reply was lost. Nothing was sent."""
    here = node()
    if here.ledger.unanswered == 0:
        for lease_id in strays & _Upkeep.strays:
            log.warning("lease %s was begun for this worker, which never heard of it: handed back", lease_id)
            await publish(await here.ledger.run(leases.disown(lease_id, here.worker)))
    _Upkeep.strays = strays


async def _revoke() -> None:
    """`celery revoke` of a task that waits in the ledger, or runs without a job of its own."""
    ids = frozenset(state.revoked)
    for job_id in ids - _Upkeep.revoked:
        await cancel(job_id)
    _Upkeep.revoked = ids


def _entered(first: "asyncio.Future[workers.WorkerView]") -> None:
    if not first.cancelled() and first.exception() is not None:
        log.warning("the ledger did not take the first sign of life: %s", first.exception())


every(LIFE_SECONDS, live, name="sign of life")
every(0.25, tell_of_polling)
every(sweep.PERIOD_SECONDS, sweep_once, name="sweep")
on_stop(leave, phase="end")
