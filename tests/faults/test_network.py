"""Answers that are lost on the way, and hosts that fall silent: a step's outcome is never unknown, and others go on."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aitbc.errors import AitbcError
from aitbc.ledger import agents, leases, queues, workers
from aitbc.ledger.client import Ledger
from aitbc.ledger.pipeline import Pipeline
from aitbc.ledger.step import Step
from aitbc.model.priority import Priority
from aitbc.settings import Settings
from tests.harness.matrix import Row
from tests.harness.proxy import Proxy
from tests.integration.ledger.desk import FINAL, OFFSET, Desk, RedisServer
from tests.integration.ledger.test_repeats import STEPS, TOKEN, stored
from tests.properties.repeats import same_answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def desk(server: RedisServer) -> Iterator[Desk]:
    """One of everything: an agent with a begun and a granted lease, a drained one, a dead letter, a task that waits."""
    desk = Desk(server.url)
    desk.redis.flushall()
    desk.at(0)
    desk.agent("off", 1)
    desk.run(agents.drain("off"))
    desk.agent("a", 2)
    desk.started("dead").ends(FINAL)
    desk.task("begun")
    desk.run(leases.route("begun", "w1", TOKEN))
    desk.run(workers.alive("w2", first=True))
    desk.run(agents.drain("a"))
    desk.task("granted")
    desk.run(agents.resume("a"))
    desk.task("waits")
    desk.run(queues.pause(Priority.LOW))
    yield desk
    desk.close()


def answer(run: Any, step: Step[Any]) -> Any:
    try:
        return run(step)
    except AitbcError as refusal:
        return refusal


def blocking(proxy: Proxy, step: Step[Any]) -> Any:
    ledger = Ledger(Settings(redis_url=proxy.url), offset=OFFSET)
    proxy.lose(ledger._scripts[step.script].sha.encode())
    try:
        return answer(ledger.run, step)
    finally:
        ledger.close()


def piped(proxy: Proxy, step: Step[Any]) -> Any:
    async def work() -> Any:
        pipe = Pipeline(Settings(redis_url=proxy.url), offset=OFFSET)
        proxy.lose(pipe._scripts[step.script].sha.encode())
        pipe.start()
        try:
            return await asyncio.wait_for(pipe.run(step), 20)
        except AitbcError as refusal:
            return refusal
        finally:
            await pipe.close()

    return asyncio.run(work())


@pytest.mark.parametrize("client", [blocking, piped])
@pytest.mark.parametrize("name", STEPS)
def test_the_reply_is_lost_after_the_script_ran(desk: Desk, proxy: Proxy, name: str, client: Any) -> None:
    """The client asks again by itself, and has the answer that it would have had; the script's effect is there once."""
    step = STEPS[name]
    for script in desk.ledger._scripts.values():
        desk.redis.script_load(script.text)  # else the reply that is lost is NOSCRIPT
    got = client(proxy, step)
    assert proxy.lost == 1
    before = stored(desk)
    assert same_answer(step.script, got, answer(desk.run, step))
    assert stored(desk) == before


def test_an_agent_falls_silent(world: Row) -> None:
    """Connections to it stand, nothing passes: its calls end at their run_timeout and go elsewhere; the other agent never waits."""
    api = world.node()
    worker = world.worker()
    near, far = world.agent(api, "near"), world.agents.start("far")
    hole = Proxy(int(far.url.rpartition(":")[2]))
    try:
        api.register("far", f"http://127.0.0.1:{hole.port}", max_concurrency=5)
        hole.silent = True
        world.struck = time.monotonic()
        for _ in range(40):
            world.submit(api, run_timeout=3)
        found = world.settle(api, faults=1, seconds=30)
        assert {task["agent_id"] for task in found.values()} == {"near"}
        failed = [a for task in found.values() for a in task["attempts"] if a["agent_id"] == "far"]
        assert {a["error"] for a in failed} == {"run_timeout"}
        assert len(failed) <= 10  # its five slots; then the breaker
        assert len(near.received) == 40
        assert far.received == []
        assert worker.alive
    finally:
        hole.close()
