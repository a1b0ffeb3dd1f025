"""How a body ends, and what Celery, its events and its broker make of it."""

import os
import subprocess
import sys
import time

import pytest
from engine_parts import until


def sent(client, task_id, *kinds):
    until(lambda: client.of(task_id)[-1:] == [kinds[-1]] and len(client.of(task_id)) >= len(kinds))
    assert client.of(task_id) == list(kinds)


@pytest.fixture(autouse=True)
def _nothing_left(server, worker):
    """Each test leaves every message acknowledged or back in its queue and taken again."""
    yield
    until(server.idle)
    assert worker.process.poll() is None, worker.text()


def test_result_without_a_word_about_starting_has_started_when_it_began(worker, client):
    task = client.send("ordinary", 0.3)
    sent(client, task, "received", "started", "succeeded")
    assert client.event(task, "succeeded")["result"] == "{'answer': 42}"
    assert 0.25 < client.event(task, "succeeded")["runtime"] < 1


def test_start_is_sent_when_the_body_says_so(worker, client):
    task = client.send("announced", 0.6, 0.4)
    until(lambda: client.of(task) == ["received"])
    time.sleep(0.3)
    assert client.of(task) == ["received"]
    assert task in [r["id"] for r in client.inspect("reserved")]
    sent(client, task, "received", "started", "succeeded")
    assert 0.3 < client.event(task, "succeeded")["runtime"] < 0.6
    assert client.event(task, "started")["timestamp"] - client.event(task, "received")["timestamp"] > 0.5


def test_error(worker, client):
    task = client.send("boom")
    sent(client, task, "received", "started", "failed")
    event = client.event(task, "failed")
    assert event["exception"] == "ValueError('as it was meant to')"
    assert "engine_app.py" in event["traceback"]


def test_ignore_before_the_start_leaves_the_row_received(worker, client, server):
    task = client.send("waits", 0.1)
    until(lambda: client.of(task) == ["received"])
    until(server.idle)
    time.sleep(0.3)
    assert client.of(task) == ["received"]
    assert task not in str(client.inspect("active")) + str(client.inspect("reserved"))


def test_retry_is_acknowledged(worker, client, server):
    sent(client, client.send("again"), "received", "retried")


def test_reject_gives_the_message_back(worker, client):
    task = client.send("back")
    until(lambda: worker.notes("back", id=task, times=3))
    until(lambda: client.of(task)[-1] == "succeeded")
    assert client.of(task) == ["received", "rejected", "received", "rejected", "received", "started", "succeeded"]


def test_hard_time_limit(worker, client):
    task = client.send("slow", 30, False, time_limit=0.4)
    sent(client, task, "received", "started", "failed")
    assert "TimeLimitExceeded" in client.event(task, "failed")["traceback"]
    assert worker.notes("slow cancelled", id=task, revoked=False)


def test_revoke_before_arrival(worker, client):
    client.app.control.revoke("never-begun", reply=True, timeout=3, limit=1)
    client.send("slow", 30, task_id="never-begun")
    until(lambda: client.of("never-begun") == ["revoked"])
    assert "never-begun" in client.inspect("revoked")
    assert not worker.notes("slow begins", id="never-begun")


@pytest.mark.parametrize("started", [True, False])
def test_revoke_terminate(worker, client, server, started):
    task = client.send("slow", 30, started)
    until(lambda: worker.notes("slow begins", id=task))
    client.app.control.revoke(task, terminate=True)
    sent(client, task, *(["received", "started", "revoked"] if started else ["received", "revoked"]))
    assert worker.notes("slow cancelled", id=task, revoked=True, stopping=False)
    assert task not in str(client.inspect("active")) + str(client.inspect("reserved"))


