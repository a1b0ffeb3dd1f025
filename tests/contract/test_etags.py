"""ETag, If-None-Match and If-Match on agents and tasks; `Prefer: wait=n`."""

import threading
import time

import pytest

from aitbc.web.requests import waits

CHANGES = [
    ("put", "/agents/a1/status", {"status": "busy"}),
    ("post", "/agents/a1/drain", None),
    ("delete", "/agents/a1", None),
]


def tag(client, path):
    return client.get(path).headers["ETag"]


@pytest.mark.parametrize("path", ["/agents/a1", "/tasks/t1"])
def test_the_same_again_is_304(client, register, submit, path):
    register()
    submit("t1")
    seen = client.get(path)
    assert seen.headers["ETag"].startswith('"')
    again = client.get(path, headers={"If-None-Match": f'"x", {seen.headers["ETag"]}'})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", seen.headers["ETag"])
    assert client.get(path, headers={"If-None-Match": "W/" + seen.headers["ETag"]}).status_code == 304
    assert client.get(path, headers={"If-None-Match": '"other"'}).json["status"] == "success"


def test_whatever_is_shown_is_in_the_tag(client, register, submit):
    register()
    submit("t1")
    agent, task = tag(client, "/agents/a1"), tag(client, "/tasks/t1")
    client.post("/agents/a1/heartbeat", json={"load_metrics": {"cpu": 0.5}})
    client.post("/tasks/t1/cancel")
    assert client.get("/agents/a1", headers={"If-None-Match": agent}).status_code == 200
    assert client.get("/tasks/t1", headers={"If-None-Match": task}).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_an_agent_changed_meanwhile_is_412(client, register, shaped, method, path, body):
    register()
    seen = tag(client, "/agents/a1")
    register(capabilities=["new"])
    before = client.get("/agents/a1").json["agent"]
    problem = shaped(getattr(client, method)(path, json=body, headers={"If-Match": seen}), 412)
    assert "version 2" in problem["detail"]
    assert client.get("/agents/a1").json["agent"] == before
    assert getattr(client, method)(path, json=body, headers={"If-Match": f"{seen}, {tag(client, '/agents/a1')}"}).status_code == 200


def test_a_heartbeat_is_no_change_and_a_repeat_is_no_conflict(client, register):
    register()
    seen = tag(client, "/agents/a1")
    client.post("/agents/a1/heartbeat", json={"load_metrics": {"cpu": 0.5}})
    for _ in range(2):
        assert client.post("/agents/a1/drain", headers={"If-Match": seen}).json["new_status"] == "draining"
    assert client.get("/agents/a1").json["agent"]["version"] == 2
    assert client.post("/agents/a1/resume", headers={"If-Match": "*"}).status_code == 200


def test_a_task_changed_meanwhile_is_412(client, register, submit, begin, shaped):
    register()
    submit("t1")
    seen = tag(client, "/tasks/t1")
    _, token = begin("t1")
    assert "running.1.0" in shaped(client.post("/tasks/t1/cancel", headers={"If-Match": seen}), 412)["detail"]
    client.post("/tasks/t1/fail", json={"error": "no"}, headers={"Authorization": f"Bearer {token}"})
    shaped(client.post("/tasks/t1/retry", headers={"If-Match": seen}), 412)
    assert client.get("/tasks/t1").json["task"]["state"] == "failed"
    now = {"If-Match": tag(client, "/tasks/t1"), "Idempotency-Key": "again"}
    for _ in range(2):
        assert client.post("/tasks/t1/retry", headers=now).status_code == 200
    now = {"If-Match": tag(client, "/tasks/t1")}
    for _ in range(2):
        assert client.post("/tasks/t1/cancel", headers=now).json["state"] == "cancelled"


def test_unknown_things_and_foreign_tags(client, register, submit, shaped):
    register()
    submit("t1")
    shaped(client.post("/tasks/nobody/cancel", headers={"If-Match": '"x"'}), 404)
    shaped(client.post("/agents/nobody/drain", headers={"If-Match": '"x"'}), 404)
    for foreign in ('"x"', "", "x-y", "W/" + tag(client, "/agents/a1"), ", ".join(f'"{n}-x"' for n in range(100, 400))):
        shaped(client.post("/agents/a1/drain", headers={"If-Match": foreign}), 412)
        shaped(client.post("/tasks/t1/cancel", headers={"If-Match": foreign}), 412)


def test_two_at_once_and_one_wins(app, client, register):
    """Decided in the step: of many who saw the same version one changes it."""
    register()
    seen, answers = tag(client, "/agents/a1"), []

    def change(status):
        mine = app.test_client()
        answers.append((status, mine.put("/agents/a1/status", json={"status": status}, headers={"If-Match": seen}).status_code))

    threads = [threading.Thread(target=change, args=(status,)) for status in ("busy", "maintenance", "error", "inactive") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = client.get("/agents/a1").json["agent"]
    assert winner["version"] == 2
    assert {status for status, code in answers if code == 200} == {winner["status"]}


PREFERS = [
    (["wait=5"], 5),
    (["respond-async, wait=10"], 10),
    (["respond-async", 'WAIT = "7"; x=1'], 7),
    (["wait=999"], 60),
    (["wait=-1"], 0),
    (["wait=soon, foo"], 0),
    (["waiting=3"], 0),
    ([""], 0),
]


@pytest.mark.parametrize(("sent", "seconds"), PREFERS)
def test_prefer(sent, seconds):
    assert waits(sent) == seconds


def test_prefer_waits_as_the_query_does(client, submit):
    submit("t1")
    began = time.monotonic()
    answer = client.get("/tasks/t1", headers={"Prefer": "wait=1"})
    assert time.monotonic() - began >= 1
    assert (answer.headers["Preference-Applied"], answer.headers["Vary"]) == ("wait=1", "Prefer")
    began = time.monotonic()
    answer = client.get("/tasks/t1?wait=0", headers={"Prefer": "wait=30"})
    assert time.monotonic() - began < 10
    assert "Preference-Applied" not in answer.headers
