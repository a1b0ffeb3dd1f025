"""The broker, a Redis of its own, is away for 60 s while the ledger is there."""

import time
from datetime import datetime
from typing import Any

from tests.harness.matrix import Row
from tests.harness.processes import wait_for
from tests.integration.ledger.desk import RedisServer


def test_away_for_a_minute(apart: Row, broker: RedisServer) -> None:
    """Nothing waits for it: submits are accepted, the sweep grants, and the worker begins itself what it can publish no job for."""
    api, worker = apart.node(), apart.worker()
    apart.agent(api, "idle", capabilities=["z"])
    slow = apart.agent(api, "slow", delay=5, capabilities=["x"])
    busy = apart.agent(api, "busy", delay=0.3, max_concurrency=1, capabilities=["y"])
    early = [apart.submit(api, requirements={"capabilities": [need]}) for need in "x" * 5 + "y" * 20]
    wait_for(lambda: slow.working == 5 and busy.working, 10, "calls in flight")
    broker.kill()
    apart.struck = away = time.monotonic()
    during = []
    while time.monotonic() < away + 50:
        began = time.monotonic()
        during.append(apart.submit(api, requirements={"capabilities": ["z"]}))
        assert time.monotonic() - began < 3, "a submit was held up"
        time.sleep(1)
    late = max(_waited(task) for task in api.ended(during + early, 5).values() if task["task_id"] in during)
    assert late < 5
    time.sleep(max(0, away + 60 - time.monotonic()))
    broker.start()
    back = time.monotonic()
    api.ended([apart.submit(api, requirements={"capabilities": ["z"]}) for _ in range(5)], 10)
    assert time.monotonic() - back < 5
    apart.settle(api, faults=0)
    assert worker.alive


def _waited(task: dict[str, Any]) -> float:
    """Seconds from its submit to its first attempt."""
    first, submitted = (datetime.fromisoformat(text) for text in (task["attempts"][0]["began_at"], task["submitted_at"]))
    return (first - submitted).total_seconds()
