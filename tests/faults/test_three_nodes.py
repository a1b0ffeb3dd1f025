"""Three nodes under load: restarted one after the other, as an upgrade does, and with wall clocks that are ten minutes off."""

import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aitbc.agent import Agent
from tests.harness.agents import hang, succeed
from tests.harness.clocks import Clock
from tests.harness.load import Load
from tests.harness.nodes import Anywhere, Node, Nodes, nodes
from tests.harness.processes import wait_for

OFF = 600
"""Seconds: twice what agents forgive a signature."""
KEY = b64encode(b"k" * 32).decode()
Clocks = dict[str, Clock]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("three")


@pytest.fixture(scope="module")
def clocks(folder: Path) -> Clocks:
    """Of each node; right at first."""
    return {name: Clock(folder, name) for name in ("n1", "n2", "n3")}


@pytest.fixture(scope="module")
def world(folder: Path, clocks: Clocks) -> Iterator[Nodes]:
    with nodes("three nodes", folder, 3, AITBC_SHUTDOWN_TIMEOUT="10", AITBC_SECRET_KEY=KEY) as world:
        for node in world.nodes:
            node.env |= clocks[node.name].env
        world.start(heartbeat_timeout=10)
        yield world


@contextmanager
def load_on_all(world: Nodes) -> Iterator[list[Load]]:
    """A client at each node, which goes to the next where it is refused. What it was promised is the world's to settle."""
    loads = [Load(lambda n=n: Anywhere(world, n), f"client-{n}-{world.name[:5]}", pause=0.03) for n in range(len(world.nodes))]  # type: ignore[misc]
    for load in loads:
        load.start()
    try:
        wait_for(lambda: all(len(load.accepted) > 10 for load in loads), 10, "a load")
        yield loads
    finally:
        for load in loads:
            world.accepted += load.end()


def accepted_on_all(loads: list[Load], more: int) -> None:
    """Wait until each has so many more."""
    counts = [len(load.accepted) for load in loads]
    wait_for(lambda: all(len(load.accepted) >= before + more for load, before in zip(loads, counts, strict=True)), 20, "the load")


def restarted(node: Node) -> None:
    """SIGTERM to both, as a supervisor does; both have ended in order, and are there again."""
    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(lambda process: process.stop(), (node.api.process, node.worker)))
        assert ended == [0, 0], node.worker.tail()
        starting = [threads.submit(start) for start in (node.start_api, node.start_worker)]
    for one in starting:
        one.result()


