"""The broker loses, doubles and reorders jobs: a job is only a nudge, so that costs seconds, never a task and never a second send."""

import random
import signal
import time
from collections.abc import Callable

import pytest
import redis

from aitbc.tasks.queues import names
from tests.harness.matrix import Row
from tests.harness.processes import wait_for
from tests.integration.ledger.desk import RedisServer

PRIORITIES = ("urgent", "critical", "high", "normal", "low")
ROWS = ["all queues flushed", "every job twice", "jobs reordered", "every job twice and reordered, two workers"]


def run_row(world: Row, name: str) -> None:
    """Jobs of both kinds, routes and grants, lie in the broker while its workers stand still."""
    world.name = f"broker: {name}"
    api = world.node()
    workers = [world.worker() for _ in range(2 if "two" in name else 1)]
    waiting = [world.submit(api, priority=priority, requirements={"capabilities": ["x"]}) for priority in PRIORITIES for _ in range(6)]
    wait_for(lambda: {api.task(task_id)["state"] for task_id in waiting} == {"waiting"}, 10, "everything to wait")
    for worker in workers:
        worker.signal(signal.SIGSTOP)
    world.agent(api, "grants", capabilities=["x"], max_concurrency=20)
    for n in range(40):
        world.submit(api, priority=PRIORITIES[n % 5])
    assert _meddle(world, name) >= 50
    world.struck = time.monotonic()
    for worker in workers:
        worker.signal(signal.SIGCONT)
    world.settle(api, faults=0)


def _meddle(world: Row, name: str) -> int:
    """Flush, double or shuffle each queue; how many jobs there were."""
    chance, found = random.Random(5), 0
    with redis.Redis.from_url(world.cluster.redis_url) as broker:
        for queue in names():
            jobs: list[bytes] = broker.lrange(queue, 0, -1)
            found += len(jobs)
            kept = [] if "flushed" in name else jobs * 2 if "twice" in name else jobs
            if "reordered" in name:
                chance.shuffle(kept)
            broker.delete(queue)
            if kept:
                broker.rpush(queue, *kept)
    return found


@pytest.mark.parametrize("name", ROWS)
def test_broker(rows: Callable[[str], None], name: str) -> None:
    rows(name)


def test_order_is_the_ledgers_whatever_order_the_jobs_are_in(world: Row) -> None:
    """One slot, jobs shuffled in each queue and each of them twice: still strictly by priority, then by place in line."""
    world.name = "broker: jobs reordered, strict order"
    api, worker = world.node(), world.worker()
    agent = world.agent(api, "one", max_concurrency=1, delay=1)
    world.submit(api)
    wait_for(lambda: agent.working, 10, "the first call")
    worker.signal(signal.SIGSTOP)
    agent.delay = 0
    chance = random.Random(3)
    for _ in range(30):
        world.submit(api, priority=chance.choice(PRIORITIES))
    assert _meddle(world, "every job twice and reordered") >= 28  # the worker that stands still had asked for one already
    world.struck = time.monotonic()
    worker.signal(signal.SIGCONT)
    tasks = world.settle(api, faults=0)
    first, *rest = world.accepted
    expected = sorted(rest, key=lambda task_id: (PRIORITIES.index(tasks[task_id]["priority"]), rest.index(task_id)))
    assert [body["task_id"] for body in agent.received] == [first, *expected]


def test_away_while_the_ledger_is_there(apart: Row, broker: RedisServer) -> None:
    """The sweep grants, and its worker begins itself what it can publish no job for. (Away 60 s: slow_broker.py.)

    Found by that row: such leases waited for 10, 20, 40 s, also when the broker had long been back.
    """
    apart.name = "broker: away, the ledger there"
    api, _ = apart.node(), apart.worker()
    apart.agent(api, "idle")
    broker.kill()
    apart.struck = time.monotonic()
    for _ in range(20):
        apart.submit(api)
    api.ended(apart.accepted, 8)
    broker.start()
    apart.settle(api, faults=0)
