"""The batch transport: one script reads and acknowledges for many jobs. Nothing of it is seen from outside but the speed."""

import json
import os
import signal
import time

import pytest
import redis
from engine_parts import until


def begun(worker):
    return [note["id"] for note in worker.notes("ordinary")]


def test_jobs_are_taken_in_the_order_of_the_queues_each_oldest_first(own_server, start, client_of):
    client = client_of(own_server)
    late = [client.send("ordinary", queue="second") for _ in range(150)]
    soon = [client.send("ordinary", queue="first") for _ in range(150)]
    worker = start(own_server, args=["-c", "20"])
    until(lambda: len(begun(worker)) == 300)
    assert begun(worker) == soon + late
    until(own_server.idle, 2)


@pytest.mark.parametrize("places", [1, 3, 10_000])
def test_no_more_than_the_places(own_server, start, client_of, places):
    client = client_of(own_server)
    for _ in range(12):
        client.send("slow", 0.3)
    worker = start(own_server, args=["-c", str(places)])
    until(lambda: len(worker.notes("slow done")) == 12)
    running = most = 0
    for note in worker.notes():
        running += {"slow begins": 1, "slow done": -1}.get(note["what"], 0)
        most = max(most, running)
    assert most == min(places, 12)
    until(own_server.idle, 2)


def test_a_last_free_place_is_used_though_it_is_one_of_many(own_server, start, client_of):
    """A read is worth a quarter of the places, but nobody waits for them while one is free."""
    client, worker = client_of(own_server), start(own_server, args=["-c", "40"])
    for _ in range(39):
        client.send("slow", 30)
    until(lambda: len(worker.notes("slow begins")) == 39)
    for _ in range(3):
        client.send("ordinary")
    until(lambda: len(begun(worker)) == 3, 5)
    worker.stop(signal.SIGQUIT)


def test_stock_and_batch_workers_share_the_queues(own_server, start, client_of):
    client = client_of(own_server)
    sent = {client.send("ordinary", 0.02, queue=("first", "second")[n % 2]) for n in range(600)}
    workers = [start(own_server, ENGINE_TRANSPORT=name, args=["-c", "10"]) for name in ("stock", "batch")]
    until(lambda: sum(len(begun(worker)) for worker in workers) >= 600, 30)
    done = [job for worker in workers for job in begun(worker)]
    assert len(done) == 600
    assert set(done) == sent
    assert all(begun(worker) for worker in workers)
    until(own_server.idle, 3)


