"""The client against a stand-in of the API."""

import json
import socket
import time

import pytest
from click.testing import CliRunner

from aitbc.cli import main
from aitbc.client import ApiError, Client, Unreachable, WaitTimedOut, nouns
from aitbc.errors import Fault, Invalid


@pytest.fixture
def client(coordinator):
    return Client(coordinator.url, timeout=3)


OK = (200, {"status": "success", "agent": {"agent_id": "a"}, "task": {"task_id": "t"}, "stats": {"tasks_completed": 1}})
CALLS = [
    (lambda c: c.agents.show("a b"), "GET", "/agents/a%20b", None),
    (lambda c: c.agents.list(limit=5), "GET", "/agents?limit=5", None),
    (lambda c: c.agents.discover(status="active", tags=None), "POST", "/agents/discover", {"status": "active"}),
    (lambda c: c.agents.status("a", "busy", {"cpu": 0.5}), "PUT", "/agents/a/status", {"status": "busy", "load_metrics": {"cpu": 0.5}}),
    (lambda c: c.agents.heartbeat("a", leases=["t:1"]), "POST", "/agents/a/heartbeat", {"leases": ["t:1"]}),
    (lambda c: c.agents.drain("a"), "POST", "/agents/a/drain", None),
    (lambda c: c.agents.resume("a"), "POST", "/agents/a/resume", None),
    (lambda c: c.agents.remove("a"), "DELETE", "/agents/a", None),
    (lambda c: c.tasks.submit({"n": 1}, "high", delay=2), "POST", "/tasks/submit", {"task_data": {"n": 1}, "priority": "high", "delay": 2}),
    (lambda c: c.tasks.submit_batch([{"task_data": {}}]), "POST", "/tasks/submit/batch", {"tasks": [{"task_data": {}}]}),
    (lambda c: c.tasks.show("t"), "GET", "/tasks/t", None),
    (lambda c: c.tasks.list(state="failed", cursor=None), "GET", "/tasks?state=failed", None),
    (lambda c: c.tasks.cancel("t"), "POST", "/tasks/t/cancel", None),
    (lambda c: c.tasks.retry("t"), "POST", "/tasks/t/retry", None),
    (lambda c: c.queues.list(), "GET", "/tasks/queues", None),
    (lambda c: c.queues.stats(), "GET", "/tasks/queues/stats", None),
    (lambda c: c.queues.pause("low"), "POST", "/tasks/queues/low/pause", None),
    (lambda c: c.queues.resume("low"), "POST", "/tasks/queues/low/resume", None),
    (lambda c: c.queues.clear("low"), "POST", "/tasks/queues/low/clear", None),
    (lambda c: c.dead.list(limit=1), "GET", "/tasks/dead?limit=1", None),
    (lambda c: c.dead.retry(task_ids=["t"]), "POST", "/tasks/dead/retry", {"task_ids": ["t"]}),
    (lambda c: c.dead.drop(task_ids=["t"]), "POST", "/tasks/dead/drop", {"task_ids": ["t"]}),
    (lambda c: c.strategy("round_robin"), "PUT", "/load-balancer/strategy?strategy=round_robin", None),
    (lambda c: c.stats(), "GET", "/tasks/status", None),
    (lambda c: c.ready(), "GET", "/ready", None),
    (lambda c: c.health(), "GET", "/health", None),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS, ids=[f"{method} {path}" for _, method, path, _ in CALLS])
def test_each_method_is_one_call(coordinator, client, call, method, path, body):
    coordinator.on(method, ".*", OK)
    call(client)
    assert coordinator.calls == [(method, path, body)]


def test_register_leaves_out_what_was_not_said(coordinator, client):
    coordinator.on("POST", "/agents/register", (200, {"status": "success"}))
    client.agents.register("a", endpoints={"http": "http://h"}, capabilities=("x",))
    [(_, _, body)] = coordinator.calls
    assert body == {
        "agent_id": "a",
        "agent_type": "worker",
        "endpoints": {"http": "http://h"},
        "capabilities": ["x"],
        "services": [],
        "tags": [],
        "metadata": {},
    }


def test_objects_come_without_their_envelope(coordinator, client):
    coordinator.on("GET", ".*", OK)
    assert client.agents.show("a") == {"agent_id": "a"}
    assert client.tasks.show("t") == {"task_id": "t"}
    assert client.stats() == {"tasks_completed": 1}


def test_an_idempotency_key_is_a_header(coordinator, client):
    coordinator.on("POST", ".*", OK)
    client.tasks.submit({}, idempotency_key="k1")
    assert coordinator.headers["Idempotency-Key"] == "k1"


def test_a_path_in_the_url_is_kept(coordinator):
    coordinator.on("GET", "/v1/ready", (200, {}))
    assert Client(coordinator.url + "/v1/").ready() == {}


def test_a_problem_is_an_error_with_everything_in_it(coordinator, client):
    status, body, _ = coordinator.problem(422, "Wrong fields")
    errors = [{"pointer": "/task_data", "detail": "is needed"}]
    coordinator.on("POST", ".*", (status, {**body, "errors": errors}, {"Retry-After": "7"}))
    with pytest.raises(ApiError) as caught:
        client.tasks.submit({})
    error = caught.value
    assert (error.status, error.detail, error.title, error.request_id, error.retry_after) == (422, "Wrong fields", "T", "r1", 7)
    assert error.faults == [Fault("/task_data", "is needed")]
    assert str(error) == "Wrong fields; /task_data: is needed"


