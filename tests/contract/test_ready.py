"""Ready only when tasks will be worked on; the answer says what is missing."""

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


def test_the_real_redis_of_these_tests_is_told_to_lose_tasks(client, fleet, monkeypatch, ledger):
    ledger.run(workers.alive("w@x:0123456789abcdef", first=True))
    monkeypatch.setattr(service.enqueue, "broker_alive", lambda: True)
    assert any("L1 does not hold" in text for text in client.get("/ready").json["warnings"])