@pytest.mark.parametrize("other", ["stock", "batch"])
def test_what_a_dead_batch_worker_took_is_given_to_another(own_server, start, client_of, other):
    """Its record in `unacked` is kombu's own."""
    client, dying = client_of(own_server), start(own_server)
    sent = {client.send("slow", 60) for _ in range(5)}
    until(lambda: len(dying.notes("slow begins")) == 5)
    until(lambda: own_server.unacked() == 5, 2)
    dying.process.kill()
    dying.process.wait()
    for message, exchange, queue in map(json.loads, own_server.client.hvals("unacked")):
        assert message["headers"]["id"] in sent
        assert (exchange, queue) == ("", "second")
    assert set(own_server.client.hkeys("unacked")) == set(own_server.client.zrange("unacked_index", 0, -1))
    time.sleep(1)
    options = {"visibility_timeout": 1, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    worker = start(own_server, ENGINE_TRANSPORT=other, ENGINE_OPTIONS=json.dumps(options))
    until(lambda: {note["id"] for note in worker.notes("slow begins")} == sent, 10)
    worker.stop(signal.SIGQUIT)


def test_a_worker_that_stops_gives_back_what_it_has_not_begun(own_server, start, client_of):
    client, worker = client_of(own_server), start(own_server, args=["-c", "4"], ENGINE_TIMEOUT=0.2)
    sent = {client.send("slow", 60) for _ in range(20)}
    until(lambda: len(worker.notes("slow begins")) == 4)
    assert worker.stop() == 0
    assert (own_server.unacked(), own_server.waiting()) == (0, 20)
    waiting = [json.loads(text)["headers"]["id"] for text in own_server.client.lrange("second", 0, -1)]
    assert set(waiting) == sent


def test_a_stop_while_it_waits_loses_no_job(own_server, start, client_of):
    """BRPOP may answer in the very moment in which the worker closes: what it popped goes back."""
    client = client_of(own_server)
    for _ in range(5):
        worker = start(own_server)
        worker.send_signal(signal.SIGTERM)
        sent = [client.send("ordinary") for _ in range(20)]
        assert worker.process.wait(15) == 0
        done = begun(worker)
        left = [json.loads(text)["headers"]["id"] for text in own_server.client.lrange("second", 0, -1)]
        assert own_server.unacked() == 0
        assert sorted(done + left) == sorted(sent)
        own_server.client.delete("second")


def test_a_flushed_script_is_sent_again(own_server, start, client_of):
    client, worker = client_of(own_server), start(own_server)
    for n in range(5):
        for _ in range(20):
            client.send("ordinary", 0.05)
        own_server.client.script_flush()
        until(lambda n=n: len(begun(worker)) == 20 * (n + 1))
    until(own_server.idle, 2)
    assert len(set(begun(worker))) == 100
    assert "Connection" not in worker.text().partition(" ready.")[2]


def test_what_is_no_message_is_dropped_and_the_rest_goes_on(own_server, start, client_of):
    client, worker = client_of(own_server), start(own_server)
    sent = []
    for text in ("no json", "5", "{}", '{"body": "", "properties": {}}', '{"a": {"delivery_tag": "t"}}', '"delivery_tag": "u" ]'):
        own_server.client.lpush("second", text)
        sent.append(client.send("ordinary"))
    until(lambda: begun(worker) == sent)
    assert worker.text().count("Dropped what is no message from queue second") == 6
    until(own_server.idle, 2)


def test_arguments_that_look_like_a_tag_are_no_tag(own_server, start, client_of):
    client, worker = client_of(own_server), start(own_server)
    client.app.send_task(
        "ordinary", task_id="odd", queue="second", headers={"delivery_tag": "h", "x": '"delivery_tag": "i"'}, argsrepr='"delivery_tag": "a"'
    )
    until(lambda: begun(worker) == ["odd"])
    until(own_server.idle, 2)


def test_answers_to_remote_control_leave_nothing_behind(own_server, start, client_of):
    client, worker = client_of(own_server), start(own_server)
    assert client.inspect("ping") == {"ok": "pong"}
    other = start(own_server)  # it asks the first one at its start, through this transport
    until(own_server.idle, 2)
    assert own_server.client.zcard("unacked_index") == 0
    assert worker.process.poll() is None
    assert other.process.poll() is None


def test_a_worker_that_has_asked_the_others_reads_in_batches(own_server, start, client_of):
    """At its start it listens for their answers, on the channel of its jobs, without acknowledging: as stock, and only so long."""
    client, worker = client_of(own_server), start(own_server, alone=False)
    own_server.client.config_resetstat()
    sent = {client.send("ordinary") for _ in range(300)}
    until(lambda: set(begun(worker)) == sent)
    until(own_server.idle, 2)
    assert own_server.client.info("commandstats").get("cmdstat_exec", {"calls": 0})["calls"] < 30


def test_a_full_redis_still_gives_its_jobs(own_server, start, client_of):
    client, worker = client_of(own_server), start(own_server)
    sent = {client.send("slow", 0.5) for _ in range(10)}
    until(lambda: len(worker.notes("slow begins")) == 10)
    later = {client.send("slow", 0.5) for _ in range(60)}
    own_server.client.config_set("maxmemory", 1)
    until(lambda: {note["id"] for note in worker.notes("slow done")} == sent | later)
    until(own_server.idle, 3)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        own_server.client.set("x", "y")


def test_a_key_prefix_is_kept(own_server, start, client_of):
    options = {"global_keyprefix": "mine:"}
    client, worker = client_of(own_server), start(own_server, ENGINE_OPTIONS=json.dumps(options))
    client.app.conf.broker_transport_options = {**client.app.conf.broker_transport_options, **options}
    sent = {client.send("slow", 1) for _ in range(20)}
    until(lambda: len(worker.notes("slow begins")) == 20)
    assert own_server.client.hlen("mine:unacked") == 20
    until(lambda: {note["id"] for note in worker.notes("slow done")} == sent)
    until(lambda: own_server.client.hlen("mine:unacked") == 0, 2)
    assert [key for key in own_server.client.keys("*") if not key.startswith("mine:")] == []


def test_priorities_of_kombu_are_served_in_order(own_server, start, client_of):
    """Our queues have one list each; whoever sets priority_steps has several."""
    options = {"priority_steps": [0, 5]}
    client = client_of(own_server)
    client.app.conf.broker_transport_options = {**client.app.conf.broker_transport_options, **options}
    low = [client.send("ordinary", priority=5) for _ in range(10)]
    high = [client.send("ordinary", priority=0) for _ in range(10)]
    worker = start(own_server, args=["-c", "2"], ENGINE_OPTIONS=json.dumps(options))
    until(lambda: len(begun(worker)) == 20)
    assert begun(worker) == high + low
    until(own_server.idle, 2)


def test_a_queue_that_is_no_longer_consumed_keeps_its_jobs(own_server, start, client_of):
    client, worker = client_of(own_server), start(own_server)
    for _ in range(100):
        client.send("ordinary", 0.01, queue="first")
    client.app.control.cancel_consumer("first", reply=True, timeout=3)
    for _ in range(50):
        client.send("ordinary", queue="first")
    client.send("ordinary", task_id="probe")
    until(lambda: "probe" in begun(worker))
    until(lambda: own_server.unacked() == 0, 3)
    waiting = own_server.client.llen("first")
    assert waiting >= 50
    assert waiting + len(begun(worker)) == 151
    client.app.control.add_consumer("first", reply=True, timeout=3)
    until(lambda: len(set(begun(worker))) == 151)
    until(own_server.idle, 2)


def test_a_frozen_redis_is_left_before_kombu_would(own_server, start, client_of):
    """Nothing waits for it in the worker, so nothing but the missing answer tells."""
    client = client_of(own_server)
    worker = start(own_server, ENGINE_OPTIONS='{"socket_timeout": 1}')
    os.kill(own_server.process.pid, signal.SIGSTOP)
    until(lambda: "its connection is made anew" in worker.text(), 6)
    os.kill(own_server.process.pid, signal.SIGCONT)
    sent = {client.send("ordinary") for _ in range(50)}
    until(lambda: set(begun(worker)) == sent, 10)
    until(own_server.idle, 3)
