"""The pipelining client while Redis dies, forgets scripts, or goes silent: a step's outcome is never unknown to its caller."""

import asyncio
import contextlib
import subprocess
import time

import redis

from aitbc.errors import Full, NotFound
from aitbc.ledger import connection, leases, pipeline, tasks, workers
from aitbc.ledger.client import Ledger
from aitbc.ledger.keys import CANCEL_CHANNEL
from aitbc.ledger.pipeline import Pipeline
from aitbc.ledger.step import Step, text
from aitbc.settings import Settings
from tests.harness.processes import free_port, redis_binary, wait_for
from tests.integration.ledger.desk import Desk, new_task


def piped(url, work):
    """Run `await work(pipeline)` on a started pipeline."""

    async def main():
        pipe = Pipeline(Settings(redis_url=url))
        pipe.start()
        try:
            return await asyncio.wait_for(work(pipe), 60)
        finally:
            await pipe.close()

    return asyncio.run(main())


def test_calls_of_one_turn_leave_in_one_write(own_redis):
    async def work(pipe):
        await pipe.run(tasks.submit(new_task("first")))  # Redis knows the script now
        with redis.Redis(port=own_redis.port) as other:
            before = other.info("stats")["total_reads_processed"]
            found = await asyncio.gather(*(pipe.run(tasks.submit(new_task(f"t{n}"))) for n in range(100)))
            return found, other.info("stats")["total_reads_processed"] - before

    found, reads = piped(own_redis.url, work)
    assert [submitted.task_id for submitted in found] == [f"t{n}" for n in range(100)]
    assert reads < 20


def test_refusals_and_errors_reach_their_caller(own_redis):
    async def work(pipe):
        await pipe.run(tasks.submit(new_task("t")))
        found = await asyncio.gather(
            pipe.run(tasks.read("nobody")),
            pipe.run(tasks.read("t")),
            pipe.run(Step("read_task", (), text)),
            pipe.run(tasks.stats()),
            return_exceptions=True,
        )
        with redis.Redis(port=own_redis.port) as other:
            other.config_set("maxmemory", 1)
            full = await asyncio.gather(pipe.run(tasks.submit(new_task("new"))), return_exceptions=True)
            other.config_set("maxmemory", 0)
            other.set("task:x", "no hash")
            with redis.Redis(port=own_redis.port, db=1) as ledger:
                ledger.set("task:x", "no hash")
        wrong = await asyncio.gather(pipe.run(tasks.read("x")), return_exceptions=True)
        return [*found, *full, *wrong]

    nobody, task, broken, stats, full, wrong = piped(own_redis.url, work)
    assert isinstance(nobody, NotFound)
    assert isinstance(broken, redis.ResponseError)
    assert isinstance(full, Full)
    assert isinstance(wrong, redis.ResponseError)
    assert (task.task_id, stats.begun) == ("t", 0)


def test_every_call_is_answered_though_redis_is_killed(own_redis):
    """kill -9 in the middle of calls, twice: AOF always, so nothing acknowledged is lost, and repeats find what was done."""
    desk = Desk(own_redis.url)
    desk.agent("a", 10_000, heartbeat_timeout=0)

    async def work(pipe):
        async def one(n):
            token = desk.token()
            await pipe.run(tasks.submit(new_task(f"t{n}")))
            return await pipe.run(leases.route(f"t{n}", "w1", token))

        calls = []
        for n in range(600):
            calls.append(asyncio.ensure_future(one(n)))
            await asyncio.sleep(0.001)
            if n in {150, 400}:
                await asyncio.to_thread(own_redis.kill)
                await asyncio.sleep(0.1)
                await asyncio.to_thread(own_redis.start)
        return await asyncio.gather(*calls)

    found = piped(own_redis.url, work)
    begun = {reply.attempt.task_id for reply in found if reply.attempt}
    assert len(found) == 600
    assert {desk.state(f"t{n}") for n in range(600)} == {"running"}
    assert len(begun) + sum(1 for reply in found if reply.why == "running") == 600
    assert desk.violations(swept=False) == []
    desk.close()


