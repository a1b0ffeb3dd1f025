"""Two nodes on one Redis: what one knows the other uses; one dies, the other goes on."""

from tests.harness.agents import Agents
from tests.harness.cluster import Cluster


def test_register_on_a_submit_on_b_and_a_dies(cluster: Cluster, agents: Agents) -> None:
    a, b = cluster.api("api-a"), cluster.api("api-b")
    worker_a, _ = cluster.worker("worker-a"), cluster.worker("worker-b")
    agent = agents.start("shared", delay=0.05)
    a.register("shared", agent.url, capabilities=["x"])

    found = b.ok("POST", "/agents/discover", {"capabilities": ["x"]})
    assert [x["agent_id"] for x in found["agents"]] == ["shared"]
    assert b.task(b.submit(), wait=10)["state"] == "completed"

    a.ok("PUT", "/agents/shared/status", {"status": "maintenance", "load_metrics": {"cpu": 0.5}})
    seen = b.ok("GET", "/agents/shared")["agent"]
    assert (seen["status"], seen["load_metrics"]) == ("maintenance", {"cpu": 0.5})
    beat = b.ok("POST", "/agents/shared/heartbeat", {})["heartbeat_at"]
    assert a.ok("GET", "/agents/shared")["agent"]["last_heartbeat"] == beat
    a.ok("PUT", "/agents/shared/status", {"status": "active"})

    ids = [b.submit() for _ in range(40)]
    a.process.kill()
    worker_a.kill()
    ids += [b.submit() for _ in range(40)]
    tasks = b.ended(ids, 40)  # what A's worker had in flight is taken over when it is declared dead, after 10 s
    assert {task["state"] for task in tasks.values()} == {"completed"}
    assert max(agents.sends.values()) <= 2
    cluster.healthy()
