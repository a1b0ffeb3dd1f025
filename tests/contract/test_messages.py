"""The messages that we build are those that Celery's own `send_task` publishes, field by field, and a stock Celery worker runs them.

When a new Celery or kombu changes what a message is, the first tests fail; when it changes how a queue lies in Redis, the last does.
"""

import base64
import json
import subprocess
import sys
import uuid

import pytest

from aitbc.ledger.jobs import push
from aitbc.model.lease import Grant
from aitbc.model.priority import PRIORITIES, Priority
from aitbc.tasks import enqueue, messages
from tests.harness.processes import environment, wait_for

LONG = "~._-" + "x" * 124
ROUTES = [(task_id, priority) for priority in PRIORITIES for task_id in ("t", LONG)]
GRANTS = [Grant(f"{task_id}:12", priority, retries) for task_id, priority in ROUTES for retries in (0, 3)]


def of_celery(ledger, send, queue):
    """What Celery puts into Redis: the one new message of this queue, whole."""
    ledger.redis.delete(queue)
    send()
    [raw] = ledger.redis.lrange(queue, 0, -1)
    return raw


def opened(raw):
    """A message with its body decoded, its keys in order; the delivery tag is told apart below."""
    message = json.loads(raw)
    tag = message["properties"].pop("delivery_tag")
    assert str(uuid.UUID(tag)) == tag
    return {**message, "body": base64.b64decode(message["body"])}, tag


def assert_same(built, celery):
    """Same fields, same order, same values; only the delivery tag is each message's own."""
    mine, own_tag = opened(built)
    theirs, other_tag = opened(celery)
    assert mine == theirs
    assert json.dumps(json.loads(built)["headers"]) == json.dumps(json.loads(celery)["headers"])
    assert [list(json.loads(raw)) for raw in (built, celery)] == [list(json.loads(built))] * 2
    assert own_tag != other_tag


@pytest.mark.parametrize(("task_id", "priority"), ROUTES)
def test_a_route_job(ledger, task_id, priority):
    job = enqueue.job_beside(ledger.settings.redis_url, task_id, priority)
    assert job.queue == priority.value
    assert_same(job.message, of_celery(ledger, lambda: enqueue.route([(task_id, priority)]), job.queue))


@pytest.mark.parametrize("grant", GRANTS, ids=str)
def test_a_dispatch_job(ledger, grant):
    [job] = enqueue.jobs_of([grant])
    assert job.queue == f"{grant.priority}.granted"
    assert_same(job.message, of_celery(ledger, lambda: enqueue.dispatch([grant]), job.queue))


def test_no_two_messages_have_a_tag(ledger):
    tags = [opened(enqueue.job_beside(ledger.settings.redis_url, "t", Priority.LOW).message)[1] for _ in range(100)]
    assert len(set(tags)) == 100


def test_what_a_form_holds_is_not_mistaken_for_a_place():
    """A percent sign in an id or in what Celery wrote (a host's name) stays one."""
    job = messages.fill("aitbc.route", "low", "100%s.r1", "task_id", {"task_id": "100%s", "priority": "low"})
    message = json.loads(job.message)
    assert message["headers"]["id"] == message["headers"]["root_id"] == message["properties"]["correlation_id"] == "100%s.r1"
    assert json.loads(base64.b64decode(message["body"]))[1] == {"task_id": "100%s", "priority": "low"}


def test_jobs_are_pushed_only_into_the_broker(ledger):
    """With REDIS_URL alone broker and ledger are one; any other pair is two."""
    url = ledger.settings.redis_url
    assert enqueue.beside(url)
    for other in (url.replace("/1", "/2"), url.replace("127.0.0.1", "localhost"), "sentinel://h:1/m/1", f"{url}?db=1"):
        assert not enqueue.beside(other)
        assert enqueue.job_beside(other, "t", Priority.LOW) is None


def test_a_push_keeps_the_order_and_stops_at_nothing(ledger):
    """A queue's name that somebody has given to another key loses its job, which the sweep makes good, and no other."""
    ledger.redis.set("high.granted", "not a list")
    grants = [Grant("a:1", Priority.LOW), Grant("b:1", Priority.HIGH), Grant("c:1", Priority.LOW)]
    ledger.run(push(enqueue.jobs_of(grants)))
    found = [json.loads(raw)["headers"]["id"] for raw in ledger.redis.lrange("low.granted", 0, -1)]
    assert found == ["c", "a"]


def test_a_task_is_recorded_though_its_job_cannot_be_pushed(ledger, client):
    ledger.redis.set("normal", "not a list")
    answer = client.post("/tasks/submit", json={"task_data": {}})
    assert answer.status_code == 200, answer.text
    assert client.get(f"/tasks/{answer.json['task_id']}").json["task"]["state"] == "queued"


STOCK = """
import os
from celery import Celery
app = Celery("stock", broker=os.environ["BROKER"])
app.conf.update(task_create_missing_queues=True, worker_redirect_stdouts=False)
@app.task(name="aitbc.route", bind=True)
def route(self, task_id, priority):
    print("ran", self.request.id, task_id, priority, self.request.delivery_info["routing_key"], flush=True)
@app.task(name="aitbc.dispatch", bind=True)
def dispatch(self, lease_id, priority):
    print("ran", self.request.id, lease_id, priority, self.request.delivery_info["routing_key"], flush=True)
app.worker_main(["worker", "-P", "solo", "-Q", "high,high.granted", "--loglevel", "ERROR", "--without-mingle", "--without-gossip"])
"""


def test_a_stock_worker_runs_them(client, ledger, tmp_path):
    task_id = client.post("/tasks/submit", json={"task_data": {}, "priority": "high"}).json["task_id"]
    ledger.run(push(enqueue.jobs_of([Grant("t:7", Priority.HIGH, 2)])))
    log = tmp_path / "stock.log"
    env = environment(BROKER=ledger.settings.redis_url)
    with log.open("wb") as out:
        worker = subprocess.Popen([sys.executable, "-c", STOCK], cwd=tmp_path, env=env, stdout=out, stderr=out)
    try:
        wait_for(lambda: log.read_text().count("ran ") == 2, 30, "both jobs")
        assert f"ran {task_id} {task_id} high high\n" in log.read_text()
        assert "ran t.r2 t:7 high high.granted\n" in log.read_text()
        wait_for(lambda: ledger.redis.hlen("unacked") == 0, 10, "acknowledgements")
    finally:
        worker.terminate()
        worker.wait(20)
    assert "Traceback" not in log.read_text()
