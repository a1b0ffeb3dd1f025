"""An agent misbehaves: every task ends all the same, with one winner, sent once more at most for each time that it was let down."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.harness.agents import Agents, HttpAgent, accept, succeed
from tests.harness.cluster import Api
from tests.harness.matrix import Row
from tests.harness.processes import wait_for
from tests.integration.system.test_answers import call_back


class Scene:
    """A coordinator that rows share; each row brings its own agents, two at most, which alone can do its tasks."""

    def __init__(self, world: Row) -> None:
        self.world, self.api = world, world.node()
        world.worker()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    world = Row("agent", Path(tmp_path_factory.mktemp("agent")))
    yield Scene(world)
    world.close()


@pytest.fixture
def world(scene: Scene, request: pytest.FixtureRequest) -> Iterator[Row]:
    """The scene's world for one row: nothing accepted, agents of its own."""
    world = scene.world
    world.name, world.accepted, shared = f"agent: {request.node.name.removeprefix('test_')}", [], world.agents
    world.agents = Agents()
    world.struck = time.monotonic()
    yield world
    world.agents.close()
    world.agents = shared


class Two:
    """A first agent that misbehaves, and a second that works, for the tasks of this row alone."""

    def __init__(self, scene: Scene, first: HttpAgent, **fields: Any) -> None:
        self.api: Api = scene.api
        self.world, self.first = scene.world, first
        self.need = {"capabilities": [f"row-{time.monotonic_ns()}"]}
        self.fields = {**self.need, **fields}
        self.name = f"{self.need['capabilities'][0]}-first"
        self.register()

    def register(self, **fields: Any) -> None:
        self.api.register(self.name, self.first.url, **self.fields, **fields)

    def second(self) -> HttpAgent:
        agent = self.world.agents.start(self.name.replace("first", "second"))
        self.api.register(agent.name, agent.url, **self.need)
        return agent

    def submit(self, **fields: Any) -> str:
        return self.world.submit(self.api, requirements=self.need, **fields)

    def begun(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        """A task whose attempt the first agent has taken, and its callback."""
        before = len(self.first.received)
        task_id = self.submit(**fields)
        wait_for(lambda: len(self.first.received) > before, 10, "the call")
        return task_id, self.first.received[-1]["callback"]


def complete(callback: dict[str, Any], result: Any) -> int:
    return call_back(callback["complete"], callback["token"], {"result": result})[0]


def test_refuses_connections(scene: Scene, world: Row) -> None:
    two = Two(scene, world.agents.start("gone"))
    world.agents.stop(two.first)
    second = two.second()
    for _ in range(20):
        two.submit()
    world.settle(scene.api, faults=0)
    assert len(second.received) == 20


def test_accepts_and_closes(scene: Scene, world: Row) -> None:
    async def close(agent: HttpAgent, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        agent.received.append({"task_id": head.split(b"webhook-id: ")[1].split(b"\r\n")[0].decode()})

    two = Two(scene, world.agents.raw("closes", close))
    two.second()
    for _ in range(10):
        two.submit()
    tasks = world.settle(scene.api, faults=1)
    assert len(two.first.received) <= 10
    assert any(len(task["attempts"]) == 2 for task in tasks.values())


def test_drips(scene: Scene, world: Row) -> None:
    async def drip(agent: HttpAgent, request: web.Request, _: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.2)
        return response

    two = Two(scene, world.agents.start("drips", drip))
    two.begun(run_timeout=1.5)
    two.second()
    (task,) = world.settle(scene.api, faults=1).values()
    assert [a["error"] for a in task["attempts"]] == ["run_timeout", None]


def test_calls_back_before_its_202(scene: Scene, world: Row) -> None:
    async def hasty(_: HttpAgent, __: web.Request, body: Any) -> web.StreamResponse:
        code = await asyncio.get_running_loop().run_in_executor(None, complete, body["callback"], "early")
        return web.json_response({}, status=202 if code == 200 else 500)

    two = Two(scene, world.agents.start("hasty", hasty))
    two.submit()
    (task,) = world.settle(scene.api, faults=0).values()
    assert task["result"] == "early"


def test_calls_back_twice_and_differently(scene: Scene, world: Row) -> None:
    two = Two(scene, world.agents.start("says it again", accept))
    _, callback = two.begun()
    assert [complete(callback, 1), complete(callback, 1), complete(callback, 2)] == [200, 200, 409]
    assert call_back(callback["fail"], callback["token"], {"error": "no", "retryable": True})[0] == 409
    (task,) = world.settle(scene.api, faults=0).values()
    assert task["result"] == 1


def test_calls_back_after_a_cancel(scene: Scene, world: Row) -> None:
    two = Two(scene, world.agents.start("late", accept))
    task_id, callback = two.begun()
    wait_for(lambda: call_back(callback["progress"], callback["token"], {"percent": 1})[0] == 200, 5)
    scene.api.ok("POST", f"/tasks/{task_id}/cancel")
    assert complete(callback, 1) == 200  # it ends the lease, and changes no record
    (task,) = world.settle(scene.api, faults=0, states=["cancelled"]).values()
    assert task["result"] is None


def test_the_first_attempts_token_in_the_second(scene: Scene, world: Row) -> None:
    two = Two(scene, world.agents.start("forgetful", accept), max_concurrency=1)
    task_id, old = two.begun()
    assert call_back(old["fail"], old["token"], {"error": "once more", "retryable": True})[0] == 200
    wait_for(lambda: len(two.first.received) == 2, 10, "the second attempt")
    new = two.first.received[1]["callback"]
    assert (complete(old, "old"), call_back(old["progress"], old["token"], {"percent": 1})[0]) == (409, 410)
    assert scene.api.task(task_id)["state"] == "running"
    assert complete(new, "new") == 200
    (task,) = world.settle(scene.api, faults=1).values()
    assert (task["result"], len(task["attempts"])) == ("new", 2)


def test_restarts_with_live_202_leases(scene: Scene, world: Row) -> None:
    two = Two(scene, world.agents.start("restarts", accept), instance_id="one")
    for _ in range(5):
        two.begun()
    old = [body["callback"] for body in two.first.received]
    wait_for(lambda: {scene.api.task(t)["progress"] is None for t in world.accepted} == {True}, 5)
    two.first.answer = succeed
    world.struck = time.monotonic()
    two.fields["instance_id"] = "two"
    two.register()
    tasks = world.settle(scene.api, faults=1)
    assert {a["error"] for task in tasks.values() for a in task["attempts"][:1]} == {"agent_restarted"}
    assert {complete(callback, "from the old one") for callback in old} <= {409, 410}


def test_restarts_with_at_most_once_work(scene: Scene, world: Row) -> None:
    two = Two(scene, world.agents.start("restarts", accept), instance_id="one")
    two.begun(max_attempts=1)
    two.fields["instance_id"] = "two"
    two.register()
    (task,) = world.settle(scene.api, faults=0, states=["failed"]).values()
    assert task["error"]["code"] == "outcome_unknown"


def test_ignores_closed_sockets(scene: Scene, world: Row) -> None:
    """It goes on with cancelled work, and answers into the closed connection: its slot is free at once, the answer is nobody's."""
    release = asyncio.Event()

    async def deaf(agent: HttpAgent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = json.loads(await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])))
        agent.received.append(body)
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    two = Two(scene, world.agents.raw("deaf", deaf), max_concurrency=1)
    cancelled, _ = two.begun()
    waiting = two.submit()
    world.struck = time.monotonic()
    scene.api.ok("POST", f"/tasks/{cancelled}/cancel")
    wait_for(lambda: len(two.first.received) == 2, 5, "the next task in the freed slot")
    world.agents.call_soon(release.set)
    tasks = world.settle(scene.api, faults=0, states=["completed", "cancelled"])
    assert (tasks[cancelled]["state"], tasks[waiting]["state"]) == ("cancelled", "completed")
