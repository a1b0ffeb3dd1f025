"""The main job through real processes: an API, a worker, agents; what the issue asks to be shown."""

import random
import time

from tests.harness.agents import Agents, hang, succeed
from tests.harness.cluster import Cluster
from tests.harness.processes import wait_for

PRIORITIES = ("urgent", "critical", "high", "normal", "low")


def test_a_task_goes_to_an_agent_and_its_result_comes_back(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    agent = agents.start("hermes")
    api.register("hermes", agent.url)
    task_id = api.submit(task_data={"model": "llama2", "prompt": "test prompt"})
    task = api.task(task_id, wait=10)
    assert task["state"] == "completed"
    assert task["result"] == {"done": task_id, "by": "hermes"}
    assert task["agent_id"] == "hermes"
    assert [a["outcome"] for a in task["attempts"]] == ["completed"]
    assert agent.received[0]["task_data"] == {"model": "llama2", "prompt": "test prompt"}
    assert agent.headers[0]["Idempotency-Key"] == task_id
    stats = api.ok("GET", "/tasks/status")["stats"]
    assert (stats["tasks_distributed"], stats["tasks_completed"], stats["tasks_failed"]) == (1, 1, 0)
    cluster.healthy()


def test_nine_slow_tasks_over_three_idle_agents_are_three_each(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    three = [agents.start(f"a{i}", delay=1.0) for i in range(3)]
    for agent in three:
        api.register(agent.name, agent.url)
    api.ended([api.submit() for _ in range(9)])
    assert [len(agent.received) for agent in three] == [3, 3, 3]
    cluster.healthy()


def test_one_slot_delivers_sixty_tasks_in_strict_order(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    agent = agents.start("one", delay=0.02)
    for priority in PRIORITIES:
        api.ok("POST", f"/tasks/queues/{priority}/pause")
    api.register("one", agent.url, max_concurrency=1)
    shuffled = [p for p in PRIORITIES for _ in range(12)]
    random.Random(7).shuffle(shuffled)
    submitted = [(PRIORITIES.index(p), n, api.submit(priority=p)) for n, p in enumerate(shuffled)]
    for priority in PRIORITIES:
        api.ok("POST", f"/tasks/queues/{priority}/resume")
    api.ended([task_id for _, _, task_id in submitted])
    # The first grant is made while only `urgent` is resumed, so it is in order too.
    assert [body["task_id"] for body in agent.received] == [task_id for _, _, task_id in sorted(submitted)]
    assert agent.peak == 1
    cluster.healthy()


def test_a_thousand_tasks_over_five_agents_of_mixed_speed(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    five = [agents.start(f"a{i}", delay=0.005 * (i + 1)) for i in range(5)]
    for agent in five:
        api.register(agent.name, agent.url, max_concurrency=4)
    ids = [api.submit(priority=random.choice(PRIORITIES)) for _ in range(1000)]
    tasks = api.ended(ids, 60)
    assert all(task["state"] == "completed" for task in tasks.values())
    assert agents.sends == dict.fromkeys(ids, 1)
    assert all(agent.peak <= 4 for agent in five)
    assert all(api.ok("GET", f"/agents/{agent.name}")["agent"]["active"] == 0 for agent in five)
    cluster.healthy()


def _started_within(seconds: float, api: object, agent: object, act: object, count: int = 1) -> None:
    before = len(agent.received)  # type: ignore[attr-defined]
    act()  # type: ignore[operator]
    began = time.monotonic()
    wait_for(lambda: len(agent.received) >= before + count, seconds, "the task to be delivered")  # type: ignore[attr-defined]
    assert time.monotonic() - began < seconds


def test_a_waiting_task_is_delivered_as_soon_as_something_fits(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    agent = agents.start("late", delay=0.3)

    def waits(task_id: str) -> None:
        wait_for(lambda: api.task(task_id)["state"] == "waiting", 5, "the task to be looked at")

    waits(api.submit())
    _started_within(0.5, api, agent, lambda: api.register("late", agent.url, max_concurrency=1))
    wait_for(lambda: agent.working == 0, 5)

    api.ok("PUT", "/agents/late/status", {"status": "busy"})
    waits(api.submit())
    _started_within(0.5, api, agent, lambda: api.ok("PUT", "/agents/late/status", {"status": "active"}))
    wait_for(lambda: agent.working == 0, 5)

    api.ok("POST", "/tasks/queues/normal/pause")
    waits(api.submit())
    _started_within(0.5, api, agent, lambda: api.ok("POST", "/tasks/queues/normal/resume"))

    waits(api.submit())  # behind the one that runs now
    wait_for(lambda: len(agent.received) == 4, 0.3 + 0.5, "the freed slot's next task")
    cluster.healthy()


def test_an_urgent_task_is_not_held_up_by_a_hung_agent(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    hung, healthy = agents.start("hung", hang), agents.start("healthy", succeed)
    api.register("hung", hung.url, max_concurrency=200, capabilities=["slow"])
    for _ in range(150):
        api.submit(priority="low", requirements={"capabilities": ["slow"]})
    wait_for(lambda: hung.working == 150, 20, "150 calls in the hung agent")
    api.register("healthy", healthy.url, capabilities=["fast"])
    began = time.monotonic()
    task = api.task(api.submit(priority="urgent", requirements={"capabilities": ["fast"]}), wait=5)
    assert task["state"] == "completed"
    assert time.monotonic() - began < 0.5


def test_grants_of_a_saturated_agent_do_not_delay_an_urgent_task_for_an_idle_one(cluster: Cluster, agents: Agents) -> None:
    """Each answer of the busy agent grants its slot again, which the worker runs at once: it must look at its jobs all the same."""
    api, _ = cluster.api(), cluster.worker()
    busy, idle = agents.start("busy"), agents.start("idle")
    api.register("busy", busy.url, max_concurrency=8, capabilities=["slow"])
    api.register("idle", idle.url, capabilities=["fast"])
    low = [{"task_data": {}, "priority": "low", "requirements": {"capabilities": ["slow"]}} for _ in range(1000)]
    for _ in range(3):
        api.ok("POST", "/tasks/submit/batch", {"tasks": low})
    wait_for(lambda: len(busy.received) > 100, 20, "the busy agent's first hundred")
    overtaken = []
    for _ in range(5):
        before = len(busy.received)
        assert api.task(api.submit(priority="urgent", requirements={"capabilities": ["fast"]}), wait=5)["state"] == "completed"
        overtaken.append(len(busy.received) - before)
    assert api.ok("GET", "/tasks/queues")["queue_sizes"]["low"] > 0  # it was saturated to the end
    assert max(overtaken) < 500, overtaken  # a fraction of a second's work, not the rest of its queue
    wait_for(lambda: len(busy.received) == 3000, 30, "all low tasks")
    cluster.healthy()


def test_agents_that_refuse_while_heartbeating_make_no_dead_letters(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    ten = [agents.start(f"a{i}", delay=0.01) for i in range(10)]
    for agent in ten:
        api.register(agent.name, agent.url, max_concurrency=2)
    for agent in ten[:3]:
        agents.stop(agent)
    ids = []
    for n in range(300):
        ids.append(api.submit())
        if n % 50 == 0:
            for agent in ten:
                api.ok("POST", f"/agents/{agent.name}/heartbeat", {})
    tasks = api.ended(ids, 60)
    assert {task["state"] for task in tasks.values()} == {"completed"}
    assert agents.sends == dict.fromkeys(ids, 1)
    assert api.ok("GET", "/tasks/dead")["count"] == 0
    cluster.healthy()
