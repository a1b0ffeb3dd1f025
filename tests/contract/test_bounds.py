"""Every bound of the API at its limit: what just fits passes, one more is a clear error and stores nothing (docs/bounds.md)."""

import threading
import time

import pytest

from aitbc.ledger import redis_state
from aitbc.web import app as application
from aitbc.web import requests

TASK = {"task_data": {}}
AGENT = {"agent_id": "a", "agent_type": "worker"}


def sized(length):
    head, tail = b'{"task_data":{"a":"', b'"}}'
    return head + b"x" * (length - len(head) - len(tail)) + tail


def nested(levels):
    """A body of so many levels: itself the first, task_data the second."""
    return b'{"task_data":' + b'{"a":' * (levels - 2) + b"{}" + b"}" * (levels - 2) + b"}"


FITS = {
    "body": ("/tasks/submit", sized(1 << 20), sized((1 << 20) + 1), 413),
    "depth": ("/tasks/submit", nested(requests.MAX_DEPTH), nested(requests.MAX_DEPTH + 1), 400),
}


@pytest.mark.parametrize("what", FITS)
def test_the_largest_body_and_one_more(shaped, client, keys, what):
    path, fits, too_much, status = FITS[what]
    before = keys()
    shaped(client.post(path, data=too_much), status)
    assert keys() == before
    assert client.post(path, data=fits).status_code == 200


FIELDS = [
    ("/agents/register", AGENT, "max_concurrency", 10_000, 10_001),
    ("/agents/register", AGENT, "capabilities", ["c" * 64], ["c" * 65]),
    ("/agents/register", AGENT, "capabilities", [f"c{n}" for n in range(256)], [f"c{n}" for n in range(257)]),
    ("/agents/register", AGENT, "endpoints", {f"k{n}": "" for n in range(16)}, {f"k{n}": "" for n in range(17)}),
    ("/agents/register", AGENT, "heartbeat_timeout", 86_400, 86_401),
    ("/tasks/submit", TASK, "requirements", {"tags": [f"{n}" for n in range(16)]}, {"tags": [f"{n}" for n in range(17)]}),
    ("/tasks/submit", TASK, "requirements", {"tags": ["t" * 64]}, {"tags": ["t" * 65]}),
    ("/tasks/submit", TASK, "max_attempts", 50, 51),
    ("/tasks/submit", TASK, "run_timeout", 86_400, 86_401),
    ("/tasks/submit", TASK, "delay", 366 * 86_400, 366 * 86_400 + 1),
    ("/tasks/submit", TASK, "queue_timeout", 366 * 86_400, 366 * 86_400 + 1),
    ("/tasks/submit", TASK, "task_id", "t" * 128, "t" * 129),
    ("/tasks/dead/drop", {}, "task_ids", [f"t{n}" for n in range(1000)], [f"t{n}" for n in range(1001)]),
    ("/agents/a/heartbeat", {}, "leases", ["t:1"] * 10_000, ["t:1"] * 10_001),
    ("/agents/a/heartbeat", {}, "load_metrics", {f"m{n}": 0.5 for n in range(64)}, {f"m{n}": 0.5 for n in range(65)}),
]


@pytest.mark.parametrize(("path", "body", "field", "fits", "too_much"), FIELDS, ids=[f"{case[0]} {case[2]}" for case in FIELDS])
def test_the_most_of_a_field_and_one_more(shaped, client, keys, register, path, body, field, fits, too_much):
    register("a")
    before = keys()
    problem = shaped(client.post(path, json={**body, field: too_much}), 422)
    assert problem["errors"][0]["pointer"].startswith(f"/{field}")
    assert keys() == before
    assert client.post(path, json={**body, field: fits}).status_code == 200


def test_headers_of_64_kib_and_a_few_more(shaped, client):
    def headers(total):
        return {f"X-{n}": "y" * (total // 10) for n in range(10)}

    assert client.get("/health", headers=headers(application.MAX_HEADER_BYTES - 1000)).status_code == 200
    shaped(client.get("/health", headers=headers(application.MAX_HEADER_BYTES)), 431)


def test_the_body_limit_is_a_setting(ledger, shaped, with_settings):
    small = with_settings(max_request_bytes=2048)
    assert small.post("/tasks/submit", data=sized(2048)).status_code == 200
    shaped(small.post("/tasks/submit", data=sized(2049)), 413)


@pytest.mark.parametrize("limit", ["maxmemory", "AITBC_MAX_LEDGER_BYTES"])
def test_memory_at_80_percent(shaped, with_settings, ledger, keys, limit):
    """Refused with nothing stored; what ends and repairs goes on; room again, accepted again. By the real Redis's own figures."""
    used = int(ledger.redis.info("memory")["used_memory"])
    own = with_settings(**({} if limit == "maxmemory" else {"max_ledger_bytes": int(used / 0.7)}))
    try:
        ledger.redis.config_set("maxmemory", int(used / 0.7) if limit == "maxmemory" else 0)
        looks_again()
        assert own.post("/tasks/submit", json={**TASK, "task_id": "before"}).status_code == 200
        used = int(ledger.redis.info("memory")["used_memory"])  # now with every script that has been used
        own = with_settings(**({} if limit == "maxmemory" else {"max_ledger_bytes": int(used / 0.9)}))
        ledger.redis.config_set("maxmemory", int(used / 0.9) if limit == "maxmemory" else 0)
        looks_again()
        before = keys()
        answer = own.post("/tasks/submit", json=TASK, headers={"Idempotency-Key": "k"})
        assert "80 %" in shaped(answer, 429)["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert keys() == before
        assert own.post("/agents/register", json=AGENT).status_code == 200
        assert own.post("/agents/a/heartbeat", json={}).status_code == 200
        assert own.post("/tasks/before/cancel").json["state"] == "cancelled"
    finally:
        ledger.redis.config_set("maxmemory", 0)
    looks_again()
    assert with_settings().post("/tasks/submit", json=TASK).status_code == 200


def looks_again():
    """What Redis said a moment ago is forgotten."""
    redis_state._seen.clear()


def test_bounds_of_the_ledger_are_429_with_a_setting_and_a_time(shaped, ledger, keys, client):
    """The arithmetic at the defaults, by the counters and the number of signatures alone."""
    ledger.redis.hset("stats", "submitted", 1_000_000)
    before = keys()
    for words in ("AITBC_MAX_LIVE_TASKS", "AITBC_MAX_SIGNATURES"):
        answer = client.post("/tasks/submit", json=TASK)
        assert words in shaped(answer, 429)["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert keys() == before
        ledger.redis.hset("stats", "submitted", 0)
        ledger.redis.zadd("sigs", {f"s{n}": 0 for n in range(256)})
        before = keys()


def test_held_requests_beyond_the_limit_are_answered_at_once(ledger, with_settings):
    few = with_settings(held_requests=3)
    few.post("/tasks/submit", json={**TASK, "task_id": "t"})
    answers = []

    def wait():
        began = time.monotonic()
        answer = few.application.test_client().get("/tasks/t?wait=1")
        answers.append((answer.headers.get("Retry-After"), time.monotonic() - began))

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    at_once = [seconds for retry_after, seconds in answers if retry_after == "1"]
    waited = [seconds for retry_after, seconds in answers if retry_after is None]
    assert (len(at_once), len(waited)) == (5, 3)
    assert min(waited) >= 1 > max(at_once)
