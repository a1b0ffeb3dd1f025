"""Nodes on hosts of their own (tests/harness/network.py): each has an API, a worker and an agent that registers at its node's API.

Redis is on a host of its own, or beside the first node.
A row of the fault matrix like others (tests/harness/matrix.py), with hosts to cut off.
"""

import contextlib
import itertools
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aitbc.agent.presence import Presence
from tests.harness.agents import HttpAgent, unevenly
from tests.harness.cluster import Api
from tests.harness.load import Load
from tests.harness.matrix import Row
from tests.harness.network import Host, Network
from tests.harness.processes import Process, free_port, wait_for

_numbers = itertools.count(1)


class Node:
    """One host and what runs on it. `env`: of its API and its worker."""

    api: Api
    worker: Process
    agent: HttpAgent
    presence: Presence | None = None

    def __init__(self, world: "Nodes", name: str, host: Host) -> None:
        self.world, self.name, self.host, self.port = world, name, host, free_port()
        self.env = {"AITBC_PUBLIC_URL": f"http://{self.host.address}:{self.port}"}

    def start_api(self) -> None:
        """On the port that it always has."""
        self.api = self.world.cluster.api(self._own_log(f"{self.name}-api"), self.host, self.port, **self.env)

    def start_worker(self) -> None:
        """Under the name that it always has."""
        self.worker = self.world.cluster.worker(self._own_log(self.name), self.host, **self.env)

    def start_agent(self, **fields: Any) -> None:
        """Its heartbeats are the library's; it serves and calls from this host. Returns when it is registered."""
        about = {"agent_type": "worker", "capabilities": [self.name], "max_concurrency": 20, **fields}
        self.agent = self.world.agents.start(self.name, unevenly, delay=0.3, at=self.host)
        about |= {"agent_id": self.name, "endpoints": {"http": self.agent.url}}
        self.presence = Presence(self.api.url, about, dict)
        self.host.run(self.presence.start)
        assert self.presence.registered.wait(10)

    def _own_log(self, name: str) -> str:
        """The name, whose log begins anew."""
        log = self.world.cluster.directory / f"{name}.log"
        if log.exists():
            log.rename(log.with_suffix(f".{time.monotonic_ns()}"))
        return name

    def calls_everywhere(self) -> bool:
        """Its worker has a call in flight at every node's agent."""
        return all(node.agent.calls[self.host.address] for node in self.world.nodes)

    def sent(self) -> set[str]:
        """Tasks that this node's worker has sent to any agent."""
        pairs = [pair for agent in self.world.agents.all for pair in zip(agent.received, agent.callers, strict=False)]
        return {body["task_id"] for body, caller in pairs if caller == self.host.address}


class Nodes(Row):
    """A row with `count` nodes, n1 and so on. `start` them, `close` ends all."""

    def __init__(self, name: str, directory: Path, network: Network, count: int, *, beside_redis: bool, **env: str) -> None:
        names = [f"n{number}" for number in range(1, count + 1)]
        hosts = [network.host(name) for name in names]
        self.network, self.redis_host = network, hosts[0] if beside_redis else network.host("redis")
        super().__init__(name, directory, self.redis_host, **env)
        self.nodes = [Node(self, name, host) for name, host in zip(names, hosts, strict=True)]

    def start(self, **fields: Any) -> None:
        """All APIs and workers at once, then the agents (`fields` of their registration)."""
        with ThreadPoolExecutor(2 * len(self.nodes)) as threads:
            starting = [threads.submit(start) for node in self.nodes for start in (node.start_api, node.start_worker)]
        for one in starting:
            one.result()
        for node in self.nodes:
            node.start_agent(**fields)

    def next_row(self, name: str) -> None:
        """Another row in the same world: what was settled is forgotten."""
        self.name, self.accepted, self.struck = name, [], time.monotonic()
        for agent in self.agents.all:
            for kept in (agent.received, agent.headers, agent.callers):
                kept.clear()

    def statuses(self) -> dict[str, str]:
        """Of every agent, from the last node."""
        return {agent["agent_id"]: agent["status"] for agent in self.nodes[-1].api.ok("POST", "/agents/discover", {})["agents"]}

    def all_heard(self, since: float) -> bool:
        """Every agent's heartbeat has come since then (Unix seconds), and nobody was declared dead before it."""
        agents = self.nodes[-1].api.ok("POST", "/agents/discover", {})["agents"]
        assert {agent["status"] for agent in agents} == {"active"}, agents
        return all(datetime.fromisoformat(agent["last_heartbeat"]).timestamp() > since for agent in agents)

    def declared_dead(self) -> dict[str, int]:
        """How often each node's worker has heard that it was."""
        return {node.name: node.worker.log.read_text(errors="replace").count("declared dead") for node in self.nodes}

    def close(self) -> None:
        for node in self.nodes:
            if node.presence is not None:
                node.presence.leave()
        super().close()


@contextlib.contextmanager
def nodes(name: str, directory: Path, count: int, *, beside_redis: bool = False, **env: str) -> Iterator[Nodes]:
    """The row's world, with its network; not started. `beside_redis`: the first node is on Redis's host."""
    network = Network()
    try:
        world = Nodes(name, directory, network, count, beside_redis=beside_redis, **env)
        try:
            yield world
        finally:
            world.close()
    finally:
        network.close()