def test_a_rolling_restart_of_three_nodes(world: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody's submit fails who goes to another node when refused; every call ends where it began."""
    world.next_row("rolling restart of three nodes")
    with load_on_all(world) as loads:
        for node in world.nodes:
            restarted(node)
            accepted_on_all(loads, 10)
    tasks = world.settle(world.nodes[0].api, faults=0)
    with capsys.disabled():
        slowest = max(load.slowest for load in loads)
        print(f"\nrolling restart of three nodes: {len(tasks)} accepted, {len(tasks)} completed, slowest submit {slowest:.1f} s")
    # Who connects in the microseconds in which a listener closes is reset, and repeats the submit.
    assert sum(len(load.failures) for load in loads) <= 1, [load.failures for load in loads]
    assert {status for load in loads for status in load.answers} <= {200, 0}, [load.answers for load in loads]
    assert {attempt["outcome"] for task in tasks.values() for attempt in task["attempts"]} == {"completed"}
    assert set(world.statuses().values()) == {"active"}


@pytest.fixture
def skewed(world: Nodes, clocks: Clocks) -> Iterator[Nodes]:
    """The first node's clock is ahead, the second's behind, the third's right."""
    clocks["n1"].set(OFF)
    clocks["n2"].set(-OFF)
    for node, off in zip(world.nodes, (OFF, -OFF, 0), strict=True):
        told = datetime.fromisoformat(node.api.ok("GET", "/health")["timestamp"]).timestamp()
        assert abs(told - time.time() - off) < 5
    yield world
    for clock in clocks.values():
        clock.set(0)


def test_clocks_are_wrong_and_jump_under_load(skewed: Nodes, clocks: Clocks, capsys: pytest.CaptureFixture[str]) -> None:
    """By twenty minutes, in both directions at once: nobody is declared dead, nothing is sent twice."""
    skewed.next_row("clocks of two nodes 10 minutes off, then set")
    began, dead = time.time(), skewed.declared_dead()
    with load_on_all(skewed) as loads:
        accepted_on_all(loads, 20)
        clocks["n1"].set(-OFF)
        clocks["n2"].set(OFF)
        accepted_on_all(loads, 20)
        wait_for(lambda: skewed.all_heard(began), 10, "heartbeats")
    assert [set(load.answers) for load in loads] == [{200}] * 3
    assert skewed.declared_dead() == dead
    tasks = skewed.settle(skewed.nodes[0].api, faults=0)
    with capsys.disabled():
        print(f"\n{skewed.name}: {len(tasks)} accepted, {len(tasks)} completed, nobody declared dead")
    assert {attempt["outcome"] for task in tasks.values() for attempt in task["attempts"]} == {"completed"}


def test_the_order_is_that_of_the_submits_whatever_the_clocks_say(skewed: Nodes) -> None:
    skewed.next_row("clocks off: strict order")
    agent = skewed.agents.start("one", hang, at=skewed.nodes[0].host)
    fields = {"requirements": {"capabilities": ["one"]}}
    skewed.nodes[0].api.register("one", agent.url, max_concurrency=1, capabilities=["one"])
    first = skewed.submit(skewed.nodes[1].api, **fields)
    wait_for(lambda: agent.working, 10, "the slot to be taken")
    priorities = ("low", "urgent", "normal", "urgent", "low", "normal", "urgent", "normal", "low")
    sent = [(p, skewed.submit(skewed.nodes[n % 3].api, priority=p, **fields)) for n, p in enumerate(priorities)]
    agent.answer = succeed
    skewed.nodes[2].api.ok("POST", f"/tasks/{first}/cancel")
    skewed.settle(skewed.nodes[0].api, faults=0, states=("completed", "cancelled"))
    order = sorted(sent, key=lambda pair: ("urgent", "normal", "low").index(pair[0]))
    assert [body["task_id"] for body in agent.received] == [first, *(task_id for _, task_id in order)]


def test_delays_and_deadlines_are_right_whatever_the_clocks_say(skewed: Nodes) -> None:
    skewed.next_row("clocks off: delays and deadlines")
    fields = {"requirements": {"capabilities": ["timed"]}}
    agent = skewed.agents.start("timed", hang, at=skewed.nodes[0].host)
    skewed.nodes[0].api.register("timed", agent.url, capabilities=["timed"], heartbeat_timeout=0)
    began = time.time()
    late = [skewed.submit(node.api, run_timeout=1, max_attempts=1, **fields) for node in skewed.nodes]
    due = datetime.fromtimestamp(began + 2, UTC)
    for task in skewed.settle(skewed.nodes[0].api, faults=0, states=("failed",)).values():
        (attempt,) = task["attempts"]
        lasted = datetime.fromisoformat(attempt["ended_at"]) - datetime.fromisoformat(attempt["began_at"])
        assert 1 <= lasted.total_seconds() < 3
    agent.answer = succeed
    waiting = [skewed.submit(node.api, run_at=(due + timedelta(seconds=1)).isoformat(), **fields) for node in skewed.nodes]
    tasks = skewed.settle(skewed.nodes[0].api, faults=0, states=("failed", "completed"))
    for task_id in late:
        (attempt,) = tasks[task_id]["attempts"]
        assert (attempt["outcome"], attempt["error"]) == ("counted", "run_timeout")
    for body, headers in zip(agent.received, agent.headers, strict=True):
        if body["task_id"] in late:
            assert abs(datetime.fromisoformat(headers["X-Task-Deadline"]).timestamp() - began - 1) < 1.5
    for task_id in waiting:
        (attempt,) = tasks[task_id]["attempts"]
        assert 0 <= (datetime.fromisoformat(attempt["began_at"]) - due).total_seconds() - 1 < 2


def test_an_agent_takes_signed_calls_of_workers_whose_clocks_are_wrong(skewed: Nodes) -> None:
    """The signature is of the ledger's time; the library refuses one that is five minutes off."""
    skewed.next_row("clocks off: signed calls")
    api, host = skewed.nodes[1].api, skewed.nodes[2].host
    agent = Agent("signed", api.url, lambda data: data, capabilities=["signed"], host=host.address, secret="s" * 32)
    host.run(lambda: agent.start(wait=10))
    try:
        fields = {"requirements": {"capabilities": ["signed"]}}
        for n in range(12):
            skewed.submit(skewed.nodes[n % 3].api, **fields)
        tasks = api.ended(skewed.accepted)
        assert {task["state"] for task in tasks.values()} == {"completed"}
        assert {attempt["outcome"] for task in tasks.values() for attempt in task["attempts"]} == {"completed"}
    finally:
        agent.stop()
