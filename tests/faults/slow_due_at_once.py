"""A hundred thousand tasks due in the same second, as the ledger sees it: no script may hold Redis for long, whatever their number."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from aitbc.ledger import sweep, tasks
from tests.harness.matrix import report
from tests.integration.ledger.desk import Desk, RedisServer, new_task

MANY, AGENTS, SLOTS = 100_000, 10, 100


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    server = RedisServer(tmp_path, "--slowlog-log-slower-than", "5000")
    desk = Desk(server.url)
    desk.at(0)
    yield desk
    desk.close()
    server.close()


def submit_due(desk: Desk, due: float) -> None:
    """In pipelines: what counts is what the ledger does with them afterwards."""
    sha = desk.redis.script_load(desk.ledger._scripts["submit"].text)
    for first in range(0, MANY, 5000):
        with desk.redis.pipeline(transaction=False) as pipe:
            for n in range(first, first + 5000):
                pipe.evalsha(sha, 0, *tasks.submit(new_task(f"t{n:06}", task_data="{}", run_at=due)).args)
            pipe.execute()


def due_to_runnable(desk: Desk) -> tuple[int, int]:
    """Sweep until nothing is due; scripts and grants."""
    step = next(step for step in sweep.steps() if step.script == "sweep_tasks")
    scripts = grants = 0
    more = True
    while more:
        swept = desk.run(step)
        more, scripts, grants = swept.more, scripts + 1, grants + len(swept.grants)
    return scripts, grants


@pytest.mark.timeout(300)
def test_a_hundred_thousand_due_in_one_second(desk: Desk) -> None:
    for n in range(AGENTS):
        desk.agent(f"a{n}", SLOTS, heartbeat_timeout=0)
    due = float(desk.redis.time()[0] + 3600)
    submit_due(desk, due)
    assert desk.redis.zcard("tasks:scheduled") == MANY
    desk.at(due + 0.5 - desk.redis.time()[0])
    desk.run(sweep.steps()[0])  # the clock's: what is late is judged by the last sweep
    desk.redis.config_resetstat()
    began = time.monotonic()
    scripts, grants = due_to_runnable(desk)
    took = time.monotonic() - began
    assert (scripts, grants) == (MANY // sweep.MOST + 1, AGENTS * SLOTS)
    stats = redis.Redis(port=desk.redis.connection_pool.connection_kwargs["port"]).info("commandstats")
    mean = stats["cmdstat_evalsha"]["usec_per_call"]
    assert mean < 5000, "a script of the sweep takes at most 5 ms"
    assert desk.redis.zcard("tasks:scheduled") == 0
    assert desk.redis.zcard("tasks:waiting:any:3") == MANY - AGENTS * SLOTS
    assert {desk.state(f"t{n:06}") for n in (0, AGENTS * SLOTS - 1)} == {"running"}
    assert {desk.state(f"t{n:06}") for n in (AGENTS * SLOTS, MANY - 1)} == {"waiting"}
    assert desk.violations(swept=False) == []
    print(f"{scripts} scripts, {mean:.0f} µs each")
    report("load: 100,000 due in the same second (sweep alone)", Counter(), MANY, took)
