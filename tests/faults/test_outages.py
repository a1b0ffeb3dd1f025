"""Redis Sentinel fails over, RabbitMQ is killed: API and workers go on by themselves, and nothing accepted is lost.

Replication is asynchronous: what a master acknowledged and had not copied when it died is gone. AITBC_LEDGER_REPLICAS=1 closes that hole;
the other half of the comparison is how much is lost without it.
"""

import random
import time
from pathlib import Path

import pytest

from tests.faults.test_redis import restart, started
from tests.harness.brokers import Fleet
from tests.harness.cluster import Api
from tests.harness.load import Load
from tests.harness.matrix import Row, row
from tests.harness.processes import wait_for


def failover(world: Row, fleet: Fleet) -> tuple[Api, Load, list[str], float]:
    """Under load the replica's link breaks for 1.5 s, then the master is killed: what was accepted and is lost; seconds until a submit."""
    api = started(world)
    load = Load(lambda: api)
    load.start()
    time.sleep(1.5)
    old = fleet.master
    fleet.unlink()
    time.sleep(1.5)
    world.struck = time.monotonic()
    fleet.nodes[old].kill()
    before = len(load.accepted)
    wait_for(lambda: fleet.master != old, 30, "the failover")
    if "AITBC_LEDGER_REPLICAS" in world.cluster.env:
        fleet.nodes[old].start()  # Sentinel makes it the replica that a submit needs
    wait_for(lambda: len(load.accepted) > before + 20, 30, "submits to be accepted again")
    took = time.monotonic() - world.struck
    accepted = load.end()
    lost = [task_id for task_id in accepted if api.call("GET", f"/tasks/{task_id}")[0] == 404]
    world.accepted += [task_id for task_id in accepted if task_id not in lost]
    return api, load, lost, took


def told(capsys: pytest.CaptureFixture[str], name: str, load: Load, lost: list[str], took: float) -> None:
    with capsys.disabled():
        print(
            f"\nfailover, {name}: accepted {len(load.accepted)}, lost {len(lost)}, again after {took:.1f} s, answers {dict(load.answers)}"
        )


def test_with_a_replica_to_wait_for_a_failover_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with row("failover, AITBC_LEDGER_REPLICAS=1", tmp_path, AITBC_LEDGER_REPLICAS="1") as world:
        fleet = Fleet(world.cluster)
        try:
            api, load, lost, took = failover(world, fleet)
            told(capsys, "LEDGER_REPLICAS=1", load, lost, took)
            assert lost == []
            assert load.answers[503] > 0  # while the link was broken: safe to repeat, and repeated
            assert all(process.alive for process in world.cluster.processes if process is not world.cluster.redis)
            world.settle(api, faults=1)
        finally:
            fleet.close()


def test_without_replicas_to_wait_for_a_failover_loses_what_was_not_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a promise but its limit: what is counted here is what AITBC_LEDGER_REPLICAS is for. Whatever survived keeps every law."""
    with row("failover, no LEDGER_REPLICAS", tmp_path) as world:
        fleet = Fleet(world.cluster)
        try:
            api, load, lost, took = failover(world, fleet)
            told(capsys, "no LEDGER_REPLICAS", load, lost, took)
            assert lost
            assert {task["state"] for task in api.ended(world.accepted, 60).values()} == {"completed"}
            world.cluster.healthy()
        finally:
            fleet.close()


def test_twenty_kills_in_a_row(world: Row, capsys: pytest.CaptureFixture[str]) -> None:
    """The broker is killed twenty times with jobs in flight: no worker dies, none is idle, each resumes within 5 s of its return."""
    api = world.node()
    worker, chance = world.worker(), random.Random()
    agents = [world.agent(api, delay=0.3, max_concurrency=50) for _ in range(2)]
    load = Load(lambda: api, pause=0.02)
    load.start()
    resumed = []
    for _ in range(20):
        time.sleep(chance.uniform(0.2, 0.6))
        restart(world, chance.uniform(0, 1))
        back, before = time.monotonic(), sum(len(agent.received) for agent in agents)
        wait_for(lambda before=before: sum(len(a.received) for a in agents) > before + 5, 15, "calls after the return")  # type: ignore[misc]
        resumed.append(time.monotonic() - back)
        assert worker.alive, worker.tail()
    world.accepted += load.end()
    with capsys.disabled():
        print(f"\n20 kills: resumed after {sorted(round(s, 1) for s in resumed)} s")
    assert max(resumed) < 5
    world.settle(api, faults=20)
    assert "Unrecoverable" not in worker.log.read_text()