def test_a_killed_connection_is_made_anew(own_redis):
    async def work(pipe):
        await pipe.run(tasks.stats())
        with redis.Redis(port=own_redis.port) as other:
            for n in range(5):
                calls = [pipe.run(tasks.submit(new_task(f"t{n}.{k}"))) for k in range(50)]
                pending = asyncio.gather(*calls)
                await asyncio.sleep(0)
                other.client_kill_filter(_type="normal", skipme=True)
                await pending
        return pipe.unanswered

    assert piped(own_redis.url, work) == 0


def test_a_write_to_a_connection_that_was_closed_in_the_same_turn(own_redis, caplog):
    """uvloop raises RuntimeError then, which ended the pipeline for good: every call of the worker hung from there on."""

    async def work(pipe):
        await pipe.run(tasks.stats())
        for error in (RuntimeError("the handler is closed"), ValueError("a fault of ours")):
            (link,) = pipe._client.connection_pool._in_use_connections

            async def closed(*_, link=link, error=error, **__):
                del link.send_packed_command  # once
                raise error

            link.send_packed_command = closed
            async with asyncio.timeout(5):
                stats = await pipe.run(tasks.stats())
        return stats

    assert piped(own_redis.url, work).begun == 0
    said = [record for record in caplog.records if "does not answer" in record.message]
    assert [bool(record.exc_info) for record in said] == [False, True]  # what nobody expects is shown with its traceback


def test_a_half_open_connection_is_given_up(proxy, monkeypatch):
    """Redis ran the script, the network ate its reply, nothing was closed."""
    monkeypatch.setitem(connection.TIMEOUTS, "socket_timeout", 0.3)

    async def work(pipe):
        await pipe.run(tasks.submit(new_task("first")))  # Redis knows the script now
        proxy.deaf = True
        call = asyncio.ensure_future(pipe.run(tasks.submit(new_task("t"))))
        await asyncio.sleep(0.2)
        assert not call.done()
        proxy.deaf = False
        return await call

    submitted = piped(proxy.url, work)
    assert (submitted.task_id, submitted.created) == ("t", False)


def test_a_handshake_that_is_never_answered_is_given_up(proxy, monkeypatch):
    """The network eats what the new connection says first; nothing will ever answer it."""
    monkeypatch.setitem(connection.TIMEOUTS, "socket_timeout", 0.3)

    async def work(pipe):
        await pipe.run(tasks.stats())
        proxy.silent = True
        call = asyncio.ensure_future(pipe.run(tasks.stats()))
        await asyncio.sleep(1)  # the first connection is given up, and the next one's handshake is lost
        proxy.silent = False
        async with asyncio.timeout(3):
            return await call

    assert piped(proxy.url, work).begun == 0


def test_a_silent_channel_of_cancels_is_subscribed_to_anew(proxy, own_redis, monkeypatch):
    monkeypatch.setitem(connection.TIMEOUTS, "socket_timeout", 0.3)
    monkeypatch.setattr(pipeline, "PING_SECONDS", 0.2)

    async def work(pipe):
        heard = set()

        async def listen():
            async for lease_id in pipe.cancels("w"):
                heard.add(lease_id)

        listening = asyncio.ensure_future(listen())
        with redis.Redis(port=own_redis.port, decode_responses=True) as other:
            for n, cut in enumerate((False, True, False)):
                proxy.silent = cut
                await asyncio.sleep(2)  # longer than the silence that is noticed, and the pause after it
                other.publish(f"{CANCEL_CHANNEL}w", str(n))
                await asyncio.sleep(0.3)  # through the proxy, before it changes
        listening.cancel()
        return heard

    assert piped(proxy.url, work) == {"0", "2"}


