"""Outages that take their time: pytest tests/faults/slow_*.py."""

import time

import pytest

from tests.faults.test_redis import restart, started
from tests.harness.agents import accept
from tests.harness.load import Load
from tests.harness.matrix import Row
from tests.harness.processes import wait_for


def test_away_for_longer_than_a_heartbeat_timeout(world: Row) -> None:
    """Down for 40 s, timeouts of 10 s: the coordinator was away, not the agents. Nobody is inactive, and accepted (202) work goes on."""
    api = world.node()
    worker = world.worker()
    one = world.agent(api, "long", accept, heartbeat_timeout=10)
    world.agent(api, "other", heartbeat_timeout=10, capabilities=["idle"])
    api.ok("POST", "/agents/long/heartbeat", {})
    api.ok("POST", "/agents/other/heartbeat", {})
    task_id = world.submit(api, max_attempts=1)
    callback = wait_for(lambda: one.received and one.received[0]["callback"], 10, "the 202")
    restart(world, 40)
    wait_for(lambda: api.call("GET", "/ready")[0] == 200, 5, "/ready")
    end = time.monotonic() + 6
    while time.monotonic() < end:  # grace: one timeout long nobody is declared dead, though no heartbeat has come yet
        found = {name: api.ok("GET", f"/agents/{name}")["agent"]["status"] for name in ("long", "other")}
        assert set(found.values()) == {"active"}, found
        time.sleep(0.5)
    for name in ("long", "other"):
        api.ok("POST", f"/agents/{name}/heartbeat", {})
    assert api.task(task_id)["state"] == "running"
    path = f"/tasks/{task_id}/complete"
    assert isinstance(callback, dict)
    assert api.call("POST", path, {"result": 1}, Authorization=f"Bearer {callback['token']}")[0] == 200
    world.settle(api, faults=0)
    assert worker.alive


@pytest.mark.parametrize("seconds", [5, 60])
def test_away(world: Row, seconds: float) -> None:
    """Down for so long with calls in flight: the worker is back within 5 s of the return."""
    api = started(world)
    load = Load(lambda: api)
    load.start()
    time.sleep(1)
    restart(world, seconds)
    back, before = time.monotonic(), len(world.agents.sends)
    wait_for(lambda: len(world.agents.sends) > before + 5, 15, "calls after the return")
    assert time.monotonic() - back < 5
    world.accepted += load.end()
    world.settle(api, faults=1)
