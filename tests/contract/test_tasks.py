"""Submit, ids, repeats, waiting, dead letters."""

import threading
import time

import pytest

from aitbc.ledger import redis_state
from aitbc.settings import Settings
from aitbc.web import create_app
from aitbc.web import tasks as views


def post(client, path, body=None, **headers):
    return client.post(path, json=body, headers=headers)


def test_a_task_object(client, register, submit):
    register()
    task_id = submit(requirements={"capabilities": ["b", "a", "a"]}, run_timeout=5, max_attempts=1, idempotent=True)
    task = client.get(f"/tasks/{task_id}").json["task"]
    assert set(task) >= {
        *("task_id", "state", "priority", "requirements", "task_data", "result", "error", "agent_id", "attempts", "progress"),
        *("submitted_at", "ended_at", "run_at", "max_attempts", "deadline"),
    }
    assert task["requirements"] == {"capabilities": ["a", "b"]}
    assert (task["task_data"], task["state"], task["max_attempts"]) == ({"n": 1}, "queued", 1)


def test_a_task_shows_its_affinity_key(client, register, submit):
    """In every place that shows tasks; null when none was given."""
    register()
    keyed, plain = submit(affinity_key="customer 7|é"), submit()
    assert client.get(f"/tasks/{keyed}").json["task"]["affinity_key"] == "customer 7|é"
    assert client.get(f"/tasks/{plain}").json["task"]["affinity_key"] is None
    listed = {task["task_id"]: task["affinity_key"] for task in client.get("/tasks").json["tasks"]}
    assert listed == {keyed: "customer 7|é", plain: None}
    shown = client.get("/openapi.json").json["components"]["schemas"]["Task"]
    assert {"type": "string"} in shown["properties"]["affinity_key"]["anyOf"]


def test_a_task_shows_its_timeouts_and_idempotent(client, register, submit):
    """Also the defaults, which its record leaves out, and after its end."""
    register()
    told = {"run_timeout": 0.25, "queue_timeout": 86_400.5, "idempotent": True}
    usual = {"run_timeout": 300, "queue_timeout": None, "idempotent": False}
    given, plain, same = submit(**told), submit(), submit(**usual)
    for task_id, expected in ((given, told), (plain, usual), (same, usual)):
        assert expected.items() <= client.get(f"/tasks/{task_id}").json["task"].items()
    listed = {task["task_id"]: {field: task[field] for field in told} for task in client.get("/tasks").json["tasks"]}
    assert listed == {given: told, plain: usual, same: usual}
    assert post(client, f"/tasks/{given}/cancel").json["status"] == "success"
    assert told.items() <= client.get(f"/tasks/{given}").json["task"].items()
    shown = client.get("/openapi.json").json["components"]["schemas"]["Task"]
    assert {"run_timeout", "queue_timeout", "idempotent"} <= set(shown["required"])
    assert shown["properties"]["run_timeout"]["type"] == "number"
    assert {"type": "number"} in shown["properties"]["queue_timeout"]["anyOf"]
    assert shown["properties"]["idempotent"]["type"] == "boolean"


@pytest.mark.parametrize("data", [{"a": [], "b": {}, "n": 2**70, "f": 1.5, "s": "ä\u0000\u2028\U0001f600", "deep": [[[[]]]]}, {"": None}])
def test_task_data_comes_back_as_it_went_in(client, data):
    answer = post(client, "/tasks/submit", {"task_data": data})
    assert client.get(answer.headers["Location"]).json["task"]["task_data"] == data


@pytest.mark.parametrize("body", [{"run_at": "2099-01-01T00:00:00Z"}, {"run_at": 4_000_000_000}, {"delay": 3600}])
def test_a_later_task_is_scheduled(client, submit, body):
    task = client.get(f"/tasks/{submit(**body)}").json["task"]
    assert task["state"] == "scheduled"
    assert task["run_at"].endswith("+00:00")


def test_the_same_again_is_the_same_task(client):
    body = {"task_id": "t1", "task_data": {"b": 1, "a": 2}}
    first = post(client, "/tasks/submit", body)
    again = client.post("/tasks/submit", data=b'{ "task_data": {"a":2, "b":1}, "task_id":"t1" }')
    assert again.json == first.json
    other = post(client, "/tasks/submit", {**body, "priority": "high"})
    assert (other.status_code, other.json["title"]) == (409, "Conflict")


def test_an_idempotency_key_finds_its_task(client):
    first = post(client, "/tasks/submit", {"task_data": {}}, **{"Idempotency-Key": "k 1"})
    again = post(client, "/tasks/submit", {"task_data": {}}, **{"Idempotency-Key": "k 1"})
    assert again.json == first.json
    assert post(client, "/tasks/submit", {"task_data": {"x": 1}}, **{"Idempotency-Key": "k 1"}).status_code == 409
    assert len(client.get("/tasks").json["tasks"]) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"])
def test_an_unusable_key_is_refused(client, keys, key):
    before = keys()
    assert post(client, "/tasks/submit", {"task_data": {}}, **{"Idempotency-Key": key}).status_code == 422
    assert keys() == before


def test_listing(client, submit, register, begin):
    register()
    for n in range(5):
        submit(f"t{n}", priority="low" if n % 2 else "high")
    begin("t0")
    assert [task["task_id"] for task in client.get("/tasks").json["tasks"]] == ["t4", "t3", "t2", "t1", "t0"]
    assert [task["task_id"] for task in client.get("/tasks?priority=Low").json["tasks"]] == ["t3", "t1"]
    assert [task["task_id"] for task in client.get("/tasks?agent_id=a1").json["tasks"]] == ["t0"]
    assert client.get("/tasks?state=running").json["count"] == 1
    page = client.get("/tasks?limit=3").json
    rest = client.get("/tasks", query_string={"limit": 3, "cursor": page["next_cursor"]}).json
    assert [task["task_id"] for task in rest["tasks"]] == ["t1", "t0"]


