"""kill -9 of each part under load: every accepted task ends, once. (The full matrix is a later issue; these three must already hold.)"""

import time

from tests.harness.agents import Agents
from tests.harness.cluster import Api, Cluster
from tests.harness.load import Load
from tests.harness.processes import wait_for


def _all_ended_once(api: Api, ids: list[str], agents: Agents, faults: int, seconds: float = 40) -> None:
    tasks = api.ended(ids, seconds)
    assert {task["state"] for task in tasks.values()} == {"completed"}
    assert max(agents.sends.values()) <= 1 + faults


def test_worker_killed_with_thirty_calls_in_flight(cluster: Cluster, agents: Agents) -> None:
    api, worker = cluster.api(), cluster.worker("victim")
    agent = agents.start("slow", delay=1.5)
    api.register("slow", agent.url, max_concurrency=100)
    ids = [api.submit() for _ in range(30)]
    wait_for(lambda: agent.working == 30, 15, "30 calls in flight")
    worker.kill()
    cluster.worker("heir")
    _all_ended_once(api, ids, agents, faults=1)
    assert all(count == 2 for count in agents.sends.values())
    cluster.healthy()


def test_redis_killed_for_three_seconds_under_load(cluster: Cluster, agents: Agents) -> None:
    api, worker = cluster.api(), cluster.worker()
    for n in range(3):
        agent = agents.start(f"a{n}", delay=0.05)
        api.register(agent.name, agent.url)
    load = Load(lambda: api)
    load.start()
    time.sleep(1.5)
    cluster.redis.kill()
    status, problem = api.call("GET", "/tasks/status")
    assert status == 503, problem
    time.sleep(3)
    cluster.start_redis()
    back = time.monotonic()
    before = len(load.accepted)
    wait_for(lambda: len(load.accepted) > before + 50, 10, "submits to be accepted again")
    assert time.monotonic() - back < 8
    ids = load.end()
    assert worker.alive
    _all_ended_once(api, ids, agents, faults=1)
    cluster.healthy()


def test_api_killed_under_load(cluster: Cluster, agents: Agents) -> None:
    first, _ = cluster.api("first"), cluster.worker()
    agent = agents.start("a", delay=0.02)
    first.register("a", agent.url)
    current = [first]
    load = Load(lambda: current[0])
    load.start()
    time.sleep(1)
    first.process.kill()
    current[0] = cluster.api("second")
    before = len(load.accepted)
    wait_for(lambda: len(load.accepted) > before + 50, 10, "submits to be accepted again")
    ids = load.end()
    _all_ended_once(current[0], ids, agents, faults=0)
    assert set(agents.sends) == set(ids)
    cluster.healthy()
