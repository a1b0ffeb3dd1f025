"""The rest of the API as a table: each call's answer, key by key."""

import pytest

from aitbc.ledger import agents as agent_steps
from aitbc.model.priority import PRIORITIES

CHANGED = ["status", "message", "agent_id", "new_status", "updated_at", "timestamp"]
AGENTS = ["agents", "count", "timestamp"]
TASKS = ["status", "tasks", "count", "next_cursor", "timestamp"]
BULK = ["skipped", "next_cursor", "more", "timestamp"]
CASES = [
    ("get", "/agents/a1", None, ["status", "agent", "timestamp"]),
    ("get", "/agents", None, ["status", "agents", "count", "timestamp", "next_cursor"]),
    ("get", "/agents?limit=1", None, ["status", "agents", "count", "timestamp", "next_cursor"]),
    ("put", "/agents/a1/status", {"status": "busy", "load_metrics": {"cpu": 0.5}}, CHANGED[:5]),
    ("post", "/agents/a1/heartbeat", None, ["status", "message", "agent_id", "heartbeat_at", "drain", "cancel", "unknown"]),
    ("post", "/agents/a1/drain", None, CHANGED),
    ("post", "/agents/a1/resume", None, CHANGED),
    ("delete", "/agents/a1", None, CHANGED),
    ("get", "/agents/service/s", None, ["status", "service", *AGENTS]),
    ("get", "/agents/capability/c", None, ["status", "capability", *AGENTS]),
    ("get", "/registry/stats", None, ["status", "stats", "timestamp"]),
    ("get", "/tasks/t1", None, ["status", "task", "timestamp"]),
    ("get", "/tasks/t1?wait=0", None, ["status", "task", "timestamp"]),
    ("get", "/tasks", None, TASKS),
    ("get", "/tasks?state=queued&priority=NORMAL&limit=5", None, TASKS),
    ("post", "/tasks/t1/cancel", None, ["status", "task_id", "state", "timestamp"]),
    ("get", "/tasks/queues", None, ["status", "queue_sizes", "paused", "timestamp"]),
    ("get", "/tasks/queues/stats", None, ["status", "queue_sizes", "total", "paused", "callbacks", "timestamp"]),
    ("post", "/tasks/queues/normal/clear", None, ["status", "priority", "cleared_count", "more", "timestamp"]),
    ("post", "/tasks/queues/LOW/pause", None, ["status", "priority", "paused", "timestamp"]),
    ("post", "/tasks/queues/low/resume", None, ["status", "priority", "paused", "timestamp"]),
    ("get", "/tasks/dead", None, TASKS),
    ("post", "/tasks/dead/retry", {"all": True}, ["status", "retried_count", *BULK]),
    ("post", "/tasks/dead/drop", {"error_code": "agent_failed"}, ["status", "dropped_count", *BULK]),
    ("put", "/load-balancer/strategy?strategy=round_robin", None, ["status", "message", "strategy", "timestamp"]),
    ("get", "/load-balancer/stats", None, ["status", "stats", "timestamp"]),
    ("get", "/openapi.json", None, ["openapi", "info", "paths", "components"]),
    ("get", "/", None, ["service", "description", "version", "endpoints"]),
]


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(("method", "path", "body", "keys"), CASES, ids=[f"{case[0]} {case[1]}" for case in CASES])
def test_answer(client, register, submit, prefix, method, path, body, keys):
    register()
    submit("t1")
    answer = getattr(client, method)(prefix + path, json=body)
    assert answer.status_code == 200, answer.text
    assert list(answer.json) == keys
    assert answer.headers["X-Request-Id"]


def test_the_spec_knows_every_key_of_an_answer(client):
    """schemathesis finds a key that is missing, not one that the spec leaves out."""
    document = client.get("/openapi.json").json
    unknown = {}
    for method, path, _, keys in CASES:
        answer = document["paths"][_pattern(path)][method]["responses"]["200"]["content"]["application/json"]["schema"]
        known = document["components"]["schemas"][answer["$ref"].rpartition("/")[2]]["properties"]
        unknown |= {f"{method} {path}": extra} if (extra := set(keys) - set(known)) else {}
    assert unknown == {}


def test_every_call_is_in_the_table(app, client):
    """`/` lists the calls, and each of them is tried by one of these modules."""
    listed = set(client.get("/").json["endpoints"])
    tried = {f"{method.upper()} {_pattern(path)}" for method, path, *_ in CASES}
    elsewhere = {
        "POST /agents/register",
        "POST /agents/discover",
        "POST /tasks/submit",
        "POST /tasks/submit/batch",
        "GET /tasks/status",
        "GET /events",
        "GET /tasks/{task_id}/events",
        "GET /health",
        "GET /docs",
        "GET /ready",
        "GET /metrics",
        "POST /tasks/{task_id}/retry",
        "POST /tasks/{task_id}/complete",
        "POST /tasks/{task_id}/fail",
        "POST /tasks/{task_id}/progress",
    }
    assert listed == tried | elsewhere


