"""Every queue that something is sent to is consumed, and every queue that is consumed is sent to."""

import json
import os
import subprocess
import sys

import pytest

from aitbc.model.lease import Grant
from aitbc.model.priority import PRIORITIES
from aitbc.tasks import enqueue, queues
from bench.sizes import ROOT

READ_CONFIG = """
import json
from aitbc.tasks import app
app.loader.import_default_modules()
conf = app.conf
print(json.dumps({
    "consumed": [[q.name, q.exchange.name, q.routing_key] for q in app.amqp.queues.consume_from.values()],
    "routes": {name: route["queue"] for name, route in conf.task_routes.items()},
    "default": conf.task_default_queue,
    "missing": conf.task_create_missing_queues,
    "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
    "order": conf.broker_transport_options.get("queue_order_strategy"),
    "steps": conf.broker_transport_options.get("priority_steps"),
}))
"""


@pytest.fixture(scope="module")
def config():
    """The configuration as a worker sees it; in a process of its own, because reading it registers a transport."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AITBC_", "CELERY_", "REDIS_"))}
    done = subprocess.run([sys.executable, "-c", READ_CONFIG], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def sent(monkeypatch):
    """Queue names to which `enqueue` publishes when it is asked for everything it can do."""
    names = []
    monkeypatch.setattr(enqueue, "_publish", lambda jobs: names.extend(queue for _name, queue, *_ in jobs) or len(jobs))
    for priority in PRIORITIES:
        enqueue.route([("t", priority)])
        enqueue.dispatch([Grant("t:1", priority)])
    return names


def test_every_queue_is_consumed_in_order(config):
    assert [name for name, _, _ in config["consumed"]] == queues.names()
    assert (config["order"], config["steps"]) == ("priority", [0])


def test_every_queue_has_its_own_exchange_and_key(config):
    """Else one message lands in all ten."""
    for name, exchange, key in config["consumed"]:
        assert (exchange, key) == (name, name)


def test_what_is_sent_is_consumed_and_the_reverse(config, sent):
    consumed = {name for name, _, _ in config["consumed"]}
    assert set(sent) == consumed
    assert config["default"] in consumed
    assert config["missing"] is False


def test_every_task_has_a_route(config):
    assert set(config["tasks"]) == set(config["routes"]) == {enqueue.ROUTE, enqueue.DISPATCH}
    assert set(config["routes"].values()) <= {name for name, _, _ in config["consumed"]}
