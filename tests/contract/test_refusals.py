"""What is wrong is refused in one shape, never with a 500, and leaves nothing behind."""

import io
import json
import logging

import pytest

from aitbc.errors import LedgerAway
from aitbc.settings import Settings
from aitbc.web import create_app
from aitbc.web import tasks as views

TASK = {"task_data": {}}
AGENT = {"agent_id": "a", "agent_type": "worker"}


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
    *({"endpoints": {kind: "http://10.0.0.1:1"}} for kind in ("a2a", "openai", "ollama")),
    {"endpoints": {"http": "http://127.0.0.1:9002", "ollama": "http://10.0.0.1:1"}},
    {"endpoints": {"http": "http://127.0.0.1:9001"}},
    {"metadata": []},
    {"max_concurrency": 0},
    {"max_concurrency": 10_001},
    {"weight": 0},
    {"weight": "heavy"},
    {"heartbeat_timeout": -1},
    {"secret": "a-secret-and-no-key"},
]


@pytest.mark.parametrize("fields", AGENTS, ids=ascii)
def test_wrong_agents(shaped, client, keys, fields):
    before = keys()
    shaped(client.post("/agents/register", json={**AGENT, **fields}), 422)
    assert keys() == before


def test_what_is_refused_names_the_setting(client):
    answer = client.post("/agents/register", json={**AGENT, "endpoints": {"http": "http://10.0.0.1:9002"}})
    assert "AITBC_ALLOW_AGENT_CIDRS" in answer.json["detail"]
    answer = client.post("/agents/register", json={**AGENT, "secret": "sssssssssssssssssssssssssssssss"})
    assert "AITBC_SECRET_KEY" in answer.json["detail"]


def test_a_refused_endpoint_is_named(client):
    answer = client.post("/agents/register", json={**AGENT, "endpoints": {"ollama": "http://10.0.0.1:1"}})
    assert answer.json["detail"].startswith("endpoints.ollama: 10.0.0.1: neither public")


def test_what_a_name_led_to_is_for_the_log_alone(with_settings, caplog):
    client = with_settings(allow_agent_cidrs="10.0.0.0/8")
    caplog.set_level("INFO", "aitbc")
    answer = client.post("/agents/register", json={**AGENT, "endpoints": {"http": "http://localhost:9002"}})
    assert answer.status_code == 422
    assert answer.json["detail"].startswith("endpoints.http: localhost: neither public nor inside AITBC_ALLOW_AGENT_CIDRS")
    assert not any(address in answer.text for address in ("127.0.0.1", "::1"))
    assert "localhost has the address" in caplog.text


@pytest.mark.parametrize("secret", ["two words and more", "a\r\nX-Header: b and more", "schlüssel-schlüssel"])
def test_a_secret_that_is_no_bearer_token(redis_url, ledger, secret):
    client = create_app(Settings(redis_url=redis_url, secret_key="A" * 43 + "="), ledger).test_client()
    answer = client.post("/agents/register", json={**AGENT, "secret": secret, "endpoints": {"openai": "http://127.0.0.1:1"}})
    assert (answer.status_code, "visible ASCII" in answer.json["detail"]) == (422, True)


def test_an_endpoint_of_a_kind_that_is_not_called_is_kept(client):
    client.post("/agents/register", json={**AGENT, "endpoints": {"ws": "ws://10.0.0.1:1"}})
    assert client.get("/agents/a").json["agent"]["endpoints"] == {"ws": "ws://10.0.0.1:1"}


def test_a_secret_of_fifteen_characters_is_refused_and_of_sixteen_taken(shaped, redis_url, ledger, keys):
    client = create_app(Settings(redis_url=redis_url, secret_key="A" * 43 + "="), ledger).test_client()
    before = keys()
    for short in ("", "s", "s" * 15):
        problem = shaped(client.post("/agents/register", json={**AGENT, "secret": short}), 422)
        assert [error["pointer"] for error in problem["errors"]] == ["/secret"]
        assert "at least 16 characters" in problem["detail"]
    assert keys() == before
    assert client.post("/agents/register", json={**AGENT, "secret": "s" * 16}).status_code == 200


def test_a_secret_never_comes_back(redis_url, ledger):
    app = create_app(Settings(redis_url=redis_url, secret_key="A" * 43 + "="), ledger)
    client = app.test_client()
    assert client.post("/agents/register", json={**AGENT, "secret": "hush-hush-hush-hush"}).status_code == 200
    answer = client.get("/agents/a")
    assert answer.json["agent"]["has_secret"] is True
    assert "hush" not in answer.text
    assert 'secret"' not in answer.text.replace("has_secret", "")
    assert b"hush-hush-hush-hush" not in b"".join(ledger.redis.hgetall("agent:a").values())


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
def test_wrong_queries(shaped, client, submit, path):
    submit("t")
    shaped(client.get(path), 422)


@pytest.mark.parametrize("path", ["/tasks?priority=soon", "/tasks/dead?priority="])
def test_invalid_priorities_of_queries(shaped, client, path):
    assert shaped(client.get(path), 400)["message"].startswith("Invalid priority: ")


@pytest.mark.parametrize("path", ["/tasks/queues/soon/clear", "/tasks/queues/soon/pause", "/tasks/queues/%0a/resume"])
def test_invalid_priorities_of_paths(shaped, client, path):
    assert shaped(client.post(path), 400)["message"].startswith("Invalid priority: ")


@pytest.mark.parametrize(
    "body", [{"status": None}, {}, {"status": "active", "load_metrics": {"cpu": "x"}}, {"status": "active", "load_metrics": []}]
)
def test_wrong_statuses(shaped, client, register, body):
    register()
    shaped(client.put("/agents/a1/status", json=body), 422)


@pytest.mark.parametrize("path", ["/nowhere", "/agents//x", "/v1/v1/health", "/agents/a/b/c", "/static/x", "/openapi", "/console"])
def test_unknown_paths(shaped, client, path):
    shaped(client.get(path), 404)


def test_wrong_methods_say_which_are_allowed(shaped, client):
    answer = client.delete("/health")
    shaped(answer, 405)
    assert "GET" in answer.headers["Allow"]


def test_a_body_that_is_too_large(shaped, client, keys):
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


def test_headers_that_are_too_large(shaped, client):
    shaped(client.get("/health", headers={f"X-{n}": "y" * 8000 for n in range(9)}), 431)


def test_the_clients_request_id_is_used_when_it_can_be(client):
    assert client.get("/health", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert client.get("/health", headers={"X-Request-Id": "a b<>"}).headers["X-Request-Id"] != "a b<>"


def test_what_clients_sent_is_cut_in_details(client):
    assert len(client.post("/tasks/submit", json={**TASK, "priority": "x" * 10_000}).json["detail"]) < 600


def test_a_bug_is_a_500_without_its_inside(shaped, client, monkeypatch, caplog):
    monkeypatch.setattr(views, "digest", lambda _body: 1 / 0)
    problem = shaped(client.post("/tasks/submit", json=TASK), 500)
    assert "ZeroDivision" not in json.dumps(problem)
    assert "ZeroDivisionError" in caplog.text


def test_an_outage_is_503_and_one_line(shaped, redis_url, caplog):
    class Away:
        settings = Settings(redis_url=redis_url, auth="off")
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


def test_a_request_is_a_line_at_debug_only(client, caplog):
    with caplog.at_level(logging.INFO):
        client.get("/health")
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG, logger="aitbc.web.app"):
        client.get("/health?token=hush")
    (record,) = caplog.records
    assert record.getMessage() == "GET /health 200"
    assert record.ms >= 0
