"""The calls that users hold us to, byte for byte in their key names."""

import re

import pytest

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
HERMES = {
    "agent_id": "hermes-agent",
    "agent_type": "worker",
    "capabilities": ["data-processing", "analysis", "general"],
    "services": ["task-execution", "analysis"],
    "endpoints": {"http": "http://localhost:9002"},
    "metadata": {"version": "1.0.0"},
}
PRIORITIES = ["urgent", "critical", "high", "normal", "low"]
BALANCER = [
    "strategy",
    "active_agents",
    "total_assignments",
    "avg_agent_load",
    "successful_assignments",
    "failed_assignments",
    "success_rate",
    "agent_weights",
]


def test_register(client):
    answer = client.post("/agents/register", json=HERMES)
    assert answer.status_code == 200
    assert list(answer.json) == ["status", "message", "agent_id", "registered_at"]
    assert answer.json["status"] == "success"
    assert answer.json["message"] == "Agent hermes-agent registered successfully"
    assert ISO.fullmatch(answer.json["registered_at"])


def test_register_writes_what_outsiders_read(client, ledger):
    client.post("/agents/register", json=HERMES)
    assert ledger.redis.keys("agent:*") == [b"agent:hermes-agent"]
    assert ledger.redis.smembers("agents:active") == {b"hermes-agent"}


def test_register_needs_only_id_and_type(client):
    assert client.post("/agents/register", json={"agent_id": "a", "agent_type": "monitor"}).status_code == 200


def test_submit(client):
    answer = client.post(
        "/tasks/submit", json={"task_data": {"model": "llama2", "prompt": "test prompt"}, "priority": "normal", "requirements": {}}
    )
    assert answer.status_code == 200
    assert list(answer.json) == ["status", "message", "task_id", "priority", "submitted_at"]
    assert answer.json["message"] == "Task submitted successfully"
    assert answer.headers["Location"] == f"/tasks/{answer.json['task_id']}"
    assert ISO.fullmatch(answer.json["submitted_at"])


def test_submit_needs_only_task_data(client):
    assert client.post("/tasks/submit", json={"task_data": {}}).json["priority"] == "normal"


@pytest.mark.parametrize("sent", ["URGENT", "Normal", "low"])
def test_priority_is_echoed_as_sent(client, sent):
    answer = client.post("/tasks/submit", json={"task_data": {}, "priority": sent})
    assert answer.json["priority"] == sent
    task = client.get(answer.headers["Location"]).json["task"]
    assert task["priority"] == sent.lower()


def test_invalid_priority(client, keys):
    before = keys()
    answer = client.post("/tasks/submit", json={"task_data": {}, "priority": "soon"})
    assert answer.status_code == 400
    assert answer.json["message"] == "Invalid priority: soon"
    assert keys() == before


def test_status(client, register, submit, begin):
    register()
    attempt, token = begin(submit())
    client.post(f"/tasks/{attempt.task_id}/complete", json={"result": 1}, headers={"Authorization": f"Bearer {token}"})
    answer = client.get("/tasks/status")
    assert list(answer.json) == ["status", "stats", "timestamp"]
    stats = answer.json["stats"]
    assert list(stats) == [
        "tasks_distributed",
        "tasks_completed",
        "tasks_failed",
        "avg_distribution_time",
        "load_balancer_stats",
        "queue_sizes",
    ]
    assert list(stats["load_balancer_stats"]) == BALANCER
    assert list(stats["queue_sizes"]) == PRIORITIES
    assert stats["tasks_distributed"] == stats["tasks_completed"] == 1
    assert stats["load_balancer_stats"]["strategy"] == "least_connections"
    assert stats["load_balancer_stats"]["active_agents"] == 1
    assert stats["load_balancer_stats"]["total_assignments"] == 1
    assert stats["load_balancer_stats"]["success_rate"] == 1.0


def test_discover(client):
    client.post("/agents/register", json=HERMES)
    query = {"status": "active", "agent_type": "worker"}
    answer = client.post("/agents/discover", json=query)
    assert list(answer.json) == ["status", "query", "agents", "count", "timestamp"]
    assert answer.json["query"] == query
    assert answer.json["count"] == 1
    (agent,) = answer.json["agents"]
    assert set(agent) >= {
        *("agent_id", "agent_type", "status", "capabilities", "services", "endpoints", "metadata", "tags", "max_concurrency", "weight"),
        *("active", "last_heartbeat", "registration_time", "load_metrics", "health_score", "version", "breaker", "has_secret"),
    }
    assert {name: agent[name] for name in HERMES} == HERMES


@pytest.mark.parametrize(("query", "count"), [({}, 1), ({"status": "asleep"}, 0), ({"agent_type": "wizard"}, 0), ({"tags": ["x"]}, 0)])
def test_discover_with_unknown_words_finds_nothing(client, query, count):
    client.post("/agents/register", json=HERMES)
    answer = client.post("/agents/discover", json=query)
    assert (answer.status_code, answer.json["count"]) == (200, count)


def test_health(client):
    answer = client.get("/health")
    assert list(answer.json) == ["status", "service", "timestamp", "version"]
    assert (answer.json["status"], answer.json["service"]) == ("healthy", "agent-coordinator")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/agents/register", {"agent_id": "a", "agent_type": "wizard"}, 422),
        ("put", "/agents/a1/status", {"status": "asleep"}, 422),
        ("get", "/agents/nobody", None, 404),
        ("put", "/agents/nobody/status", {"status": "active"}, 404),
        ("post", "/agents/nobody/heartbeat", {}, 404),
        ("get", "/tasks/nothing", None, 404),
    ],
)
def test_older_clients_refusals(client, register, method, path, body, status):
    register()
    answer = getattr(client, method)(path, json=body)
    assert answer.status_code == status
    if status == 404:
        assert "not found" in answer.json["message"]


def test_the_task_id_in_task_data_is_the_tasks_id(client):
    answer = client.post("/tasks/submit", json={"task_data": {"task_id": "mine"}})
    assert answer.json["task_id"] == "mine"
    assert client.post("/tasks/submit", json={"task_data": {"task_id": 7}}).json["task_id"] != "7"
