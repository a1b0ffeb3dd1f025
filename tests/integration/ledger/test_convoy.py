"""Calls that share trips to Redis: nobody waits for a trip that nobody makes, and nobody hears another's answer."""

import subprocess
import sys
import threading

import pytest
import redis

from aitbc.errors import LedgerAway
from aitbc.ledger import connection, convoy, tasks
from aitbc.ledger.client import Ledger
from aitbc.ledger.convoy import Convoy
from aitbc.settings import Settings
from tests.harness.processes import ROOT, environment, wait_for
from tests.integration.ledger.desk import new_task


@pytest.fixture
def client(own_redis):
    with connection.blocking(own_redis.url, 4) as client:
        yield client


def together(calls):
    """Run each in a thread of its own; what each returned or raised."""
    found = {}

    def one(name, call):
        try:
            found[name] = call()
        except Exception as exc:
            found[name] = exc

    threads = [threading.Thread(target=one, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return [found[n] for n in range(len(threads))]


def test_each_hears_its_own_answer(client):
    shared = Convoy(client)
    assert together([lambda n=n: [shared.call("ECHO", f"{n}.{k}") for k in range(50)] for n in range(40)]) == [
        [f"{n}.{k}".encode() for k in range(50)] for n in range(40)
    ]


def test_an_error_is_for_its_caller_alone(client):
    shared = Convoy(client)
    client.set("text", "x")
    calls = [lambda: shared.call("LPUSH", "text", "y"), lambda: shared.call("GET", "text")] * 20
    found = together(calls)
    assert all(isinstance(one, redis.ResponseError) for one in found[::2])
    assert found[1::2] == [b"x"] * 20


def test_those_who_wait_go_together_and_a_trip_is_bounded(client, own_redis):
    """While one trip is held up 150 calls gather: three trips take them."""
    shared = Convoy(client)
    other = connection.blocking(own_redis.url, 1)
    shared.call("PING")
    client.config_resetstat()
    first = threading.Thread(target=shared.call, args=("BLPOP", "gate", "5"))
    first.start()
    wait_for(lambda: shared._under_way, 5)
    threads = [threading.Thread(target=shared.call, args=("ECHO", str(n))) for n in range(150)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(shared._waiting) == 150, 10)
    before = int(other.info("stats")["total_reads_processed"])
    other.rpush("gate", "open")
    for thread in [first, *threads]:
        thread.join(10)
    trips = -(-150 // convoy.LONGEST)
    assert int(other.info("stats")["total_reads_processed"]) - before == trips + 2  # the push and this look
    other.close()


def test_a_broken_connection_is_told_to_all_of_the_trip_and_the_next_one_stands(proxy, monkeypatch):
    monkeypatch.setitem(connection.TIMEOUTS, "socket_timeout", 0.3)
    ledger = Ledger(Settings(redis_url=proxy.url))
    ledger.run(tasks.stats())
    proxy.silent = True
    assert {type(one) for one in together([lambda: ledger.run(tasks.stats())] * 8)} == {LedgerAway}
    proxy.silent = False
    assert [one.begun for one in together([lambda: ledger.run(tasks.stats())] * 8)] == [0] * 8
    ledger.close()


def test_a_script_that_redis_forgot_is_sent_again(own_redis):
    ledger = Ledger(Settings(redis_url=own_redis.url))
    for n in range(3):
        ledger.redis.script_flush()
        found = together([lambda n=n, k=k: ledger.run(tasks.submit(new_task(f"t{n}.{k}"))).created for k in range(8)])
        assert found == [True] * 8
    ledger.close()


ENDED = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from aitbc.ledger import connection
from aitbc.ledger.convoy import Convoy
client = connection.blocking(sys.argv[1], 4)
shared = Convoy(client)
shared.call("PING")
leader = gevent.spawn(shared.call, "BLPOP", "gate", "2")
gevent.sleep(0.1)
ended, goes_on = (gevent.spawn(shared.call, "ECHO", name) for name in ("ended", "goes on"))
gevent.sleep(0.1)
{}.kill()
client.rpush("gate", "open")
for one in (leader, ended, goes_on):
    one.join(5)
assert goes_on.successful() and goes_on.value == b"goes on", goes_on.exception
assert shared.call("ECHO", "again") == b"again"
print("all went on")
"""


@pytest.mark.parametrize("victim", ["leader", "ended"])
def test_a_greenlet_that_is_ended_leaves_nobody_behind(own_redis, victim):
    """The one that makes the trip, or one that waits and would have made the next."""
    code = ENDED.replace("{}", victim)
    done = subprocess.run(
        [sys.executable, "-c", code, own_redis.url], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("all went on\n"), done.stderr
