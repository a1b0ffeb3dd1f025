"""POST /tasks/submit/batch: each task is checked, stored and answered as if it had come alone."""

import json

import pytest

from aitbc.errors import LedgerAway
from aitbc.ledger import tasks as steps
from aitbc.settings import Settings
from aitbc.web import batch, create_app

PATH = "/tasks/submit/batch"
GOOD = {"task_data": {"n": 1}}
CASES = {
    "good": GOOD,
    "upper case": {**GOOD, "priority": "HIGH"},
    "later": {**GOOD, "delay": 60},
    "an id": {**GOOD, "task_id": "own"},
    "no data": {"priority": "high"},
    "no object": 7,
    "null": None,
    "no priority": {**GOOD, "priority": "soon"},
    "bad id": {**GOOD, "task_id": "a b"},
    "a path's word": {**GOOD, "task_id": "batch"},
    "both times": {**GOOD, "delay": 1, "run_at": 5},
    "two wrong fields": {**GOOD, "max_attempts": 0, "run_timeout": -1},
    "too many terms": {**GOOD, "requirements": {"tags": [str(n) for n in range(17)]}},
    "deep": {"task_data": json.loads('{"a":' * 64 + "1" + "}" * 64)},
}


def without(body, *names):
    return {name: value for name, value in body.items() if name not in names}


@pytest.mark.parametrize("case", CASES)
def test_each_result_is_what_the_task_alone_is_answered_with(client, ledger, case):
    alone = client.post("/tasks/submit", data=json.dumps(CASES[case]))
    ledger.redis.flushall()
    answer = client.post(PATH, json={"tasks": [GOOD, CASES[case], GOOD]})
    assert answer.status_code == 200, answer.text
    assert list(answer.json) == ["status", "results", "accepted_count", "refused_count", "timestamp"]
    mine = answer.json["results"][1]
    own = {"request_id", "submitted_at", "task_id"} if case != "an id" else {"request_id", "submitted_at"}
    assert without(mine, *own) == without(alone.json, *own)
    assert (answer.json["accepted_count"], answer.json["refused_count"]) == ((3, 0) if alone.status_code == 200 else (2, 1))
    assert mine["status"] == ("success" if alone.status_code == 200 else alone.status_code)


def test_a_thousand_in_their_order_with_a_job_each(client, ledger):
    bodies = [{"task_data": {"n": n}, "task_id": f"t{n}", "priority": "low" if n % 2 else "urgent"} for n in range(1000)]
    answer = client.post(PATH, json={"tasks": bodies})
    assert [result["task_id"] for result in answer.json["results"]] == [f"t{n}" for n in range(1000)]
    assert ledger.redis.zrange("tasks:waiting:any:0", 0, -1) == [f"t{n}".encode() for n in range(0, 1000, 2)]
    assert (ledger.redis.llen("urgent"), ledger.redis.llen("low")) == (500, 500)
    assert ledger.redis.llen("normal") == 0


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"tasks": [GOOD] * 1001}, "List should have at most 1000 items"),
        ({"tasks": []}, "List should have at least 1 item"),
        ({}, "Field required"),
        ({"tasks": GOOD}, "valid list"),
        ([GOOD], "must be a JSON object"),
    ],
)
def test_what_is_no_batch_stores_nothing(client, keys, shaped, body, detail):
    before = keys()
    assert detail in shaped(client.post(PATH, json=body), 422)["detail"]
    assert keys() == before


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_repeat_makes_no_second_task(client, ledger, headers):
    bodies = [{"task_data": {"n": n}, **({} if headers else {"task_id": f"t{n}"})} for n in range(60)]
    first, second = (client.post(PATH, json={"tasks": bodies}, headers=headers).json["results"] for _ in range(2))
    assert first == second
    assert int(ledger.redis.hget("stats", "submitted")) == 60
    other = [*bodies[:30], {"task_data": {"n": "another"}, **without(bodies[30], "task_data")}]
    third = client.post(PATH, json={"tasks": other}, headers=headers).json["results"]
    assert third[:30] == first[:30]
    assert (third[30]["status"], third[30]["title"]) == (409, "Conflict")


