"""Two nodes on hosts of their own: what one is told the other does, and one of them, or Redis, is cut off for 10 s.

The longer cuts are in slow_nodes.py.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.agents import hang, unevenly
from tests.harness.nodes import CutOff, Node, Nodes, nodes
from tests.harness.processes import wait_for

HEARTBEAT_TIMEOUT = 6
"""Seconds: less than a cut, so that only the coordinator's knowing that it was away itself keeps agents alive."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with nodes("nodes", tmp_path_factory.mktemp("nodes"), 2) as world:
        world.start(heartbeat_timeout=HEARTBEAT_TIMEOUT)
        yield world


def only(node: Node) -> dict[str, Any]:
    """Requirements that this node's agent alone satisfies."""
    return {"requirements": {"capabilities": [node.name]}}


def test_an_agent_of_one_node_works_for_the_other(world: Nodes) -> None:
    world.next_row("nodes: discovery and dispatch across them")
    a, b = world.nodes
    for here, there in ((a, b), (b, a)):
        (found,) = there.api.ok("POST", "/agents/discover", {"capabilities": [here.name]})["agents"]
        assert (found["agent_id"], found["endpoints"]) == (here.name, {"http": here.agent.url})

        def both_have_called(here: Node = here, there: Node = there) -> bool:
            task = there.api.task(world.submit(there.api, **only(here)), wait=10)
            assert (task["state"], task["agent_id"], task["result"]["by"]) == ("completed", here.name, here.name)
            return set(here.agent.callers) == {a.host.address, b.host.address}

        wait_for(both_have_called, 20, f"a call of either worker at {here.name}'s agent")
    world.settle(a.api, faults=0)


def test_a_strategy_set_on_one_node_is_used_on_the_other(world: Nodes) -> None:
    world.next_row("nodes: a strategy switched")
    a, b = world.nodes
    a.agent.answer = b.agent.answer = hang
    try:
        for _ in range(4):
            world.submit(a.api, **only(a))
        wait_for(lambda: a.agent.working == 4, 10, "four calls at one agent")
        assert agents_of(world, b, 2) == {"n2": 2}  # least connections
        a.api.ok("PUT", "/load-balancer/strategy?strategy=round_robin")
        assert b.api.ok("GET", "/load-balancer/stats")["stats"]["strategy"] == "round_robin"
        assert agents_of(world, b, 6) == {"n1": 3, "n2": 3}
        b.api.ok("PUT", "/load-balancer/strategy?strategy=least_connections")
        assert agents_of(world, a, 2) == {"n2": 2}
        wait_for(lambda: a.agent.working + b.agent.working == len(world.accepted), 10, "every call at its agent")
        for task_id in world.accepted:
            b.api.ok("POST", f"/tasks/{task_id}/cancel")
        wait_for(lambda: a.agent.working == b.agent.working == 0, 10, "the calls to be closed")
    finally:
        a.agent.answer = b.agent.answer = unevenly
    world.settle(a.api, faults=0, states=("cancelled",))


def agents_of(world: Nodes, node: Node, count: int) -> Counter[str]:
    """So many tasks are submitted there, one after the other: which agents do they go to?"""
    chosen = Counter[str]()
    for _ in range(count):
        task_id = world.submit(node.api)
        chosen[str(wait_for(lambda task_id=task_id: node.api.task(task_id)["agent_id"], 10, "an agent"))] += 1  # type: ignore[misc]
    return chosen


def test_a_pause_on_one_node_holds_on_the_other(world: Nodes) -> None:
    world.next_row("nodes: a priority paused")
    a, b = world.nodes
    for here, there in ((a, b), (b, a)):
        here.api.ok("POST", "/tasks/queues/low/pause")
        held = world.submit(there.api, priority="low")
        wait_for(lambda held=held, there=there: there.api.task(held)["state"] == "waiting", 10, "it to wait")  # type: ignore[misc]
        assert there.api.task(world.submit(there.api), wait=10)["state"] == "completed"
        assert there.api.task(held)["state"] == "waiting"
        there.api.ok("POST", "/tasks/queues/low/resume")
        assert here.api.task(held, wait=10)["state"] == "completed"
    world.settle(a.api, faults=0)


def test_a_cancel_on_one_node_closes_the_call_of_the_other(world: Nodes) -> None:
    world.next_row("nodes: a cancel across them")
    for here, there in (world.nodes, world.nodes[::-1]):
        agent, api = here.agent, here.api
        agent.answer = hang
        begun, accepted = len(agent.received), len(world.accepted)

        def held_there(here: Node = here, there: Node = there, begun: int = begun) -> Any:
            world.submit(here.api, **only(here))
            calls = list(zip(here.agent.callers[begun:], here.agent.received[begun:], strict=False))
            return next((body["task_id"] for caller, body in calls if caller == there.host.address), None)

        task_id = wait_for(held_there, 10, f"a call by {there.name}'s worker")
        before = min(len(world.accepted) - accepted, 20)
        wait_for(lambda agent=agent, before=before: agent.working == before, 10, "the rest to begin")  # type: ignore[misc]
        cancelled = time.monotonic()
        assert api.ok("POST", f"/tasks/{task_id}/cancel")["state"] == "cancelled"
        wait_for(lambda agent=agent, before=before: agent.working == before - 1, 5, "the call to be closed")  # type: ignore[misc]
        assert time.monotonic() - cancelled < 2
        for other in world.accepted:
            api.ok("POST", f"/tasks/{other}/cancel")
        wait_for(lambda agent=agent: not agent.working, 5, "all calls to be closed")  # type: ignore[misc]
        agent.answer = unevenly
    world.settle(world.nodes[0].api, faults=0, states=("cancelled",))


def test_a_node_is_cut_off_for_10_s(world: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    """The other does its work meanwhile; healed, it goes on within seconds. Its calls may be sent once more, no others."""
    world.next_row("a node cut off for 10 s")
    dead, cut = world.declared_dead(), CutOff(world, world.nodes[0].host, 10)
    cut.run()
    tasks = world.settle(world.nodes[1].api, faults=1)
    cut.went_on(tasks, capsys)
    assert world.declared_dead()["n2"] == dead["n2"]
    assert world.declared_dead()["n1"] <= dead["n1"] + 1
    wait_for(lambda: world.statuses() == {"n1": "active", "n2": "active"}, 10, "the cut agent's heartbeat")


def test_redis_is_cut_off_for_10_s(world: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    """For longer than a heartbeat timeout and than a worker is waited for: the coordinator was away, so nobody is declared dead."""
    world.next_row("Redis cut off from two nodes for 10 s")
    dead, cut = world.declared_dead(), CutOff(world, world.redis_host, 10)
    cut.run()
    wait_for(lambda: world.all_heard(cut.healed), 10, "heartbeats")
    tasks = world.settle(world.nodes[0].api, faults=0)
    cut.went_on(tasks, capsys)
    assert world.declared_dead() == dead
    assert {attempt["outcome"] for task in tasks.values() for attempt in task["attempts"]} == {"completed"}
