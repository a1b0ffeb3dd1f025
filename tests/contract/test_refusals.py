"""What is wrong is refused in one shape, never with a 500, and leaves nothing behind."""

import io
import json
import logging

import pytest

from aitbc.errors import LedgerAway
from aitbc.settings import Settings
from aitbc.web import create_app
from aitbc.web import tasks as views

SHAPE = ["type", "title", "status", "detail", "message", "request_id"]
TASK = {"task_data": {}}
AGENT = {"agent_id": "a", "agent_type": "worker"}
DEEP = b'{"task_data":' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}"


def shaped(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert list(answer.json)[:6] == SHAPE
    assert answer.json["status"] == status
    assert answer.json["message"] == answer.json["detail"]
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    return answer.json


BYTES = [
    (b"{", 400),
    (b"nul", 400),
    (b'{"task_data":{"a":NaN}}', 400),
    (b'{"task_data":{"a":-Infinity}}', 400),
    (b'{"task_data":{"a":1e400}}', 400),
    (b'{"task_data":{"a":' + b"9" * 5000 + b"}}", 400),
    (b'{"task_data":{"a":"\\ud800"}}', 400),
    (b'{"task_data":{"\\udfff":1}}', 400),
    (b'{"task_data":{"a":"\xed\xa0\x80"}}', 400),
    (b'{"task_data":{"a":"\xff"}}', 400),
    (b'\xef\xbb\xbf{"task_data":{}}', 400),
    ('{"task_data":{}}'.encode("utf-16"), 400),
    (b'{"task_data":{}}{}', 400),
    (DEEP, 400),
    (b'{"task_data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    (b"[" * 100_000, 400),
    (b"", 422),
    (b"null", 422),
    (b"[]", 422),
    (b'"{\\"task_data\\":{}}"', 422),
    (b"7", 422),
    (b"true", 422),
]


@pytest.mark.parametrize(("raw", "status"), BYTES, ids=[repr(raw[:24]) for raw, _ in BYTES])
def test_bytes_that_are_no_body(client, keys, raw, status):
    before = keys()
    shaped(client.post("/tasks/submit", data=raw, content_type="application/json"), status)
    assert keys() == before


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", None]
)
def test_the_bytes_decide_not_the_content_type(client, content_type):
    answer = client.post("/tasks/submit", data='{"task_data":{"a":"ä"}}'.encode(), content_type=content_type)
    assert answer.status_code == 200


def test_whole_surrogate_pairs_and_sixty_four_levels_pass(client):
    assert client.post("/tasks/submit", data=b'{"task_data":{"a":"\\ud83d\\ude00"}}').status_code == 200
    assert client.post("/tasks/submit", data=DEEP.replace(b'{"a":', b"", 1).replace(b"}", b"", 1)).status_code == 200


FIELDS = [
    ({}, "/task_data"),
    ({"task_data": None}, "/task_data"),
    ({"task_data": []}, "/task_data"),
    ({"task_data": "x"}, "/task_data"),
    ({**TASK, "priority": 3}, "/priority"),
    ({**TASK, "priority": ["high"]}, "/priority"),
    ({**TASK, "requirements": []}, "/requirements"),
    ({**TASK, "requirements": {"agent_type": "wizard"}}, "/requirements/agent_type"),
    ({**TASK, "requirements": {"capabilities": "x"}}, "/requirements/capabilities"),
    ({**TASK, "requirements": {"capabilities": ["a\nb"]}}, "/requirements/capabilities/0"),
    ({**TASK, "requirements": {"capabilities": ["x" * 65]}}, "/requirements/capabilities/0"),
    ({**TASK, "requirements": {"tags": [""]}}, "/requirements/tags/0"),
    ({**TASK, "requirements": {"tags": [str(n) for n in range(17)]}}, "/requirements"),
    ({**TASK, "requirements": {"min_health_score": 1.1}}, "/requirements/min_health_score"),
    ({**TASK, "max_attempts": 0}, "/max_attempts"),
    ({**TASK, "max_attempts": 51}, "/max_attempts"),
    ({**TASK, "max_attempts": 2**63}, "/max_attempts"),
    ({**TASK, "max_attempts": "3"}, "/max_attempts"),
    ({**TASK, "max_attempts": True}, "/max_attempts"),
    ({**TASK, "run_timeout": 0}, "/run_timeout"),
    ({**TASK, "run_timeout": -1}, "/run_timeout"),
    ({**TASK, "run_timeout": 86_401}, "/run_timeout"),
    ({**TASK, "run_timeout": "30s"}, "/run_timeout"),
    ({**TASK, "run_timeout": 10**400}, "/run_timeout"),
    ({**TASK, "queue_timeout": 0}, "/queue_timeout"),
    ({**TASK, "delay": -1}, "/delay"),
    ({**TASK, "delay": 1e300}, "/delay"),
    ({**TASK, "run_at": "2099-01-01T00:00:00"}, "/run_at"),
    ({**TASK, "run_at": "0000-01-01T00:00:00Z"}, "/run_at"),
    ({**TASK, "run_at": "0001-01-01T00:00:00+14:00"}, "/run_at"),
    ({**TASK, "run_at": "9999-12-31T23:59:59-14:00"}, "/run_at"),
    ({**TASK, "run_at": -1}, "/run_at"),
    ({**TASK, "run_at": True}, "/run_at"),
    ({**TASK, "run_at": 1, "delay": 1}, ""),
    ({**TASK, "idempotent": "yes"}, "/idempotent"),
    ({"task_data": {"task_id": "a"}, "task_id": "b"}, ""),
    ({"task_data": {"task_id": "a b"}}, ""),
]


@pytest.mark.parametrize(("body", "pointer"), FIELDS, ids=[json.dumps(body)[:60] for body, _ in FIELDS])
def test_wrong_fields_are_named(client, keys, body, pointer):
    before = keys()
    problem = shaped(client.post("/tasks/submit", json=body), 422)
    assert problem["errors"][0]["pointer"] == pointer
    assert keys() == before


IDS = [
    "",
    "x" * 129,
    "a b",
    "a/b",
    "../x",
    "a:1",
    "a\r\nb",
    "a\0b",
    "\u202egpj",
    "a\u200b",
    "agent:*",
    "ä",
    "<b>",
    "\x1b[31m",
    *("status", "dead", ".", ".."),
]


@pytest.mark.parametrize("name", IDS, ids=ascii)
def test_ids_of_another_form(client, keys, name):
    before = keys()
    shaped(client.post("/tasks/submit", json={**TASK, "task_id": name}), 422)
    shaped(client.post("/tasks/submit", json={"task_data": {"task_id": name}}), 422)
    shaped(client.post("/agents/register", json={**AGENT, "agent_id": name}), 422)
    assert keys() == before


@pytest.mark.parametrize("name", ["x" * 128, "__proto__", "A.b_c~d-9", "0"])
def test_ids_of_the_form_pass(client, name):
    assert client.post("/tasks/submit", json={**TASK, "task_id": name}).json["task_id"] == name
    assert client.post("/agents/register", json={**AGENT, "agent_id": name}).json["agent_id"] == name


@pytest.mark.parametrize("name", ["x" * 5000, "a%0d%0ab", "a%00b", "%ff", "agent:*", "a%20b", "%2e%2e", "*", "%E2%80%AE"])
@pytest.mark.parametrize("path", ["/tasks/{}", "/agents/{}", "/tasks/{}/cancel", "/tasks/{}/complete", "/agents/{}/drain"])
def test_paths_with_impossible_ids_are_not_found(client, name, path):
    method = client.post if path.count("/") == 3 else client.get
    problem = shaped(method(path.format(name)), 404)
    assert "not found" in problem["message"]


AGENTS = [
    {"agent_id": 7},
    {"agent_type": None},
    {"capabilities": [1]},
    {"capabilities": ["a\nb"]},
    {"capabilities": [str(n) for n in range(257)]},
    {"endpoints": {"http": 1}},
    {"endpoints": {"http": "ftp://127.0.0.1"}},
    {"endpoints": {"http": "http://10.0.0.1:9002"}},
    {"endpoints": {"http": "http://169.254.169.254/"}},
    {"endpoints": {"http": "http://u:p@127.0.0.1:9002"}},
    {"metadata": []},
    {"max_concurrency": 0},
    {"max_concurrency": 10_001},
    {"weight": 0},
    {"weight": "heavy"},
    {"heartbeat_timeout": -1},
    {"secret": "a-secret-and-no-key"},
]


@pytest.mark.parametrize("fields", AGENTS, ids=ascii)
def test_wrong_agents(client, keys, fields):
    before = keys()
    shaped(client.post("/agents/register", json={**AGENT, **fields}), 422)
    assert keys() == before


def test_what_is_refused_names_the_setting(client):
    answer = client.post("/agents/register", json={**AGENT, "endpoints": {"http": "http://10.0.0.1:9002"}})
    assert "AITBC_ALLOW_AGENT_CIDRS" in answer.json["detail"]
    answer = client.post("/agents/register", json={**AGENT, "secret": "sssssssssssssssssssssssssssssss"})
    assert "AITBC_SECRET_KEY" in answer.json["detail"]


def test_an_endpoint_of_a_kind_that_is_not_called_is_kept(client):
    client.post("/agents/register", json={**AGENT, "endpoints": {"ws": "ws://10.0.0.1:1"}})
    assert client.get("/agents/a").json["agent"]["endpoints"] == {"ws": "ws://10.0.0.1:1"}


def test_a_secret_never_comes_back(redis_url, ledger):
    app = create_app(Settings(redis_url=redis_url, secret_key="A" * 43 + "="), ledger)
    client = app.test_client()
    assert client.post("/agents/register", json={**AGENT, "secret": "hush-hush"}).status_code == 200
    answer = client.get("/agents/a")
    assert answer.json["agent"]["has_secret"] is True
    assert "hush" not in answer.text
    assert 'secret"' not in answer.text.replace("has_secret", "")
    assert b"hush-hush" not in b"".join(ledger.redis.hgetall("agent:a").values())


QUERIES = [
    "/tasks/t?wait=x",
    "/tasks/t?wait=nan",
    "/tasks/t?wait=inf",
    "/tasks/t?wait=-1",
    "/tasks/t?wait=61",
    "/tasks?limit=0",
    "/tasks?limit=201",
    "/tasks?limit=x",
    "/tasks?state=asleep",
    "/tasks?cursor=%21",
    "/tasks?cursor=x",
    "/tasks/dead?cursor=AAAA",
    "/agents?limit=1001",
    "/agents?cursor=x",
]


@pytest.mark.parametrize("path", QUERIES)
def test_wrong_queries(client, submit, path):
    submit("t")
    shaped(client.get(path), 422)


@pytest.mark.parametrize("path", ["/tasks?priority=soon", "/tasks/dead?priority="])
def test_invalid_priorities_of_queries(client, path):
    assert shaped(client.get(path), 400)["message"].startswith("Invalid priority: ")


@pytest.mark.parametrize("path", ["/tasks/queues/soon/clear", "/tasks/queues/soon/pause", "/tasks/queues/%0a/resume"])
def test_invalid_priorities_of_paths(client, path):
    assert shaped(client.post(path), 400)["message"].startswith("Invalid priority: ")


@pytest.mark.parametrize(
    "body", [{"status": None}, {}, {"status": "active", "load_metrics": {"cpu": "x"}}, {"status": "active", "load_metrics": []}]
)
def test_wrong_statuses(client, register, body):
    register()
    shaped(client.put("/agents/a1/status", json=body), 422)


@pytest.mark.parametrize("path", ["/nowhere", "/agents//x", "/v1/v1/health", "/agents/a/b/c", "/static/x", "/openapi", "/console"])
def test_unknown_paths(client, path):
    shaped(client.get(path), 404)


def test_wrong_methods_say_which_are_allowed(client):
    answer = client.delete("/health")
    shaped(answer, 405)
    assert "GET" in answer.headers["Allow"]


def test_a_body_that_is_too_large(client, keys):
    before = keys()
    big = b'{"task_data":{"a":"' + b"x" * (1 << 20) + b'"}}'
    shaped(client.post("/tasks/submit", data=big), 413)
    chunked = client.post(
        "/tasks/submit",
        input_stream=io.BytesIO(big),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    shaped(chunked, 413)
    assert keys() == before


def test_headers_that_are_too_large(client):
    shaped(client.get("/health", headers={f"X-{n}": "y" * 8000 for n in range(9)}), 431)


def test_the_clients_request_id_is_used_when_it_can_be(client):
    assert client.get("/health", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert client.get("/health", headers={"X-Request-Id": "a b<>"}).headers["X-Request-Id"] != "a b<>"


def test_what_clients_sent_is_cut_in_details(client):
    assert len(client.post("/tasks/submit", json={**TASK, "priority": "x" * 10_000}).json["detail"]) < 600


def test_a_bug_is_a_500_without_its_inside(client, monkeypatch, caplog):
    monkeypatch.setattr(views, "digest", lambda _body: 1 / 0)
    problem = shaped(client.post("/tasks/submit", json=TASK), 500)
    assert "ZeroDivision" not in json.dumps(problem)
    assert "ZeroDivisionError" in caplog.text


def test_an_outage_is_503_and_one_line(redis_url, caplog):
    class Away:
        settings = Settings(redis_url=redis_url)
        here = False

        def run(self, step):
            if self.here:
                return step.parse([])
            raise LedgerAway("the ledger does not answer", retry_after=2)

        def ping(self):
            raise LedgerAway("the ledger does not answer", retry_after=2)

    ledger = Away()
    client = create_app(ledger.settings, ledger).test_client()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            answer = client.get("/agents/a")
            shaped(answer, 503)
            assert answer.headers["Retry-After"] == "2"
        shaped(client.get("/ready"), 503)
        ledger.here = True
        shaped(client.get("/agents/a"), 404)
    assert [record.getMessage()[:21] for record in caplog.records if record.name.endswith("once")] == [
        "the ledger is away: t",
        "the ledger is back af",
    ]
