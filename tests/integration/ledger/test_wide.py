"""Wide steps: many in one script, each with its own answer, whatever becomes of the others."""

import asyncio

import pytest
import redis

from aitbc.ledger import leases, scripts, tasks
from aitbc.ledger.pipeline import WIDEST
from aitbc.model.lease import token_hash
from aitbc.model.outcome import Outcome, Verdict
from tests.integration.ledger.desk import Desk, new_task
from tests.integration.ledger.test_pipeline import piped

WORKER = "worker@host:0123456789abcdef"
COUNT = 2 * WIDEST + 3


@pytest.fixture
def desk(own_redis):
    made = Desk(own_redis.url)
    made.agent("a", COUNT)
    yield made
    made.close()


def submitted(desk, count=COUNT):
    names = [f"t{n}" for n in range(count)]
    for name in names:
        desk.run(tasks.submit(new_task(name)))
    return names


def route(name):
    return leases.route(name, WORKER, token_hash(name))


def finish(attempt):
    return leases.finish(attempt.lease_id, token_hash(attempt.task_id), Outcome(Verdict.COMPLETED, result=f'"{attempt.task_id}"'))


async def together(pipe, steps):
    return await asyncio.gather(*map(pipe.run, steps), return_exceptions=True)


def scripts_run(own_redis):
    with redis.Redis(port=own_redis.port) as client:
        stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


def test_calls_of_a_turn_share_scripts_and_each_has_its_own_answer(own_redis, desk):
    names = submitted(desk)

    async def work(pipe):
        await pipe.run(tasks.stats())
        before = scripts_run(own_redis)
        begun = await together(pipe, map(route, names))
        between = scripts_run(own_redis)
        ended = await together(pipe, [finish(one.attempt) for one in begun])
        return begun, ended, between - before, scripts_run(own_redis) - between

    begun, ended, routed, finished = piped(own_redis.url, work)
    assert [one.attempt.task_id for one in begun] == names
    assert [one.word for one in ended] == ["completed"] * COUNT
    assert routed <= 2 * 3  # three scripts; once more when Redis does not know it yet
    assert finished <= 2 * 3
    assert [desk.read(name).result for name in names] == names
    stats = desk.run(tasks.stats())
    assert (stats.begun, stats.completed) == (COUNT, COUNT)
    assert desk.violations() == []


def test_a_step_that_fails_harms_none_beside_it(own_redis, desk):
    good, better, bad = submitted(desk, 3)
    desk.redis.delete(f"task:{bad}")
    desk.redis.set(f"task:{bad}", "no hash")

    async def work(pipe):
        await pipe.run(tasks.stats())
        return await together(pipe, map(route, (bad, good, better)))

    broken, *begun = piped(own_redis.url, work)
    assert isinstance(broken, redis.ResponseError)
    assert "WRONGTYPE" in str(broken)
    assert [one.attempt.task_id for one in begun] == [good, better]
    assert desk.run(tasks.stats()).begun == 2
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        desk.run(route(bad))


def test_repeats_of_a_script_change_nothing(own_redis, desk):
    """The reply was lost, so the whole of it is sent again, in other company."""
    names = submitted(desk, 5)

    async def work(pipe):
        first = await together(pipe, map(route, names[:4]))
        again = await together(pipe, map(route, names[1:]))
        ended = await together(pipe, [finish(one.attempt) for one in first])
        repeat = await together(pipe, [finish(one.attempt) for one in reversed(first)])
        return first, again, ended, repeat

    first, again, ended, repeat = piped(own_redis.url, work)
    assert [one.attempt.lease_id for one in again[:3]] == [one.attempt.lease_id for one in first[1:]]
    assert ended == repeat[::-1]
    assert desk.run(tasks.stats()).completed == 4
    assert desk.violations() == []


def test_a_demoted_master_is_left_though_the_refusals_are_inside(own_redis, desk):
    names = submitted(desk, 2)

    async def work(pipe):
        await pipe.run(tasks.stats())
        with redis.Redis(port=own_redis.port) as other:
            other.replicaof("127.0.0.1", own_redis.port)
            calls = [asyncio.ensure_future(pipe.run(route(name))) for name in names]
            await asyncio.sleep(0.5)
            assert not any(call.done() for call in calls)
            other.replicaof("NO", "ONE")
        return await asyncio.gather(*calls)

    assert [one.attempt.task_id for one in piped(own_redis.url, work)] == names


def test_a_script_that_grants_thousands(own_redis, desk):
    """More members than Lua unpacks at once: each step grants its 64, those before the task that it asks for."""
    desk.agent("b", 5_000)
    names = [f"t{n}" for n in range(WIDEST * scripts.FIXED["GRANTS"] + WIDEST)]

    async def work(pipe):
        await together(pipe, [tasks.submit(new_task(name)) for name in names])
        return await together(pipe, map(route, names[-WIDEST:]))

    routed = piped(own_redis.url, work)
    granted = [grant.lease_id for one in routed for grant in one.grants] + [one.attempt.lease_id for one in routed]
    assert len(granted) == len(set(granted)) == WIDEST * scripts.FIXED["GRANTS"]
    assert desk.redis.zcard("leases") == desk.redis.zcard("tasks:running") == len(granted)
    desk.sweep()  # goes on where the steps ended at their limit
    assert desk.violations() == []