class Anywhere(Api):
    """A client that prefers one node and goes to the next where it is refused."""

    def __init__(self, world: Nodes, first: int) -> None:
        self.order = [*world.nodes[first:], *world.nodes[:first]]

    def call(self, *args: Any, **fields: Any) -> tuple[int, Any]:
        for node in self.order:
            try:
                return node.api.call(*args, **fields)
            except urllib.error.URLError as exc:
                if not isinstance(exc.reason, ConnectionRefusedError):
                    raise
        raise AssertionError("every node refuses")


class CutOff:
    """A host is cut off for a while, under a load on every node by a client on its host, and healed.

    `resumed`: seconds from the heal (or from what was waited for first), by what was waited for.
    """

    def __init__(self, world: Nodes, host: Host, seconds: float) -> None:
        self.world, self.host, self.seconds = world, host, seconds
        number = next(_numbers)  # no two tasks of a world may have one name
        self.loads = {
            node.name: Load(lambda node=node: node.api, f"{node.name}-{number}", pause=0.03)  # type: ignore[misc]
            for node in world.nodes
        }
        self.resumed: dict[str, float] = {}
        self.healed = self.lasted = 0.0  # Unix seconds; seconds

    def run(self, meanwhile: Callable[[], object] | None = None, healed: Callable[[], object] | None = None) -> None:
        """Returns when all nodes accept and send again; what was accepted is the world's to settle.

        `meanwhile`: what is waited for while it is cut; by default that the others never stand still. `healed`: what is waited for
        before the nodes are.
        """
        for node in self.world.nodes:
            node.host.run(self.loads[node.name].start)
        wait_for(lambda: all(node.calls_everywhere() for node in self.world.nodes), 15, "calls by each to each")
        self.world.struck = time.monotonic()
        self.host.cut()
        (meanwhile or self._others_go_on)()
        time.sleep(max(0, self.world.struck + self.seconds - time.monotonic()))
        self._heal(healed)
        for load in self.loads.values():
            self.world.accepted += load.end()

    def _others_go_on(self) -> None:
        going_on = [node for node in self.world.nodes if node.host is not self.host and self.host is not self.world.redis_host]
        while (left := self.world.struck + self.seconds - time.monotonic()) > 0:
            before = {node.name: len(node.sent()) for node in going_on}
            time.sleep(min(2, left))
            stood = [node.name for node in going_on if len(node.sent()) <= before[node.name]]
            assert not stood or left < 2, f"{stood} stood still"

    def _heal(self, first: Callable[[], object] | None) -> None:
        self.healed, self.lasted = time.time(), time.monotonic() - self.world.struck
        self.host.heal()
        if first is not None:
            first()
        self.resumed = self.again(self.world.nodes, time.monotonic())

    def again(self, nodes: list[Node], began: float) -> dict[str, float]:
        """Wait until each accepts a task again, and its worker sends one that was accepted after this; seconds since then, of each."""
        known = {task_id for load in self.loads.values() for task_id in load.accepted}
        waits: dict[str, Callable[[], object]] = {}
        for node in nodes:
            load = self.loads[node.name]
            enough = len(load.accepted) + 1  # the submit under way may have been stored before
            waits[f"{node.name} accepts"] = lambda load=load, enough=enough: len(load.accepted) > enough  # type: ignore[misc]
            waits[f"{node.name} sends"] = lambda node=node: node.sent() - known  # type: ignore[misc]

        def seconds(what: str) -> float:
            wait_for(waits[what], 90, f"{what} again")
            return time.monotonic() - began

        with ThreadPoolExecutor(len(waits)) as threads:
            return dict(zip(waits, threads.map(seconds, waits), strict=True))

    def told(self, tasks: dict[str, Any]) -> str:
        """The row's figures, of tasks that have all ended: when who went on, how long the slowest task took, how many there were."""
        sends = sum(self.world.agents.sends.values()) / len(tasks)
        completed = sum(task["state"] == "completed" for task in tasks.values())
        figures = f"{len(tasks)} accepted, {completed} completed, 0 lost, {sends:.3f} sends each, the slowest {self.slowest(tasks):.1f} s"
        return f"{self.world.name}: {self.when()}; after the heal {in_words(self.resumed)}; {figures}"

    def went_on(self, tasks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        """Print the row's figures; every node went on within 5 s."""
        with capsys.disabled():
            print("\n" + self.told(tasks))
        assert max(self.resumed.values()) < 5, self.resumed

    def when(self) -> str:
        """Of the cut and the heal, in UTC."""
        healed = datetime.fromtimestamp(self.healed, UTC)
        cut = healed - timedelta(seconds=self.lasted)
        return f"cut {cut:%H:%M:%S}, healed {healed:%H:%M:%S} ({self.lasted:.1f} s)"

    @staticmethod
    def slowest(tasks: dict[str, Any]) -> float:
        """The longest time from a task's submit to its end, by the ledger's clock."""
        took = [datetime.fromisoformat(task["ended_at"]) - datetime.fromisoformat(task["submitted_at"]) for task in tasks.values()]
        return max(took).total_seconds()


def in_words(resumed: dict[str, float]) -> str:
    """What came again, and after how long."""
    return ", ".join(f"{what} {seconds:.1f} s" for what, seconds in resumed.items())
