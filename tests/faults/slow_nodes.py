"""Cuts of nodes that take their time: pytest tests/faults/slow_*.py. The short ones are in test_nodes.py."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.brokers import Fleet
from tests.harness.nodes import CutOff, Node, Nodes, in_words, nodes
from tests.harness.processes import wait_for


def test_a_node_is_cut_off_for_60_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its agent is inactive and its worker declared dead, once; the others' calls to its agent are given up after 20 s."""
    with nodes("one of three nodes cut off for 60 s", tmp_path, 3) as world:
        world.start(heartbeat_timeout=10)
        cut = CutOff(world, world.nodes[0].host, 60)
        cut.run()
        wait_for(lambda: set(world.statuses().values()) == {"active"}, 10, "the cut agent's heartbeat")
        tasks = world.settle(world.nodes[1].api, faults=2)
        cut.went_on(tasks, capsys)
        assert cut.slowest(tasks) < 30
        assert_only_the_first_was_given_up(world, tasks)


def assert_only_the_first_was_given_up(world: Nodes, tasks: dict[str, Any]) -> None:
    """Calls of the first node's worker were given up, no others': it is told so, unless a task of its own has it watched again before."""
    lost = {attempt["error"] for task in tasks.values() for attempt in task["attempts"] if attempt["outcome"] == "lost"}
    dead = world.declared_dead()
    assert lost == {"worker_lost"}
    assert dead.pop("n1") <= 1
    assert set(dead.values()) == {0}


def test_redis_is_cut_off_for_60_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The coordinator was away for six heartbeat timeouts: nobody is declared dead, and nothing is sent twice."""
    with nodes("Redis cut off from three nodes for 60 s", tmp_path, 3) as world:
        world.start(heartbeat_timeout=10)
        cut = CutOff(world, world.redis_host, 60)
        cut.run()
        wait_for(lambda: world.all_heard(cut.healed), 10, "heartbeats")
        tasks = world.settle(world.nodes[0].api, faults=0)
        cut.went_on(tasks, capsys)
        assert set(world.declared_dead().values()) == {0}
        assert {attempt["outcome"] for task in tasks.values() for attempt in task["attempts"]} == {"completed"}


@pytest.mark.parametrize("replicas", ["1", "0"])
def test_the_master_of_sentinel_is_cut_off_with_a_node_for_40_s(tmp_path: Path, replicas: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of three hosts has a Redis, a sentinel and a node; the others go on with another master, the cut node with its own.

    With AITBC_LEDGER_REPLICAS=1 nothing is lost: the cut node accepts nothing, since no replica has it. Without, what it accepted is
    lost when its Redis becomes a replica: not a promise but its limit. Whatever survived keeps every law.
    The cut is longer than the others need to go on (15 s at most here) and then to miss the cut worker (10 s).
    """
    name = f"Sentinel, cut: the master and a node for 40 s, LEDGER_REPLICAS={replicas}"
    with nodes(name, tmp_path, 3, beside_redis=True, AITBC_LEDGER_REPLICAS=replicas) as world:
        cut_off, *others = world.nodes
        fleet = Fleet(world.cluster, [node.host for node in others])
        try:
            world.start(heartbeat_timeout=10)
            cut = CutOff(world, cut_off.host, 40)
            times, alone = cut_with_the_master(cut, fleet, others)
            api, accepted, answers = others[0].api, list(world.accepted), cut.loads[cut_off.name].answers
            lost = [task_id for task_id in accepted if api.call("GET", f"/tasks/{task_id}")[0] == 404]
            world.accepted = [task_id for task_id in accepted if task_id not in lost]
            with capsys.disabled():
                figures = f"{len(accepted)} accepted, {alone} of them by the cut node alone; {len(lost)} lost"
                print(f"\n{name}: {cut.when()}; {in_words(times)}; {figures}")
            if replicas == "1":
                assert (lost, alone) == ([], 0)
                assert answers[503] > 0
                tasks = world.settle(api, faults=2)  # each side takes the other's workers for dead
            else:
                assert len(lost) >= alone > 0
                tasks = api.ended(world.accepted, 60)
                assert {task["state"] for task in tasks.values()} == {"completed"}
                world.cluster.healthy()
            assert max(seconds for what, seconds in times.items() if "after the cut" in what) < 15
            assert max(cut.resumed.values()) < 5
            assert_only_the_first_was_given_up(world, tasks)
            wait_for(lambda: set(world.statuses().values()) == {"active"}, 10, "the cut agent's heartbeat")
        finally:
            fleet.close()


def cut_with_the_master(cut: CutOff, fleet: Fleet, others: list[Node]) -> tuple[dict[str, float], int]:
    """The cut. Seconds until each step back, and how many the cut node accepted after the others had another master."""
    old, times, counts = fleet.master, dict[str, float](), list[int]()
    accepted_there = cut.loads["n1"].accepted

    def others_take_over() -> None:
        wait_for(lambda: fleet.master != old, 30, "the failover")
        times["after the cut another master"] = time.monotonic() - cut.world.struck
        counts.append(len(accepted_there))
        times.update({f"{what} after the cut": seconds for what, seconds in cut.again(others, cut.world.struck).items()})

    def old_master_follows() -> None:
        counts.append(len(accepted_there))
        wait_for(fleet.copied, 30, "the old master to be a replica")
        times["after the heal the old master is a replica"] = time.time() - cut.healed

    cut.run(others_take_over, old_master_follows)
    return times | {f"{what} then": seconds for what, seconds in cut.resumed.items()}, counts[1] - counts[0]


def test_a_node_is_cut_off_from_sentinel_for_15_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Master, replica and sentinels are on one host, a node on another is cut off: it finds the master again."""
    with nodes("Sentinel: a node cut off for 15 s", tmp_path, 2) as world:
        fleet = Fleet(world.cluster)
        try:
            world.start(heartbeat_timeout=10)
            cut = CutOff(world, world.nodes[0].host, 15)
            cut.run()
            tasks = world.settle(world.nodes[1].api, faults=2)
            cut.went_on(tasks, capsys)
            assert_only_the_first_was_given_up(world, tasks)
        finally:
            fleet.close()
