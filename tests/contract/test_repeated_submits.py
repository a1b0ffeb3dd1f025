"""The same submit twice, at once, with another body, after the API died half way: one task, or 409."""

import threading
import time
from collections import Counter

import pytest

from aitbc.ledger import leases, sweep, tasks
from aitbc.model.lease import token_hash
from aitbc.model.outcome import Outcome, Verdict
from aitbc.web import create_app
from aitbc.web.schemas.tasks import Submit
from aitbc.web.tasks import digest, new_task

THREADS = 16
BODY = {"task_data": {"n": 1}}


@pytest.fixture
def all_at_once(app):
    """Send these (body, headers) each from a thread of its own, started together; the answers."""

    def send(requests):
        gate, answers = threading.Barrier(len(requests)), []

        def one(body, headers):
            client = app.test_client()
            gate.wait()
            answers.append(client.post("/tasks/submit", json=body, headers=headers))

        threads = [threading.Thread(target=one, args=request) for request in requests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    return send


def jobs(ledger, queue="normal"):
    """How many jobs lie in the broker."""
    return ledger.redis.llen(queue)


def counted(ledger):
    return int(ledger.redis.hget("stats", "submitted") or 0)


WAYS = {
    "task_id": ({**BODY, "task_id": "t1"}, {}),
    "task_data.task_id": ({"task_data": {"n": 1, "task_id": "t1"}}, {}),
    "key": (BODY, {"Idempotency-Key": "k1"}),
    "both": ({**BODY, "task_id": "t1"}, {"Idempotency-Key": "k1"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_sixteen_at_once_make_one_task(all_at_once, ledger, way):
    answers = all_at_once([WAYS[way]] * THREADS)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (counted(ledger), ledger.redis.zcard("tasks:all")) == (1, 1)


@pytest.mark.parametrize("way", WAYS)
def test_sixteen_at_once_with_two_bodies(all_at_once, ledger, way):
    """Whichever came first has its task; the others are told."""
    body, headers = WAYS[way]
    other = {**body, "priority": "high"}
    answers = all_at_once([(body, headers), (other, headers)] * (THREADS // 2))
    assert Counter(answer.status_code for answer in answers) == {200: THREADS // 2, 409: THREADS // 2}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1
    assert counted(ledger) == 1


def test_different_keys_are_different_tasks(all_at_once, ledger):
    answers = all_at_once([(BODY, {"Idempotency-Key": f"k{n}"}) for n in range(THREADS)])
    assert len({answer.json["task_id"] for answer in answers}) == THREADS
    assert counted(ledger) == jobs(ledger) == THREADS


def test_a_key_and_an_id_that_name_different_tasks_are_told(client, ledger, shaped):
    client.post("/tasks/submit", json={**BODY, "task_id": "t1"}, headers={"Idempotency-Key": "k1"})
    shaped(client.post("/tasks/submit", json={**BODY, "task_id": "t2"}, headers={"Idempotency-Key": "k1"}), 409)
    assert counted(ledger) == 1


@pytest.mark.parametrize("state", ["queued", "running", "completed", "cancelled"])
def test_a_repeat_is_answered_alike_in_every_state(client, ledger, register, begin, state):
    """And it wants a job only while none has been looked at."""
    body, headers = WAYS["both"]
    if state in {"running", "completed"}:
        register()
    first = client.post("/tasks/submit", json=body, headers=headers)
    if state in {"running", "completed"}:
        _, token = begin("t1")
        if state == "completed":
            ledger.run(leases.finish("t1:1", token_hash(token), Outcome(Verdict.COMPLETED, result="1")))
    elif state == "cancelled":
        client.post("/tasks/t1/cancel")
    before = jobs(ledger)
    again = client.post("/tasks/submit", json=body, headers=headers)
    assert again.json == first.json
    assert jobs(ledger) - before == (1 if state == "queued" else 0)
    assert client.get("/tasks/t1").json["task"]["state"] == state
    assert counted(ledger) == 1


@pytest.fixture
def agent(register):
    return register()


@pytest.fixture
def died(ledger):
    """An API that died after the ledger had the task and before the broker had its job."""
    body, _ = WAYS["both"]
    ledger.run(tasks.submit(new_task(Submit(**body), digest(body), "k1")))
    assert jobs(ledger) == 0


def test_after_an_api_that_died_the_repeat_publishes(ledger, client, died):
    body, headers = WAYS["both"]
    answer = client.post("/tasks/submit", json=body, headers=headers)
    assert (answer.status_code, answer.json["task_id"]) == (200, "t1")
    assert (counted(ledger), jobs(ledger)) == (1, 1)


def test_after_an_api_that_died_the_sweep_runs_the_task(ledger, agent, died):
    """Nobody repeats it: a sweep finds it, the next one grants it to the agent that is free, and the grant is a job."""
    assert [grant for step in sweep.steps() for grant in ledger.run(step).grants] == []
    time.sleep(sweep.PERIOD_SECONDS)
    grants = [grant for step in sweep.steps() for grant in ledger.run(step).grants]
    assert [grant.task_id for grant in grants] == ["t1"]
    assert ledger.run(leases.begin(grants[0].lease_id, "w1", token_hash("x"))).attempt.task_id == "t1"


def test_after_an_api_that_died_an_agent_that_comes_gets_the_task(ledger, died, register):
    register()
    assert jobs(ledger, "normal.granted") == 1


def test_another_process_knows_the_key_too(ledger, client):
    body, headers = WAYS["key"]
    first = client.post("/tasks/submit", json=body, headers=headers)
    other = create_app(ledger.settings, ledger).test_client()
    assert other.post("/tasks/submit", json=body, headers=headers).json == first.json


def test_sixteen_retries_by_hand_with_one_key_are_one(app, client, ledger, submit):
    submit("t1")
    client.post("/tasks/t1/cancel")
    gate, answers = threading.Barrier(THREADS), []

    def one():
        own = app.test_client()
        gate.wait()
        answers.append(own.post("/tasks/t1/retry", headers={"Idempotency-Key": "r1"}).status_code)

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {200}
    assert ledger.redis.hget("stats", "retried") == b"1"
    assert client.get("/tasks/t1").json["task"]["retries"] == 1
