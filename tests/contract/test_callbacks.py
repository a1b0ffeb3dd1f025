"""Callbacks of agents that answered 202."""

import pytest

from aitbc.model.lease import new_token


@pytest.fixture
def begun(register, submit, begin):
    register()
    attempt, token = begin(submit("t1"))
    assert attempt.task_id == "t1"
    return token


@pytest.fixture
def call(client):
    def do(verb, token, body=None, task_id="t1"):
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return client.post(f"/tasks/{task_id}/{verb}", json=body, headers=headers)

    return do


def test_complete_and_its_repeats(client, begun, call):
    answer = call("complete", begun, {"result": {"x": [1]}})
    assert list(answer.json) == ["status", "task_id", "state", "timestamp"]
    assert answer.json["state"] == "completed"
    assert call("complete", begun, {"result": {"x": [1]}}).status_code == 200
    assert call("complete", begun, {"result": 2}).status_code == 409
    assert call("fail", begun, {"error": "late"}).status_code == 409
    task = client.get("/tasks/t1").json["task"]
    assert (task["result"], task["state"], task["agent_id"]) == ({"x": [1]}, "completed", "a1")
    assert task["attempts"][0]["outcome"] == "completed"


def test_complete_without_a_result(client, begun, call):
    assert call("complete", begun).json["state"] == "completed"
    assert client.get("/tasks/t1").json["task"]["result"] is None


@pytest.mark.parametrize(
    ("error", "message"), [("no", "no"), ({"message": "so", "x": 1}, "so"), ({"x": 1}, '{"x":1}'), (None, "the agent gave no reason")]
)
def test_fail_is_final(client, begun, call, error, message):
    assert call("fail", begun, {"error": error}).json["state"] == "failed"
    assert client.get("/tasks/t1").json["task"]["error"] == {"code": "agent_failed", "message": message, "agent_id": "a1"}


def test_a_retryable_failure_is_tried_again(client, begun, call):
    assert call("fail", begun, {"error": "busy", "retryable": True}).json["state"] not in {"failed", "completed"}
    assert client.get("/tasks/t1").json["task"]["attempts"][0]["error"] == "agent_failed"
    assert call("progress", begun, {}).status_code == 410


def test_progress(client, begun, call):
    answer = call("progress", begun, {"percent": 40, "message": "on it", "data": {"k": 1}, "other": 1})
    assert list(answer.json) == ["status", "task_id", "cancel", "expires_at", "timestamp"]
    assert answer.json["cancel"] is False
    assert answer.json["expires_at"] > answer.json["timestamp"]
    assert client.get("/tasks/t1").json["task"]["progress"] == {"percent": 40, "message": "on it", "data": {"k": 1}}


def test_progress_hears_of_a_cancel(client, begun, call):
    client.post("/tasks/t1/cancel")
    assert call("progress", begun, {"percent": 1}).json["cancel"] is True
    assert call("complete", begun, {"result": 1}).json["state"] == "cancelled"


@pytest.mark.parametrize("verb", ["complete", "fail", "progress"])
def test_unknown_task_and_wrong_token_look_alike(begun, call, verb):
    answers = [
        call(verb, new_token(), {}),
        call(verb, None, {}),
        call(verb, "", {}),
        call(verb, begun, {}, task_id="t2"),
        call(verb, begun, {}, task_id="t1:1"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    details = {answer.json["detail"].replace("t1:1", "t").replace("t1", "t").replace("t2", "t") for answer in answers}
    assert details == {"Task t not found"}


@pytest.mark.parametrize(
    ("verb", "body"), [("progress", {"percent": 101}), ("progress", {"percent": "x"}), ("fail", {"retryable": "maybe"}), ("complete", [1])]
)
def test_wrong_fields(begun, call, verb, body):
    assert call(verb, begun, body).status_code == 422
