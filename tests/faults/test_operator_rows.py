"""An operator acts between grant and begin, and while the work runs: nothing is lost, nothing is sent twice, nobody who stopped gets work.

Between grant and begin: the only worker is frozen, shorter than anybody notices, while an agent's coming grants its slots to waiting tasks.
"""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.agents import HttpAgent
from tests.harness.cluster import Api
from tests.harness.matrix import Row, report
from tests.harness.processes import Process, wait_for

SLOTS = 4


class Scene:
    """A coordinator that rows share: each has its own agents and its own requirements."""

    def __init__(self, world: Row) -> None:
        self.world, self.api, self.process = world, world.node(), world.worker()
        self.rows = 0


class Act:
    """One row: two agents of four slots, six tasks that only they may do; the operator acts on the first."""

    def __init__(self, scene: Scene) -> None:
        scene.rows += 1
        self.api: Api = scene.api
        self.worker: Process = scene.process
        self.need = {"capabilities": [f"row-{scene.rows}"]}
        self.first, self.second = (scene.world.agents.start(f"{scene.rows}-{n}") for n in ("first", "second"))
        self.ids: list[str] = []

    def submit(self, count: int) -> None:
        self.ids += [self.api.submit(requirements=self.need) for _ in range(count)]

    def join(self, agent: HttpAgent, slots: int = SLOTS, **fields: Any) -> None:
        self.api.register(agent.name, agent.url, max_concurrency=slots, capabilities=self.need["capabilities"], **fields)

    def states(self) -> list[str]:
        return [self.api.task(task_id)["state"] for task_id in self.ids]

    def post(self, path: str) -> Any:
        return self.api.ok("POST", path)

    def put(self, status: str) -> None:
        self.api.ok("PUT", f"/agents/{self.first.name}/status", {"status": status})

    def strategy(self, name: str) -> None:
        self.api.ok("PUT", f"/load-balancer/strategy?strategy={name}")

    @property
    def path(self) -> str:
        return f"/agents/{self.first.name}"


# What the operator does; how it is undone; whether the first agent may begin work that was only granted; what the waiting tasks become.
Doing = Callable[[Act], Any]
NOTHING: Doing = lambda _: None  # noqa: E731 - a row of the table
ACTS: dict[str, tuple[Doing, Doing, bool, str]] = {
    "drain": (lambda act: act.post(act.path + "/drain"), NOTHING, False, "completed"),
    "delete": (lambda act: act.api.ok("DELETE", act.path), NOTHING, False, "completed"),
    "register again": (lambda act: act.join(act.first), NOTHING, True, "completed"),
    "register again, new instance": (lambda act: act.join(act.first, instance_id="new"), NOTHING, True, "completed"),
    "delete, register again": (lambda act: (act.api.ok("DELETE", act.path), act.join(act.first)), NOTHING, True, "completed"),
    "PUT maintenance": (lambda act: act.put("maintenance"), NOTHING, False, "completed"),
    "PUT busy": (lambda act: act.put("busy"), NOTHING, False, "completed"),
    "PUT error": (lambda act: act.put("error"), NOTHING, False, "completed"),
    "PUT inactive": (lambda act: act.put("inactive"), NOTHING, False, "completed"),
    "drain, resume": (lambda act: (act.post(act.path + "/drain"), act.post(act.path + "/resume")), NOTHING, True, "completed"),
    "pause": (
        lambda act: act.post("/tasks/queues/normal/pause"),
        lambda act: act.post("/tasks/queues/normal/resume"),
        True,
        "completed",
    ),
    "clear": (lambda act: act.post("/tasks/queues/normal/clear"), NOTHING, True, "cancelled"),
    "strategy switch": (lambda act: act.strategy("round_robin"), lambda act: act.strategy("least_connections"), True, "completed"),
    "max up": (lambda act: act.join(act.first, 10), NOTHING, True, "completed"),
    "max down": (lambda act: act.join(act.first, 1), NOTHING, True, "completed"),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    world = Row("operator", Path(tmp_path_factory.mktemp("operator")))
    yield Scene(world)
    world.close()


@pytest.mark.parametrize("name", ACTS)
def test_between_grant_and_begin(scene: Scene, name: str) -> None:
    do, undo, may_begin, waiting_become = ACTS[name]
    act = Act(scene)
    act.submit(SLOTS + 2)
    wait_for(lambda: act.states() == ["waiting"] * len(act.ids), 10, "everything to wait")
    act.worker.signal(signal.SIGSTOP)
    act.join(act.first)
    assert act.states() == ["running"] * SLOTS + ["waiting"] * 2
    struck = time.monotonic()
    do(act)
    act.worker.signal(signal.SIGCONT)
    if name not in ("clear", "max up", "max down"):
        wait_for(lambda: may_begin or act.states() == ["waiting"] * len(act.ids), 10, "what was granted to come back")
    assert may_begin or act.first.received == []
    _end(scene, act, undo, waiting_become)
    if may_begin:
        assert set(act.ids[:SLOTS]) <= set(act.first.sends)
    assert name != "max down" or act.first.peak <= SLOTS
    report(f"operator, between grant and begin: {name}", act.first.sends + act.second.sends, len(act.ids), time.monotonic() - struck)


@pytest.mark.parametrize("name", ACTS)
def test_while_running(scene: Scene, name: str) -> None:
    do, undo, _, waiting_become = ACTS[name]
    act = Act(scene)
    act.first.delay = 1.0
    act.join(act.first)
    act.submit(SLOTS + 2)
    wait_for(lambda: act.first.working == SLOTS and act.states()[SLOTS:] == ["waiting"] * 2, 10, "four calls, two waiting")
    struck = time.monotonic()
    do(act)
    if name != "max up":
        assert act.first.working == SLOTS  # running work goes on
    _end(scene, act, undo, waiting_become)
    assert set(act.ids[:SLOTS]) <= set(act.first.sends)
    if name in ("drain", "delete", "PUT maintenance", "PUT busy", "PUT error", "PUT inactive"):
        assert len(act.first.received) == SLOTS
    if name == "delete":
        assert act.api.call("GET", act.path)[0] == 404
    report(f"operator, while running: {name}", act.first.sends + act.second.sends, len(act.ids), time.monotonic() - struck)


def _end(scene: Scene, act: Act, undo: Doing, waiting_become: str) -> None:
    """A second agent comes, the operator's act is undone: everything ends, sent at most once."""
    act.join(act.second)
    undo(act)
    tasks = act.api.ended(act.ids, 20)
    assert [tasks[task_id]["state"] for task_id in act.ids] == ["completed"] * SLOTS + [waiting_become] * 2
    sends = act.first.sends + act.second.sends
    assert sends == {task_id: 1 for task_id, task in tasks.items() if task["state"] == "completed"}
    for agent in (act.first, act.second):
        scene.api.call("DELETE", f"/agents/{agent.name}")
    scene.world.cluster.healthy()