def test_an_outage_is_logged_once_and_its_end_too(own_redis, caplog):
    async def work(pipe):
        await pipe.run(tasks.stats())
        await asyncio.to_thread(own_redis.kill)
        call = asyncio.ensure_future(pipe.run(tasks.stats()))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_redis.start)
        return await call

    assert piped(own_redis.url, work).begun == 0
    said = [record.message for record in caplog.records if record.name == "aitbc.ledger.pipeline"]
    assert len(said) == 2
    assert "calls wait until it does" in said[0]
    assert said[1] == "the ledger (Redis) answers again"


def test_a_demoted_master_is_left(own_redis):
    async def work(pipe):
        await pipe.run(tasks.stats())
        with redis.Redis(port=own_redis.port) as other:
            other.replicaof("127.0.0.1", own_redis.port)
            call = asyncio.ensure_future(pipe.run(tasks.submit(new_task("t"))))
            await asyncio.sleep(0.5)
            assert not call.done()
            other.replicaof("NO", "ONE")
        return await call

    assert piped(own_redis.url, work).created


def test_calls_are_bounded_and_end_with_the_pipeline(monkeypatch):
    monkeypatch.setattr(pipeline, "MAX_UNANSWERED", 3)

    async def main():
        pipe = Pipeline(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/1"))
        pipe.start()
        calls = [asyncio.ensure_future(pipe.run(tasks.stats())) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert pipe.unanswered == 3
        calls[0].cancel()
        await asyncio.sleep(0)
        await pipe.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(main())
    assert isinstance(found[0], asyncio.CancelledError)
    assert [str(error) for error in found[1:]] == ["the worker stopped before the ledger answered"] * 2 + [
        "too many calls wait for the ledger (Redis)"
    ] * 2


def test_a_call_whose_caller_left_harms_nobody(own_redis):
    async def work(pipe):
        await pipe.run(tasks.stats())
        with redis.Redis(port=own_redis.port) as other:
            for sent in (0.0, 0.05):
                other.client_pause(200)
                call = asyncio.ensure_future(pipe.run(tasks.submit(new_task(f"t{sent}"))))
                await asyncio.sleep(sent)
                call.cancel()
                assert (await pipe.run(tasks.stats())).begun == 0
        return pipe.unanswered

    assert piped(own_redis.url, work) == 0


def test_a_pipeline_that_never_started_can_be_closed():
    asyncio.run(Pipeline(Settings()).close())


def test_cancels_are_heard_again_after_an_outage(own_redis):
    desk = Desk(own_redis.url)

    async def work(pipe):
        heard = asyncio.Queue()

        async def listen():
            async for lease in pipe.cancels("w1"):
                heard.put_nowait(lease)

        listening = asyncio.ensure_future(listen())
        for n in range(2):
            desk.agent(f"a{n}")
            await asyncio.to_thread(_subscribed, desk)
            call = desk.started(f"t{n}")
            desk.run(tasks.cancel(f"t{n}"))
            assert await asyncio.wait_for(heard.get(), 5) == call.lease
            if n == 0:
                await asyncio.to_thread(own_redis.kill)
                await asyncio.to_thread(own_redis.start)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening

    piped(own_redis.url, work)
    desk.close()


def _subscribed(desk):
    for _ in range(200):
        with contextlib.suppress(redis.RedisError, OSError):
            if desk.redis.pubsub_numsub("cancel:w1")[0][1]:
                return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_sentinel(own_redis, tmp_path):
    """REDIS_URL=sentinel://…: both clients find the master."""
    port = free_port()
    conf = tmp_path / "sentinel.conf"
    conf.write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {own_redis.port} 1\n")
    process = subprocess.Popen([redis_binary(), str(conf), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            wait_for(lambda: _pings(client), what="sentinel")
        url = f"sentinel://127.0.0.1:{port}/main/1"
        ledger = Ledger(Settings(redis_url=url))
        ledger.run(tasks.submit(new_task("t")))
        ledger.close()
        assert piped(url, lambda pipe: pipe.run(tasks.read("t"))).state == "queued"
        assert piped(url, lambda pipe: pipe.run(workers.count())) == 0
    finally:
        process.kill()
        process.wait()


def _pings(client):
    try:
        return client.ping()
    except redis.ConnectionError as exc:
        raise OSError from exc
