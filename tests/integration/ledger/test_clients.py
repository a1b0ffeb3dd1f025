"""The blocking client while Redis is down, silent or a replica: a caller is told within seconds, and never hangs."""

import threading
import time

import pytest
import redis

from aitbc.errors import LedgerAway
from aitbc.ledger import connection, redis_state, tasks
from aitbc.ledger.client import Ledger
from aitbc.ledger.events import Stream
from aitbc.settings import Settings
from tests.harness.processes import free_port
from tests.integration.ledger.desk import new_task


def ledger_at(url):
    return Ledger(Settings(redis_url=url))


@pytest.fixture
def nowhere():
    ledger = ledger_at(f"redis://127.0.0.1:{free_port()}/1")
    yield ledger
    ledger.close()


@pytest.mark.parametrize("call", ["run", "ping", "follow", "look"])
def test_a_redis_that_is_down_is_told_within_seconds(nowhere, call):
    began = time.monotonic()
    with pytest.raises(LedgerAway):
        {
            "run": lambda: nowhere.run(tasks.stats()),
            "ping": nowhere.ping,
            "follow": lambda: Stream(nowhere).follow("0-0", 0.1),
            "look": lambda: redis_state.look(nowhere),
        }[call]()
    assert time.monotonic() - began < 3


def test_a_silent_redis_is_told_too(proxy, monkeypatch):
    monkeypatch.setitem(connection.TIMEOUTS, "socket_timeout", 0.3)
    ledger = ledger_at(proxy.url)
    ledger.ping()
    proxy.silent = True
    with pytest.raises(LedgerAway):
        ledger.run(tasks.stats())
    proxy.silent = False
    assert ledger.run(tasks.stats()).begun == 0
    ledger.close()


def test_a_lost_reply_is_asked_for_again(proxy, monkeypatch):
    """The script ran, its reply was lost: the repeat gets the same answer and there is one task."""
    monkeypatch.setitem(connection.TIMEOUTS, "socket_timeout", 0.3)
    ledger = ledger_at(proxy.url)
    ledger.run(tasks.submit(new_task("first")))  # Redis knows the script now
    proxy.deaf = True
    threading.Timer(0.2, lambda: setattr(proxy, "deaf", False)).start()
    submitted = ledger.run(tasks.submit(new_task("t")))
    assert (submitted.task_id, submitted.created) == ("t", False)
    ledger.close()


def test_a_restart_between_two_calls_is_not_noticed(own_redis):
    ledger = ledger_at(own_redis.url)
    ledger.run(tasks.submit(new_task("t")))
    own_redis.kill()
    own_redis.start()
    assert ledger.run(tasks.read("t")).state == "queued"
    ledger.close()


def test_a_replica_and_other_errors(own_redis):
    ledger = ledger_at(own_redis.url)
    ledger.run(tasks.stats())
    ledger.redis.replicaof("127.0.0.1", own_redis.port)
    with pytest.raises(LedgerAway):
        ledger.run(tasks.submit(new_task("t")))
    time.sleep(redis_state.FRESH_SECONDS)
    assert any("not a master" in problem for problem in redis_state.look(ledger).problems)
    ledger.redis.replicaof("NO", "ONE")
    assert ledger.run(tasks.submit(new_task("t"))).created
    ledger.redis.set("task:x", "not a hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        ledger.run(tasks.read("x"))
    ledger.close()


def test_what_redis_says_of_itself(own_redis):
    ledger = ledger_at(own_redis.url)
    state = redis_state.look(ledger)
    assert (state.problems, state.warnings, state.version[:1]) == ([], [], "6")
    ledger.redis.config_set("appendfsync", "everysec")
    assert redis_state.look(ledger) is state  # an answer is used for a second
    time.sleep(redis_state.FRESH_SECONDS)
    assert "appendfsync is everysec" in redis_state.look(ledger).warnings[0]
    ledger.redis.execute_command("ACL", "SETUSER", "default", "-config")
    time.sleep(redis_state.FRESH_SECONDS)
    assert redis_state.look(ledger).warnings == []  # a managed Redis that hides its configuration
    ledger.close()
