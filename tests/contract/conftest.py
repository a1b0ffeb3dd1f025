"""The application over a real Redis and the real ledger; a worker's steps are made by hand."""

import socket
import subprocess
import sys
import time

import pytest

from aitbc.ledger import leases, workers
from aitbc.ledger.client import Ledger
from aitbc.model.lease import new_token, token_hash
from aitbc.settings import Settings
from tests.harness.processes import free_port, redis_binary

SHAPE = ["type", "title", "status", "detail", "message", "request_id"]
WORKER = "w@contract:0123456789abcdef"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """One redis-server a test process; a missing one fails the run."""
    port = free_port()
    args = [
        redis_binary(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(tmp_path_factory.mktemp("r")),
    ]
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    try:
        _until_listening(port)
        url = f"redis://127.0.0.1:{port}/1"
        _be_the_broker(url)
        yield url
    finally:
        process.kill()
        process.wait()


def _be_the_broker(url):
    """Celery reads its configuration once, and a test before these may have been the cause: read it anew, without the old connections."""
    from aitbc.tasks.app import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", url)
        sys.modules.pop("celeryconfig", None)
        app.config_from_object("celeryconfig", force=True)
    app._after_fork()  # forgets its connections, open ones and those to be


def _until_listening(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("redis-server did not start")


@pytest.fixture(scope="session")
def ledger_of_session(redis_url):
    ledger = Ledger(Settings(redis_url=redis_url))
    yield ledger
    ledger.close()


@pytest.fixture
def ledger(ledger_of_session):
    """An empty ledger."""
    ledger_of_session.redis.flushall()
    return ledger_of_session


@pytest.fixture
def app(ledger):
    from aitbc.web import create_app

    return create_app(ledger.settings, ledger)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def with_settings(redis_url):
    """A client of an application under other settings, on the same Redis."""
    ledgers = []

    def make(**settings):
        ledgers.append(Ledger(Settings(redis_url=redis_url, **settings)))
        from aitbc.web import create_app

        return create_app(ledgers[-1].settings, ledgers[-1]).test_client()

    yield make
    for own in ledgers:
        own.close()


@pytest.fixture
def keys(ledger):
    """The names of all keys now: what a refusal must not change."""
    return lambda: sorted(ledger.redis.keys("*"))


@pytest.fixture
def register(client):
    def do(agent_id="a1", **more):
        body = {"agent_id": agent_id, "agent_type": "worker", "endpoints": {"http": "http://127.0.0.1:9002"}, **more}
        answer = client.post("/agents/register", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json

    return do


@pytest.fixture
def submit(client):
    def do(task_id=None, **more):
        body = {"task_data": {"n": 1}, **({"task_id": task_id} if task_id else {}), **more}
        answer = client.post("/tasks/submit", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json["task_id"]

    return do


@pytest.fixture
def begin(ledger):
    """What a worker does up to the POST: look at the task, begin its lease. Returns the attempt and its token."""

    def do(task_id, *, accepted=True):
        token = new_token()
        ledger.run(workers.alive(WORKER, first=True))
        begun = ledger.run(leases.route(task_id, WORKER, token_hash(token)))
        assert begun.attempt is not None, begun.why
        if accepted:
            ledger.run(leases.renew(begun.attempt.lease_id, token_hash(token)))
        return begun.attempt, token

    return do


@pytest.fixture
def kill(client, register, begin):
    """Make a dead letter of a submitted task."""

    def do(task_id):
        _, token = begin(task_id)
        answer = client.post(f"/tasks/{task_id}/fail", json={"error": "no"}, headers={"Authorization": f"Bearer {token}"})
        assert answer.json["state"] == "failed", answer.text

    return do


@pytest.fixture
def shaped():
    """Check that an answer is an error in the one shape; returns its body."""

    def check(answer, status):
        assert answer.status_code == status, answer.text
        assert answer.content_type == "application/problem+json"
        assert list(answer.json)[:6] == SHAPE
        assert answer.json["status"] == status
        assert answer.json["message"] == answer.json["detail"]
        assert answer.json["request_id"] == answer.headers["X-Request-Id"]
        return answer.json

    return check
