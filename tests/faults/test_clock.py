"""Redis's clock jumps an hour ahead, and an hour back, while tasks run: all time is Redis's own, so this is the only clock that matters.

The offset is compiled into the scripts of both clients, the API's blocking one and the worker's pipelining one.
"""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aitbc.ledger import agents, leases, sweep, tasks, workers
from aitbc.ledger.pipeline import Pipeline
from aitbc.ledger.step import text
from aitbc.model.lease import Attempt, Grant, new_token, task_of, token_hash
from tests.integration.ledger.desk import DONE, OFFSET, Desk, RedisServer, new_task, registration

HOUR = 3600.0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    desk = Desk(server.url)
    desk.at(0)
    yield desk
    desk.close()
    server.close()


class Worker:
    """What a worker process does, on its own pipeline: jobs, signs of life, sweeps. A call takes `CALL` seconds."""

    CALL = 0.2

    def __init__(self, desk: Desk) -> None:
        self.pipe, self.name, self.sends = Pipeline(desk.settings, offset=OFFSET), "w1", Counter[str]()
        self.running: set[asyncio.Task[None]] = set()

    def spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def route(self, task_id: str) -> None:
        token = new_token()
        self.take(await self.pipe.run(leases.route(task_id, self.name, token_hash(token))), token)

    async def dispatch(self, grant: Grant) -> None:
        token = new_token()
        self.take(await self.pipe.run(leases.begin(grant.lease_id, self.name, token_hash(token))), token)

    def take(self, begun: leases.Begun, token: str) -> None:
        self.publish(begun.grants)
        if begun.attempt:
            self.spawn(self.carry_out(begun.attempt, token))

    def publish(self, grants: list[Grant]) -> None:
        for grant in grants:
            self.spawn(self.dispatch(grant))

    async def carry_out(self, attempt: Attempt, token: str) -> None:
        self.sends[task_of(attempt.lease_id)] += 1
        await asyncio.sleep(self.CALL)
        spare = new_token()
        ended = await self.pipe.run(
            leases.finish(attempt.lease_id, token_hash(token), DONE, worker=self.name, spare_hash=token_hash(spare))
        )
        self.publish(ended.grants)
        if ended.next:
            self.spawn(self.carry_out(ended.next, spare))

    async def live(self) -> None:
        """As in aitbc/tasks/upkeep.py, heartbeats of the agents too."""
        for beat in itertools.count():
            view = await self.pipe.run(workers.alive(self.name, first=beat == 0))
            if not view.known:
                self.name += "'"
                await self.pipe.run(workers.alive(self.name, first=True))
            for name in ("a", "b"):
                await self.pipe.run(agents.heartbeat(name))
            await asyncio.sleep(0.5)

    async def sweep(self) -> None:
        while True:
            if await self.pipe.run(sweep.turn(self.name)):
                for step in sweep.steps():
                    self.publish((await self.pipe.run(step)).grants)
            await asyncio.sleep(sweep.PERIOD_SECONDS)


@contextlib.asynccontextmanager
async def at_work(desk: Desk) -> AsyncIterator[Worker]:
    worker = Worker(desk)
    worker.pipe.start()
    beside = [asyncio.ensure_future(worker.live()), asyncio.ensure_future(worker.sweep())]
    yield worker
    for task in (*beside, *worker.running):
        task.cancel()
    await asyncio.gather(*beside, *worker.running, return_exceptions=True)
    await worker.pipe.close()


@pytest.mark.parametrize("jumps", [(HOUR,), (-HOUR,), (HOUR, -HOUR), (-HOUR, HOUR)], ids=str)
def test_the_clock_jumps_under_load(desk: Desk, jumps: tuple[float, ...]) -> None:
    """Every task completes; nobody is thought dead for it; a task is sent again at most once a jump.

    A delay ends at a point in time: set back by an hour, the clock needs an hour to reach it, so none is pending then.
    """
    statuses = Counter[str]()

    async def scenario() -> Worker:
        async with at_work(desk) as worker:
            await worker.pipe.run(agents.register(registration("a", 4, heartbeat_timeout=10)))
            await worker.pipe.run(agents.register(registration("b", 4, heartbeat_timeout=10)))
            due = iter([*jumps, None])
            for n in range(200):
                await worker.pipe.run(tasks.submit(new_task(f"t{n}", delay=0.1 if n % 5 == 0 and min(jumps) > 0 else 0, max_attempts=10)))
                worker.spawn(worker.route(f"t{n}"))
                if n % 60 == 50 and (jump := next(due, None)):
                    desk.at(jump)
                await asyncio.sleep(0.01)
                statuses.update([text(desk.redis.hget("agent:a", "status"))])
            end = time.monotonic() + 20
            while (await worker.pipe.run(tasks.stats())).completed < 200 and time.monotonic() < end:  # noqa: ASYNC110  an event could not tell what Redis counts
                await asyncio.sleep(0.1)
            return worker

    worker = asyncio.run(scenario())
    assert {desk.state(f"t{n}") for n in range(200)} == {"completed"}
    assert set(statuses) == {"active"}
    assert set(worker.sends) == {f"t{n}" for n in range(200)}
    assert max(worker.sends.values()) <= 1 + len(jumps)
    assert desk.violations() == []
