"""Ready only when tasks will be worked on; the answer says what is missing."""

import threading
import time

import pytest

from aitbc.ledger import workers
from aitbc.ledger.redis_state import RedisState
from aitbc.web import service


@pytest.fixture
def fleet(monkeypatch, ledger):
    def do(*, broker=True, worker=True, problems=()):
        monkeypatch.setattr(service.enqueue, "broker_alive", lambda: broker)
        monkeypatch.setattr(
            service, "look", lambda _ledger: RedisState("7.0", list(problems), ["L1 does not hold: appendonly is off"], 0.0)
        )
        if worker:
            ledger.run(workers.alive("w@x:0123456789abcdef", first=True))

    return do


def test_ready(client, fleet):
    fleet()
    answer = client.get("/ready")
    assert list(answer.json) == ["status", "service", "workers", "warnings", "timestamp"]
    assert (answer.status_code, answer.json["workers"]) == (200, 1)
    assert answer.json["warnings"] == ["L1 does not hold: appendonly is off"]


def test_full_workers_are_a_warning(client, fleet, ledger):
    fleet()
    ledger.run(workers.alive("w@x:0123456789abcdef", room=0))
    client.post("/tasks/submit", json={"task_data": {}})
    assert client.get("/ready").json["warnings"][1:] == []
    client.post("/agents/register", json={"agent_id": "a", "agent_type": "worker", "endpoints": {"http": "http://127.0.0.1:9"}})
    (full,) = client.get("/ready").json["warnings"][1:]
    assert full.startswith("workers_full: tasks that have their agent wait (1), for the 0 places of all workers are taken; agent a alone")


@pytest.mark.parametrize(
    ("lacking", "words"),
    [({"broker": False}, "broker"), ({"worker": False}, "worker"), ({"problems": ["this Redis is a slave, not a master"]}, "not a master")],
)
def test_not_ready(client, fleet, lacking, words):
    fleet(**lacking)
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert words in answer.json["detail"]
    assert answer.headers["Retry-After"]


@pytest.fixture
def looks(monkeypatch):
    """The looks at the broker, each of 50 ms and answered with `looks.alive`."""

    class Looks(list):
        alive = True

        def look(self):
            self.append(self.alive)
            time.sleep(0.05)
            return self.alive

    found = Looks()
    monkeypatch.setattr(service.enqueue, "_connects", found.look)
    monkeypatch.setattr(service.enqueue._Publishing, "look_at", 0.0)
    yield found
    service.enqueue._Publishing.look_at = 0.0


def test_the_broker_is_looked_at_once_a_second_whoever_asks(looks, monkeypatch):
    monkeypatch.setattr(service.enqueue, "LOOK_SECONDS", 0.3)
    alive = service.enqueue.broker_alive
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(alive())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, looks) == ([True] * 20, [True]), "one looks, the others wait for it"
    looks.alive = False
    assert alive(), "what is known holds"
    time.sleep(0.35)
    assert [alive(), alive()] == [False, False], "and so does a no"
    assert looks == [True, False]


def test_ready_asks_a_real_broker_once(client, ledger, monkeypatch):
    made = []
    connect = service.enqueue.app.connection_for_write
    monkeypatch.setattr(service.enqueue.app, "connection_for_write", lambda: made.append(1) or connect())
    monkeypatch.setattr(service.enqueue._Publishing, "look_at", 0.0)
    ledger.run(workers.alive("w@x:0123456789abcdef", first=True))
    assert [client.get("/ready").status_code for _ in range(5)] == [200] * 5
    assert len(made) == 1


def test_the_real_redis_of_these_tests_is_told_to_lose_tasks(client, fleet, monkeypatch, ledger):
    ledger.run(workers.alive("w@x:0123456789abcdef", first=True))
    monkeypatch.setattr(service.enqueue, "broker_alive", lambda: True)
    assert any("L1 does not hold" in text for text in client.get("/ready").json["warnings"])
