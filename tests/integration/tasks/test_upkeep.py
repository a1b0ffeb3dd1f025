"""Two looks at the ledger that wait for it together, as at the end of every outage: the sign of life that is due, and the one that says
that jobs are taken no longer. They are answered in one turn of the loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from aitbc.ledger import leases
from aitbc.ledger.keys import BY_NAME
from aitbc.model.lease import new_token, token_hash
from aitbc.tasks import upkeep
from aitbc.tasks.node import node
from tests.harness.agents import Agents, hang
from tests.integration.ledger.desk import Desk, RedisServer


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    server = RedisServer(tmp_path)
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setattr(upkeep, "polling", lambda: True)  # else a Celery pool is needed
    monkeypatch.setattr(upkeep, "room", lambda: 1)
    desk = Desk(server.url)
    desk.at(0)
    yield desk
    desk.close()
    server.close()


def at_node(work: Callable[[], Awaitable[None]]) -> None:
    """Run it in the node of a worker that has begun."""

    async def main() -> None:
        await upkeep.enter()
        try:
            await asyncio.sleep(0)  # its first sign of life is sent
            await upkeep.live()
            await work()
        finally:
            await upkeep.leave()

    asyncio.run(main())


def test_a_lease_begun_just_before_them_is_not_handed_back(desk: Desk, agents: Agents) -> None:
    agent = agents.start("a", hang)
    desk.agent("a", endpoints={"http": agent.url})
    desk.task("t")

    async def work() -> None:
        here, token = node(), new_token()
        desk.redis.script_load(here.ledger._scripts["route"].text)  # else its first reply is NOSCRIPT, and the looks are answered before it

        async def job() -> "asyncio.Future[object]":
            begun = await here.ledger.run(leases.route("t", here.worker, token_hash(token)))
            assert begun.attempt is not None
            return asyncio.ensure_future(here.call(begun.attempt, token))

        call, _, _ = await asyncio.gather(job(), upkeep.live(), upkeep.live())
        await upkeep.live()
        assert desk.state("t") == "running"
        assert [attempt.outcome for attempt in desk.read("t").attempts] == [None]
        here.close("t:1")
        await call

    at_node(work)


def test_a_worker_declared_dead_takes_one_new_id(desk: Desk) -> None:
    async def work() -> None:
        before = node().worker
        desk.redis.zrem(BY_NAME["WORKERS"], before)
        await asyncio.gather(upkeep.live(), upkeep.live())
        assert desk.redis.zrange(BY_NAME["WORKERS"], 0, -1) == [node().worker.encode()]
        assert node().worker != before

    at_node(work)