def test_plain_functions_run_beside_the_loop(worker, client):
    before = len(worker.notes("plain"))
    begin = time.monotonic()
    tasks = [client.send("plain", 0.4) for _ in range(4)]
    for task in tasks:
        sent(client, task, "received", "started", "succeeded")
    assert time.monotonic() - begin < 1.4  # not 4 x 0.4
    assert len(worker.notes("plain")) == before + 4
    sent(client, client.send("plain", 0, True), "received", "started", "failed")


def test_early_acknowledgement_is_early(worker, client, server):
    task = client.send("early", 0.8)
    until(lambda: client.of(task) == ["received"])
    until(server.idle, 0.5)
    sent(client, task, "received", "started", "succeeded")


def test_link_of_a_coroutine_is_refused_aloud(worker, client):
    link = {"task": "plain", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": True}
    client.send("ordinary", link=[client.app.signature(link)])
    until(lambda: "ordinary: it is a coroutine: link, link_error, chain and chord are not followed" in worker.text())


def test_unknown_task_is_dropped_and_the_worker_goes_on(worker, client):
    client.send("no.such.task")
    until(lambda: "unregistered task" in worker.text())


def test_spawned_coroutines_take_places_and_send_events(worker, client):
    client.send("spawns", 0.3)
    until(lambda: worker.notes("spawned done"))
    assert worker.notes("spawned has no job")
    (note,) = worker.notes("spawns")
    assert note["before"] == [49, 1]
    assert note["after"] == [47, 3]
    until(lambda: client.of("direct-1") == ["started", "succeeded"])
    assert client.event("direct-1", "succeeded")["runtime"] == 0.5
    assert client.event("direct-2", "failed")["exception"] == "ValueError()"


def test_periodic_work_goes_on_and_complains_once(worker, client):
    assert worker.notes("start hook")
    ticks = len(worker.notes("tick"))
    until(lambda: len(worker.notes("tick")) >= ticks + 2, 3)
    assert worker.text().count("Periodic work fails failed") == 1


def test_inspect_and_control(worker, client, server):
    assert client.inspect("ping") == {"ok": "pong"}
    stats = client.inspect("stats")
    pool = stats["pool"]
    assert pool["implementation"] == "aitbc.worker.pool:TaskPool"
    assert pool["max-concurrency"] == 50
    assert pool["periodic"] == 2
    assert pool["gc"][:3] == [20000, 20, 20]
    assert pool["gc"][3] > 10_000  # frozen objects
    assert stats["broker"]["transport"] == "redis"
    task = client.send("slow", 1)
    until(lambda: worker.notes("slow begins", id=task))
    (active,) = client.inspect("active")
    assert active["id"] == task
    assert active["worker_pid"] == worker.process.pid
    until(lambda: worker.notes("slow done", id=task))


def test_queues_are_added_and_cancelled(worker, client, server):
    assert client.app.control.add_consumer("third", reply=True, timeout=3, limit=1)
    client.send("ordinary", task_id="in-third", queue="third")
    until(lambda: worker.notes("ordinary", id="in-third"))
    assert client.app.control.cancel_consumer("third", reply=True, timeout=3, limit=1)
    client.send("ordinary", task_id="in-third-2", queue="third")
    time.sleep(1.3)  # a BRPOP that was under way gives the message back
    assert not worker.notes("ordinary", id="in-third-2")
    assert server.client.llen("third") == 1
    server.client.delete("third")


def test_resizing_is_refused(worker, client):
    for command in ("pool_grow", "pool_shrink"):
        (reply,) = getattr(client.app.control, command)(1, reply=True, timeout=3, limit=1)
        assert "worker_concurrency is fixed" in str(reply)


def test_command_line_tools_know_the_broker(worker):
    command = [sys.executable, "-m", "celery", "-A", "engine_app", "inspect", "ping", "-t", "3"]
    done = subprocess.run(command, env={**worker.env, "ENGINE_LOG": os.devnull}, capture_output=True, text=True, timeout=20)
    assert "pong" in done.stdout, done.stdout + done.stderr