def test_cancel_is_idempotent_and_retry_reopens(client, submit):
    submit("t1")
    assert post(client, "/tasks/t1/retry").status_code == 409
    for _ in range(2):
        assert post(client, "/tasks/t1/cancel").json["state"] == "cancelled"
    first = post(client, "/tasks/t1/retry", None, **{"Idempotency-Key": "r1"})
    assert first.json["state"] in {"queued", "waiting"}
    assert post(client, "/tasks/t1/retry", None, **{"Idempotency-Key": "r1"}).status_code == 200
    assert client.get("/tasks/t1").json["task"]["retries"] == 1
    assert post(client, "/tasks/nothing/cancel").status_code == 404
    assert post(client, "/tasks/nothing/retry").status_code == 404


def test_wait_answers_when_the_task_ends(app, client, submit):
    submit("t1")
    threading.Timer(0.4, lambda: app.test_client().post("/tasks/t1/cancel")).start()
    began = time.monotonic()
    answer = client.get("/tasks/t1?wait=10")
    assert answer.json["task"]["state"] == "cancelled"
    assert 0.3 < time.monotonic() - began < 2
    assert "Retry-After" not in answer.headers


def test_wait_ends_with_its_time_and_an_ended_task_does_not_wait(client, submit):
    submit("t1")
    began = time.monotonic()
    assert client.get("/tasks/t1?wait=0.3").json["task"]["state"] == "queued"
    assert 0.25 < time.monotonic() - began < 1.5
    post(client, "/tasks/t1/cancel")
    began = time.monotonic()
    client.get("/tasks/t1?wait=30")
    assert time.monotonic() - began < 0.25


def test_too_many_waiters_get_the_task_as_it_is(redis_url, ledger, submit):
    app = create_app(Settings(redis_url=redis_url, held_requests=1), ledger)
    submit("t1")
    first = threading.Thread(target=lambda: app.test_client().get("/tasks/t1?wait=1"))
    first.start()
    time.sleep(0.2)
    answer = app.test_client().get("/tasks/t1?wait=30")
    assert (answer.status_code, answer.headers["Retry-After"]) == (200, "1")
    first.join()


def test_nothing_is_accepted_when_memory_is_nearly_full(client, keys, monkeypatch):
    monkeypatch.setattr(views, "look", lambda _ledger: redis_state.RedisState("7", [], [], 0.8))
    before = keys()
    answer = post(client, "/tasks/submit", {"task_data": {}})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert keys() == before


def test_dead_letters(client, register, submit, kill):
    register()
    for n in range(4):
        submit(f"t{n}", priority="low" if n else "high")
        kill(f"t{n}")
    assert client.get("/tasks/dead").json["count"] == 4
    assert client.get("/tasks/dead?priority=high").json["count"] == 1
    assert client.get("/tasks/dead?error_code=poison").json["count"] == 0
    assert client.get("/tasks/dead?error_code=agent_failed").json["tasks"][0]["error"] == {
        "code": "agent_failed",
        "message": "no",
        "agent_id": "a1",
    }
    answer = post(client, "/tasks/dead/retry", {"task_ids": ["t0", "t0", "nothing", "not an id"]}).json
    assert (answer["retried_count"], answer["skipped"]) == (1, ["nothing", "not an id"])
    assert post(client, "/tasks/dead/drop", {"priority": "high"}).json["dropped_count"] == 0
    assert post(client, "/tasks/dead/drop", {"task_ids": ["t1"]}).json["dropped_count"] == 1
    assert client.get("/tasks/t1").status_code == 404
    answer = post(client, "/tasks/dead/retry", {"all": True}).json
    assert (answer["retried_count"], answer["more"], answer["next_cursor"]) == (2, False, None)
    assert client.get("/tasks/dead").json["count"] == 0


def test_many_dead_letters_take_many_calls(client, register, submit, kill, monkeypatch):
    from aitbc.web import dead

    monkeypatch.setattr(dead, "PAGE", 3)
    monkeypatch.setattr(dead, "MOST", 6)
    register()
    for n in range(8):
        kill(submit(f"t{n}"))
    first = post(client, "/tasks/dead/drop", {"all": True}).json
    assert (first["dropped_count"], first["more"]) == (6, True)
    second = post(client, "/tasks/dead/drop", {"all": True, "cursor": first["next_cursor"]}).json
    assert (second["dropped_count"], second["more"]) == (2, False)


def test_a_dead_letter_that_somebody_else_reopened_meanwhile_is_skipped(client, register, submit, kill, monkeypatch):
    from aitbc.errors import Conflict
    from aitbc.web import dead

    def late(*_):
        raise Conflict("task t1 is running")

    register()
    kill(submit("t1"))
    monkeypatch.setattr(dead, "reopen", late)
    answer = post(client, "/tasks/dead/retry", {"task_ids": ["t1"]}).json
    assert (answer["retried_count"], answer["skipped"]) == (0, ["t1"])
    assert post(client, "/tasks/dead/retry", {"all": True}).json["retried_count"] == 0


@pytest.mark.parametrize("body", [{}, {"all": False}, {"all": True, "task_ids": ["t"]}, {"all": True, "priority": "low"}, {"task_ids": []}])
def test_dead_letters_are_chosen_in_one_way(client, body):
    assert post(client, "/tasks/dead/drop", body).status_code == 422
