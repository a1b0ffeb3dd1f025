"""AITBC_LEDGER_REPLICAS: a submit is answered when a replica has it, or refused; begin and finish wait too, and go on without, counted."""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from aitbc.errors import TryLater
from aitbc.ledger import leases, redis_state, tasks, workers
from aitbc.ledger.client import Ledger
from aitbc.ledger.pipeline import Pipeline
from aitbc.model.lease import token_hash
from aitbc.settings import Settings
from tests.harness.processes import wait_for
from tests.integration.ledger.desk import DONE, Desk, RedisServer, new_task

TOKEN = token_hash("token")


class Pair:
    def __init__(self, master, folder):
        self.master = master
        self.replica = RedisServer(folder, "--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0")
        self.desk = Desk(master.url)
        self.settings = Settings(redis_url=master.url, ledger_replicas=1)
        self.ledger = Ledger(self.settings)
        wait_for(lambda: self.desk.redis.info("replication").get("slave0", {}).get("state") == "online", 10, "the replica")

    def freeze(self):
        os.kill(self.replica.process.pid, signal.SIGSTOP)

    def thaw(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.replica.process.pid, signal.SIGCONT)

    def close(self):
        self.thaw()
        self.ledger.close()
        self.desk.close()
        self.replica.close()


@pytest.fixture
def pair(own_redis, tmp_path):
    folder = tmp_path / "replica"
    folder.mkdir()
    pair = Pair(own_redis, folder)
    yield pair
    pair.close()


def test_a_submit_is_refused_until_a_replica_has_it(pair):
    assert pair.ledger.run(tasks.submit(new_task("copied"))).created
    pair.freeze()
    began = time.monotonic()
    with pytest.raises(TryLater, match="task t is recorded, but not on AITBC_LEDGER_REPLICAS=1 replicas") as refusal:
        pair.ledger.run(tasks.submit(new_task("t")))
    assert (refusal.value.status, refusal.value.retry_after) == (503, 1)
    assert 0.9 < time.monotonic() - began < 3
    assert pair.desk.state("t") == "queued"
    other = Ledger(pair.settings)  # a repeat writes nothing: it must wait for what another connection wrote
    with pytest.raises(TryLater):
        other.run(tasks.submit(new_task("t")))
    other.close()
    assert pair.ledger.run(tasks.read("t")).state == "queued"  # reading waits for nobody
    pair.thaw()
    assert not pair.ledger.run(tasks.submit(new_task("t"))).created


def test_refusals_are_not_changed_by_it(pair):
    pair.ledger.run(tasks.submit(new_task("t")))
    pair.freeze()
    assert not isinstance(_error(pair.ledger, tasks.submit(new_task("t", digest="another"))), TryLater)


def _error(ledger, step):
    with pytest.raises(Exception, match="another body") as found:
        ledger.run(step)
    return found.value


def test_readiness(pair):
    assert redis_state.look(pair.ledger).problems == []
    pair.replica.kill()
    time.sleep(redis_state.FRESH_SECONDS)
    assert redis_state.look(pair.ledger).problems == ["AITBC_LEDGER_REPLICAS is 1, but 0 replicas are connected: submits are refused"]


def piped(pair, work):
    async def main():
        pipe = Pipeline(pair.settings)
        pipe.start()
        try:
            return await asyncio.wait_for(work(pipe), 30)
        finally:
            await pipe.close()

    return asyncio.run(main())


def test_an_attempt_goes_on_without_a_replica_and_is_counted(pair, caplog):
    pair.desk.agent("a", 20, heartbeat_timeout=0)

    async def work(pipe):
        async def attempt(n):
            pair.desk.task(f"t{n}")
            begun = await pipe.run(leases.route(f"t{n}", "w1", TOKEN))
            return await pipe.run(leases.finish(begun.attempt.lease_id, TOKEN, DONE, worker="w1"))

        await attempt(0)
        assert pipe._fence.missed == 0
        pair.freeze()
        took = []
        for n in range(1, 4):
            began = time.monotonic()
            assert (await attempt(n)).word == "completed"
            took.append(time.monotonic() - began)
        assert took[0] < 2.5  # the first who waits in vain waits a second; those after it hardly
        assert max(took[1:]) < 0.5
        assert pipe._fence.missed == 6
        pair.thaw()
        await asyncio.sleep(0.3)
        ends = [await attempt(n) for n in range(4, 20)]
        assert {end.word for end in ends} == {"completed"}
        assert pipe._fence.missed == 6
        assert (await pipe.run(workers.count())) == 0

    piped(pair, work)
    said = [record.message for record in caplog.records if "AITBC_LEDGER_REPLICAS" in record.message]
    assert len(said) == 2
    assert "is away" in said[0]
    assert "is back" in said[1]
    assert pair.desk.violations(swept=False) == []


def test_what_a_broken_connection_leaves_uncopied_is_asked_again(pair):
    """The reply of begin had come, that of WAIT had not: after a failover the lease may not exist, so begin runs again before a send."""
    pair.desk.agent("a", heartbeat_timeout=0)
    pair.desk.task("t")

    async def work(pipe):
        for script in pipe._scripts.values():
            pair.desk.redis.script_load(script.text)
        await pipe.run(workers.alive("w1", first=True))
        pair.freeze()
        call = asyncio.ensure_future(pipe.run(leases.route("t", "w1", TOKEN)))
        await asyncio.sleep(0.3)
        assert pair.desk.state("t") == "running"
        assert not call.done()
        assert pipe.unanswered
        pair.desk.redis.flushdb()  # the new master does not have it
        pair.desk.task("t")
        pair.desk.redis.client_kill_filter(_type="normal", skipme=True)
        pair.thaw()
        return await call

    begun = piped(pair, work)
    assert begun.attempt is None  # no agent any more: nothing is sent
    assert pair.desk.state("t") == "waiting"