def test_the_same_id_twice_in_one_batch(client, ledger):
    one, again, other = ({"task_data": {"n": n}, "task_id": "t"} for n in (1, 1, 2))
    results = client.post(PATH, json={"tasks": [one, again, other]}).json["results"]
    assert results[0] == results[1]
    assert results[2]["status"] == 409
    assert int(ledger.redis.hget("stats", "submitted")) == 1


def test_no_header_meets_the_key_of_a_batch(client, ledger):
    client.post(PATH, json={"tasks": [GOOD]}, headers={"Idempotency-Key": "k"})
    assert client.post("/tasks/submit", json={"task_data": {"n": 2}}, headers={"Idempotency-Key": "k"}).status_code == 200
    assert int(ledger.redis.hget("stats", "submitted")) == 2


def test_a_full_ledger_takes_what_fits(redis_url, ledger):
    client = create_app(Settings(redis_url=redis_url, max_live_tasks=52), ledger).test_client()
    own = create_app(Settings(redis_url=redis_url, max_live_tasks=52)).test_client()
    results = own.post(PATH, json={"tasks": [GOOD] * 60}).json["results"]
    assert [result["status"] for result in results] == ["success"] * 52 + [429] * 8
    assert {result["retry_after"] for result in results[52:]} == {5}
    assert client.get("/tasks?limit=200").json["count"] == 52


def sized(length, count):
    """A batch of so many bytes: this many tasks."""
    share = length // count
    head, tail = b'{"task_data":{"a":"', b'"}}'
    tasks = [head + b"x" * (share - 1 - len(head) - len(tail)) + tail for _ in range(count)]
    body = b'{"tasks":[' + b",".join(tasks) + b"]}"
    return body + b" " * (length - len(body)) if len(body) <= length else body


def test_the_largest_batch_and_one_more(client, keys, shaped):
    before = keys()
    assert "16777216 bytes" in shaped(client.post(PATH, data=sized(1 << 24, 20) + b" "), 413)["detail"]
    assert keys() == before
    assert client.post(PATH, data=sized(1 << 24, 20)).json["accepted_count"] == 20


def test_the_largest_task_of_a_batch_and_one_more(client):
    fits = {"task_data": {"a": "ä" * (((1 << 20) - 22) // 2)}}
    size = len(json.dumps(fits, ensure_ascii=False, separators=(",", ":")).encode())
    assert (1 << 20) - 1 <= size <= 1 << 20
    larger = {"task_data": {"a": fits["task_data"]["a"] + "xx"}}
    results = client.post(PATH, data=json.dumps({"tasks": [fits, larger]}, ensure_ascii=False).encode()).json["results"]
    assert [results[0]["status"], results[1]["status"], results[1]["title"]] == ["success", 413, "Content too large"]


@pytest.mark.parametrize("data", [b'{"tasks":[{"task_data":{"a":NaN}}]}', b'{"tasks":[{"task_data":{"a":"\\ud800"}}]}', b'{"tasks":['])
def test_a_body_that_is_no_json_is_refused_whole(client, keys, shaped, data):
    before = keys()
    shaped(client.post(PATH, data=data), 400)
    assert keys() == before


def test_a_ledger_that_goes_away_half_way(client, ledger, monkeypatch):
    """The first 50 are stored and say so; the others say when to try again."""
    calls = []

    def run(step):
        calls.append(step)
        if len(calls) == 2:
            raise LedgerAway("the ledger (Redis) does not answer", retry_after=2)
        return ledger.run(step)

    monkeypatch.setattr(batch, "run", run)
    results = client.post(PATH, json={"tasks": [GOOD] * 120}).json["results"]
    assert [result["status"] for result in results] == ["success"] * 50 + [503] * 70
    assert results[50]["retry_after"] == 2
    assert int(ledger.redis.hget("stats", "submitted")) == 50
    assert len(calls) == 2


def test_a_ledger_that_is_away_is_503(shaped):
    gone = create_app(Settings(redis_url="redis://127.0.0.1:1/1")).test_client()
    answer = gone.post(PATH, json={"tasks": [GOOD] * 60})
    shaped(answer, 503)
    assert answer.headers["Retry-After"]


def test_fifty_tasks_a_script():
    assert steps.SUBMITS == 50
