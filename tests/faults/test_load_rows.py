"""Load that must keep nobody out: many held requests while heartbeats go on; a hundred thousand tasks at once (the ledger's part)."""

import threading
import time
from typing import Any

from tests.harness.cluster import Api
from tests.harness.matrix import Row

CLIENTS = 64


def test_64_waiting_clients_while_heartbeats_go_on(world: Row) -> None:
    world.name = "load: 64 clients wait 60 s"
    api, _ = world.node(), world.worker()
    agent = world.agents.start("beats")
    api.register("beats", agent.url, heartbeat_timeout=3, max_concurrency=CLIENTS)
    api.ok("POST", "/tasks/queues/normal/pause")
    ids = [world.submit(api) for _ in range(CLIENTS)]
    answers: list[Any] = []
    waiting = [threading.Thread(target=lambda t=t: answers.append(api.call("GET", f"/tasks/{t}?wait=60"))) for t in ids]
    for client in waiting:
        client.start()
    longest = _beat(api, 8.0)
    assert longest < 1.5
    assert not answers
    assert api.ok("GET", "/agents/beats")["agent"]["status"] == "active"
    world.struck = time.monotonic()
    api.ok("POST", "/tasks/queues/normal/resume")
    for client in waiting:
        client.join(15)
    assert [answer["task"]["state"] for _, answer in answers] == ["completed"] * CLIENTS
    world.settle(api, faults=0)


def _beat(api: Api, seconds: float) -> float:
    """A heartbeat every half second; the longest that one took."""
    end, longest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        began = time.monotonic()
        api.ok("POST", "/agents/beats/heartbeat", {})
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.5)
    return longest
