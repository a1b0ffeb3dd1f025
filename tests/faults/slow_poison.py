"""One task among 200 in one worker kills that worker each time that it is sent: it becomes `poison`, and no neighbour goes with it."""

import asyncio
import threading
from typing import Any

import pytest
from aiohttp import web

from tests.harness.agents import Answer, HttpAgent
from tests.harness.matrix import Row
from tests.harness.processes import Process, wait_for

DEATHS = 5


class Deaths(threading.Thread):
    """Kills the worker when the poison task is in its hands, and starts another, as a supervisor does."""

    def __init__(self, world: Row, worker: Process) -> None:
        super().__init__(daemon=True)
        self.world, self.worker, self.count = world, worker, 0
        self.sent, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            if self.sent.wait(0.2):
                self.sent.clear()
                self.count += 1
                self.worker.kill()
                self.worker = self.world.worker()

    def answer(self, neighbour_seconds: float) -> Answer:
        async def poisonous(_: HttpAgent, __: web.Request, body: Any) -> web.StreamResponse:
            if body["task_id"] == "poison":
                await asyncio.sleep(0.3)  # so that its neighbours are in flight too
                self.sent.set()
                await asyncio.sleep(3600)
            await asyncio.sleep(neighbour_seconds)
            return web.json_response({})

        return poisonous


@pytest.mark.timeout(300)
@pytest.mark.parametrize("neighbour_seconds", [0.2, 5.0], ids=["quick neighbours", "neighbours that die with it"])
def test_poison_among_two_hundred(world: Row, neighbour_seconds: float) -> None:
    world.name = f"load: one poison task among 200, the others take {neighbour_seconds} s"
    api = world.node()
    deaths = Deaths(world, world.worker())
    agent = world.agent(api, "poisonous", deaths.answer(neighbour_seconds), max_concurrency=200)
    api.ok("POST", "/tasks/queues/normal/pause")
    world.submit(api, task_id="poison")
    for _ in range(199):
        world.submit(api)
    deaths.start()
    api.ok("POST", "/tasks/queues/normal/resume")
    wait_for(lambda: api.task("poison")["state"] == "failed", 200, "the poison task to be found out")
    deaths.over.set()
    deaths.join(20)
    tasks = world.settle(api, faults=DEATHS, states=["completed", "failed"], seconds=120)
    assert tasks.pop("poison")["error"]["code"] == "poison"
    assert {task["state"] for task in tasks.values()} == {"completed"}
    assert (deaths.count, agent.sends["poison"]) == (DEATHS, DEATHS)