@pytest.mark.parametrize(
    ("answer", "text"), [((502, b"<html>"), "answered 502"), ((200, b"<html>"), "is this the coordinator"), ((302, {}), "302")]
)
def test_what_is_no_coordinator(coordinator, client, answer, text):
    coordinator.on("GET", ".*", answer)
    with pytest.raises(ApiError, match=text):
        client.ready()


def test_unreachable(coordinator, client):
    coordinator.down()
    with pytest.raises(Unreachable, match=f"The coordinator at {coordinator.url} cannot be reached: Connection refused"):
        client.ready()


def test_silence_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(Unreachable, match="timed out"):
            client.ready()


@pytest.mark.parametrize("url", ["", "127.0.0.1:9001", "ftp://h", "http://"])
def test_a_url_that_is_none(url):
    with pytest.raises(Invalid, match="is no coordinator's URL"):
        Client(url)


def test_wait_asks_until_the_task_has_ended(coordinator, client):
    coordinator.on("GET", "/tasks/t1", coordinator.task("running"))
    coordinator.on("GET", r"/tasks/t1\?wait=\d+", coordinator.task("running"), coordinator.task("completed", result=1))
    assert client.tasks.wait("t1", timeout=30)["result"] == 1
    assert coordinator.count("GET", r"/tasks/t1\?wait=(29|30)") == 2


def test_wait_sits_out_refusals_and_outages(coordinator, client):
    full = coordinator.problem(503, "Redis away", **{"Retry-After": "0"})
    coordinator.on("GET", "/tasks/t1", coordinator.task("queued"))
    broken = (200, b"", {"Content-Length": "5"})
    coordinator.on("GET", r"/tasks/t1\?.*", full, broken, coordinator.task("queued"), coordinator.task("failed"))
    assert client.tasks.wait("t1")["state"] == "failed"


def test_wait_honours_retry_after_when_too_many_wait(coordinator, client):
    coordinator.on("GET", "/tasks/t1", coordinator.task("queued"))
    coordinator.on("GET", r"/tasks/t1\?.*", (*coordinator.task("queued"), {"Retry-After": "1"}), coordinator.task("completed"))
    begin = time.monotonic()
    client.tasks.wait("t1", timeout=20)
    assert time.monotonic() - begin >= 1


def test_wait_times_out_with_the_task(coordinator, client):
    coordinator.on("GET", "/tasks/t1.*", coordinator.task("waiting"))
    begin = time.monotonic()
    with pytest.raises(WaitTimedOut, match=r"Task t1 is still waiting after 0\.3 s") as caught:
        client.tasks.wait("t1", timeout=0.3)
    assert caught.value.task["state"] == "waiting"
    assert 0.3 <= time.monotonic() - begin < 2


def test_wait_for_what_is_not_there(coordinator, client):
    with pytest.raises(ApiError, match="not found"):
        client.tasks.wait("t1")
    coordinator.on("GET", "/tasks/t1", coordinator.task("running"))
    with pytest.raises(ApiError, match="not found"):  # trimmed while we waited
        client.tasks.wait("t1")


STATE = b'id: 1-0\nevent: running\ndata: {"task_id":"t","state":"running","agent_id":"a"}\n\n'
END = b'id: 2-0\nevent: failed\ndata: {"task_id":"t","at":"now","state":"failed"}\n\n'
STREAM = {"Content-Type": "text/event-stream"}


def test_events_go_on_behind_the_last_one(client, coordinator, monkeypatch):
    """The connection ends, the API is busy once, then goes on: each event once, by its Last-Event-ID."""
    monkeypatch.setattr(nouns, "RECONNECT", 0.01)
    answers = [(200, b"retry: 1\n\n: keep-alive\n\n" + STATE, STREAM), (503, {"detail": "away"}, {}), (200, END, STREAM)]
    sent = []

    def find(_method, _path, headers):
        sent.append(headers.get("Last-Event-ID"))
        return answers[len(sent) - 1]

    monkeypatch.setattr(coordinator, "find", find)
    events = list(client.tasks.events("t"))
    assert [(event.event_id, event.name) for event in events] == [("1-0", "running"), ("2-0", "failed")]
    assert sent == [None, "1-0", "1-0"]


def test_no_more_events_and_no_such_task(client, coordinator, monkeypatch):
    monkeypatch.setattr(coordinator, "find", lambda *_: (204, b"", {}))
    assert list(client.tasks.events("t")) == []
    monkeypatch.setattr(coordinator, "find", lambda *_: (404, {"detail": "Task t not found"}, {}))
    with pytest.raises(ApiError, match="Task t not found"):
        next(client.tasks.events("t"))


def test_watch_prints_a_line_an_event(coordinator, monkeypatch):
    monkeypatch.setattr(coordinator, "find", lambda *_: (200, STATE + END, STREAM))
    result = CliRunner().invoke(main, ["tasks", "watch", "t", "--url", coordinator.url])
    assert (result.exit_code, result.stdout) == (1, "t  running  a\nnow  t  failed\n")
    result = CliRunner().invoke(main, ["tasks", "watch", "t", "--json", "--url", coordinator.url])
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["running", "failed"]