def test_every_path_is_under_v1_too(app):
    rules = {(rule.rule, frozenset(rule.methods)) for rule in app.url_map.iter_rules()}
    plain = {rule for rule in rules if not rule[0].startswith("/v1")}
    assert {("/v1" + path, methods) for path, methods in plain} == rules - plain


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/health", "/health/", "/agents/"])
def test_a_slash_at_the_end_does_not_matter(client, path):
    assert client.get(path).status_code == 200


def test_an_agents_life(client, register):
    register(capabilities=["c"], tags=["t"], max_concurrency=3, weight=2, heartbeat_timeout=0)
    agent = client.get("/agents/a1").json["agent"]
    assert (agent["status"], agent["max_concurrency"], agent["weight"], agent["active"]) == ("active", 3, 2.0, 0)
    assert agent["has_secret"] is False
    assert client.post("/agents/a1/drain").json["new_status"] == "draining"
    assert client.post("/agents/a1/heartbeat", json={"load_metrics": {"cpu": 0.1}, "leases": ["x:1"]}).json["drain"] is True
    assert client.post("/agents/a1/resume").json["new_status"] == "active"
    assert client.get("/agents/capability/c").json["count"] == 1
    assert client.get("/agents/service/c").json["count"] == 0
    assert client.delete("/agents/a1").status_code == 200
    assert client.get("/agents/a1").status_code == 404


def test_agents_page_by_page(client, register):
    for n in range(5):
        register(f"a{n}")
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        answer = client.get("/agents", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}).json
        seen += [agent["agent_id"] for agent in answer["agents"]]
        cursor, pages = answer["next_cursor"], pages + 1
    assert (seen, pages) == ([f"a{n}" for n in range(5)], 3)


def test_registry_stats(client, register):
    register(services=["s"], capabilities=["c", "d"])
    stats = client.get("/registry/stats").json["stats"]
    assert list(stats) == ["total_agents", "status_counts", "type_counts", "service_count", "capability_count", "last_cleanup"]
    assert (stats["total_agents"], stats["service_count"], stats["capability_count"]) == (1, 1, 2)
    assert stats["status_counts"]["active"] == stats["type_counts"]["worker"] == 1


def test_queues(client, submit):
    submit("t1", priority="urgent")
    assert client.post("/tasks/queues/urgent/pause").json["paused"] is True
    answer = client.get("/tasks/queues/stats").json
    assert answer["queue_sizes"] == {"urgent": 1, "critical": 0, "high": 0, "normal": 0, "low": 0}
    assert (answer["total"], answer["paused"]) == (1, ["urgent"])
    assert client.post("/tasks/queues/urgent/resume").json["paused"] is False
    assert client.post("/tasks/queues/urgent/clear").json["cleared_count"] == 1
    assert client.get("/tasks/t1").json["task"]["state"] == "cancelled"
    assert set(client.get("/tasks/queues").json["queue_sizes"]) == {priority.value for priority in PRIORITIES}


def test_clear_takes_as_many_steps_as_it_needs(client, submit):
    for n in range(450):
        submit(f"t{n}", priority="low")
    answer = client.post("/tasks/queues/low/clear").json
    assert (answer["cleared_count"], answer["more"]) == (450, False)


def test_a_strategy(client, register):
    register()
    assert client.put("/load-balancer/strategy?strategy=round_robin").json["strategy"] == "round_robin"
    answer = client.put("/load-balancer/strategy?strategy=coin")
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid strategy: coin")
    assert client.put("/load-balancer/strategy").status_code == 422


def test_an_agent_whose_registry_is_full_is_told(client, monkeypatch):
    from aitbc.errors import Full
    from aitbc.ledger.step import Step

    def full(_registration):
        def parse(_reply):
            raise Full("the registry is full", retry_after=60)

        return Step("workers", (), parse)

    monkeypatch.setattr(agent_steps, "register", full)
    answer = client.post("/agents/register", json={"agent_id": "a", "agent_type": "worker"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")


def _pattern(path):
    path = path.partition("?")[0]
    for real, name in (("a1", "agent_id"), ("s", "service"), ("c", "capability"), ("t1", "task_id")):
        path = path.replace(f"/{real}/", f"/{{{name}}}/") if f"/{real}/" in path else path
        path = path.removesuffix(f"/{real}") + f"/{{{name}}}" if path.endswith(f"/{real}") else path
    for priority in ("normal", "LOW", "low"):
        path = path.replace(f"/queues/{priority}/", "/queues/{priority}/")
    return path
