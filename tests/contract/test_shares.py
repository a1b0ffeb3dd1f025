"""Of what all share one API key that is no admin's has half, so that the others go on."""

import contextlib
import threading
import time
from collections import Counter

import pytest

from aitbc.ledger import sweep
from aitbc.ledger.doctor import violations
from aitbc.ledger.snapshot import Snapshot
from tests.contract.keyholders import Holder

BESIDE = {"cmdstat_info", "cmdstat_xread"}
"""Asking for the figures, and the reader of events of whoever listened a second ago."""


@pytest.fixture
def of_four(ledger, with_settings):
    """A process that holds four requests, and an answered stream for each (path, holder) that is entered."""
    client = with_settings(held_requests=4)
    with contextlib.ExitStack() as streams:

        def listen(path, holder):
            answer = client.application.test_client().get(path, headers=holder.headers, buffered=False)
            if answer.status_code == 200:
                streams.callback(answer.close)
            return answer

        yield client, listen


def test_a_key_holds_half_of_the_held_requests(ledger, of_four, shaped):
    """`wait` and `events` count together; the others still have the rest, and an admin all of it."""
    client, listen = of_four
    mine, other, admin = Holder(ledger, "read"), Holder(ledger, "read"), Holder(ledger, "admin")
    mine.task("m"), other.task("o")
    first = listen("/tasks/m/events", mine)
    waits = threading.Thread(target=lambda: client.application.test_client().get("/tasks/m?wait=2", headers=mine.headers))
    waits.start()
    time.sleep(0.3)
    refused = listen("/tasks/m/events", mine)
    assert "this API key" in shaped(refused, 429)["detail"]
    assert "AITBC_HELD_REQUESTS" in refused.json["detail"]
    assert refused.headers["Retry-After"] == "5"
    at_once = client.get("/tasks/m?wait=30", headers=mine.headers)
    assert (at_once.status_code, at_once.json["task"]["state"], at_once.headers["Retry-After"]) == (200, "queued", "1")
    last = listen("/tasks/o/events", other)
    assert last.status_code == 200
    for stream in (first, last):
        stream.close()
    waits.join()
    assert [listen("/events", admin).status_code for _ in range(5)] == [200] * 4 + [429]


def test_a_place_that_is_left_is_free_again(ledger, of_four):
    _client, listen = of_four
    mine = Holder(ledger, "read")
    mine.task("m")
    for _ in range(3):
        both = [listen("/tasks/m/events", mine) for _ in range(2)]
        assert [answer.status_code for answer in both] == [200, 200]
        for answer in both:
            answer.close()


def put(client, holder, n, **more):
    body = {"task_id": f"{holder.key_id}-{n}", "task_data": {}, "requirements": {"capabilities": [f"{holder.key_id}-{n}"]}, **more}
    return client.post("/tasks/submit", json=body, headers=holder.headers)


@pytest.fixture
def of_six(with_settings):
    return with_settings(max_signatures=6)


def test_a_key_brings_half_of_the_signatures(ledger, of_six, keys, shaped):
    mine, other, admin = Holder(ledger, "submit"), Holder(ledger, "submit"), Holder(ledger, "admin")
    assert [put(of_six, mine, n).status_code for n in range(3)] == [200] * 3
    before, counted = keys(), ledger.redis.hgetall("sigs:brought")
    refused = put(of_six, mine, 3)
    assert "this API key" in shaped(refused, 429)["detail"]
    assert "AITBC_MAX_SIGNATURES" in refused.json["detail"]
    assert (keys(), ledger.redis.hgetall("sigs:brought")) == (before, counted)
    batch = {"tasks": [{"task_data": {}, "requirements": {"capabilities": [name]}} for name in ("new", f"{mine.key_id}-0")]}
    results = of_six.post("/tasks/submit/batch", json=batch, headers=mine.headers).json["results"]
    assert [one["status"] for one in results] == [429, "success"]
    assert put(of_six, other, 0).status_code == 200
    assert [put(of_six, admin, n).status_code for n in range(3)] == [200, 200, 429]
    assert violations(Snapshot(ledger)) == []


def test_a_retry_counts_and_what_is_not_used_any_more_is_given_back(ledger, of_six, shaped):
    mine = Holder(ledger, "submit")
    for n in range(3):
        put(of_six, mine, n)
    of_six.post(f"/tasks/{mine.key_id}-0/cancel", headers=mine.headers)
    forget(ledger, f"{mine.key_id}-0")
    assert put(of_six, mine, 3).status_code == 200
    answer = of_six.post(f"/tasks/{mine.key_id}-0/retry", headers=mine.headers)
    assert "this API key" in shaped(answer, 429)["detail"]
    for n in (1, 2, 3):
        of_six.post(f"/tasks/{mine.key_id}-{n}/cancel", headers=mine.headers)
        forget(ledger, f"{mine.key_id}-{n}")
    assert not ledger.redis.exists("sigs:brought")
    assert of_six.post(f"/tasks/{mine.key_id}-0/retry", headers=mine.headers).status_code == 200
    assert violations(Snapshot(ledger)) == []


def test_a_new_signature_costs_one_command_more_and_a_known_one_none(ledger, of_six):
    """Of a key, beside the same of an admin's."""
    spent = {}
    put(of_six, Holder(ledger, "submit"), 0)  # connects
    for scope in ("submit", "admin"):
        holder = Holder(ledger, scope)
        of_six.get("/tasks", headers=holder.headers)  # the key is known then
        for n, what in enumerate(("new", "known")):
            ledger.redis.config_resetstat()
            put(of_six, holder, n, requirements={"capabilities": [holder.key_id]})
            stats = ledger.redis.info("commandstats")
            spent[scope, what] = Counter({name: one["calls"] for name, one in stats.items() if name not in BESIDE})
    assert spent["submit", "new"] - spent["admin", "new"] == {"cmdstat_hincrby": 1}
    assert spent["submit", "known"] == spent["admin", "known"]


def forget(ledger, task_id):
    """Ten minutes later nobody uses the task's signature any more."""
    sig = ledger.redis.hget(f"task:{task_id}", "sig")
    ledger.redis.zadd("sigs", {sig: 0})
    for _ in range(3):
        ledger.run(sweep.steps()[-1])
    assert not ledger.redis.exists(b"sig:" + sig)
