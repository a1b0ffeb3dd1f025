"""How a worker ends: what runs is waited for, cancelled, acknowledged or given back."""

import signal
import time

import pytest
from engine_parts import until


def test_warm_all_done(server, start, client_of):
    worker = start(server)
    client = client_of(server)
    tasks = [client.send("slow", 1.0) for _ in range(20)]
    client.send("spawns", 1.2)
    until(lambda: len(worker.notes("slow begins")) == 20 and worker.notes("spawns"))
    assert worker.stop() == 0
    assert {n["id"] for n in worker.notes("slow done")} == set(tasks)
    assert worker.notes("spawned done")
    assert server.idle()
    (begin,), (end,) = worker.notes("stop begins"), worker.notes("stop ends")
    assert begin["in_flight"] == 21
    assert end["in_flight"] == 0
    assert begin["at"] < worker.notes("slow done")[0]["at"]  # at once, not when the work has ended
    assert worker.notes("tick")[-1]["at"] > begin["at"] + 0.4  # signs of life go on
    assert worker.notes("tick")[-1]["at"] <= end["at"]


def test_warm_takes_nothing_new_and_acknowledges_while_it_waits(server, start, client_of):
    worker = start(server)
    client = client_of(server)
    client.send("slow", 0.5)
    client.send("slow", 2.5)
    until(lambda: len(worker.notes("slow begins")) == 2)
    worker.send_signal(signal.SIGTERM)
    until(lambda: worker.notes("stop begins"), 1)
    until(lambda: len(worker.notes("slow done")) == 1)
    until(lambda: server.unacked() == 1, 0.5)
    client.send("ordinary", task_id="too-late")
    assert worker.process.wait(10) == 0
    assert not worker.notes("ordinary")
    assert (server.unacked(), server.waiting()) == (0, 1)
    server.client.delete("second")


def test_time_is_up(server, start, client_of):
    worker = start(server, ENGINE_TIMEOUT=1)
    client = client_of(server)
    client.send("slow", 60, True, 0.5)
    client.send("spawns", 60)
    until(lambda: worker.notes("slow begins") and worker.notes("spawns"))
    begin = time.monotonic()
    assert worker.stop() == 0
    assert 1.4 < time.monotonic() - begin < 5
    (note,) = worker.notes("slow cancelled")
    assert note["stopping"]
    assert not note["revoked"]
    assert worker.notes("slow cleaned up")
    assert worker.notes("stop ends")
    assert (server.unacked(), server.waiting()) == (0, 1)  # it comes again
    server.client.delete("second")


@pytest.mark.parametrize(
    ("signals", "started"),
    [
        ([signal.SIGQUIT], True),
        ([signal.SIGQUIT], False),
        ([signal.SIGTERM, signal.SIGTERM], False),
        ([signal.SIGTERM, signal.SIGQUIT], True),
    ],
)
def test_cold(server, start, client_of, signals, started):
    worker = start(server)
    client = client_of(server)
    for _ in range(5):
        client.send("slow", 60, started, 0.3)
    until(lambda: len(worker.notes("slow begins")) == 5)
    begin = time.monotonic()
    for number in signals:
        worker.send_signal(number)
        time.sleep(0.2)
    code = worker.process.wait(10)
    assert time.monotonic() - begin < 4, worker.text()
    assert code == 0
    assert len(worker.notes("slow cleaned up", revoked=None)) == 5
    assert all(n["stopping"] and not n["revoked"] for n in worker.notes("slow cancelled"))
    assert len(worker.notes("stop ends")) == 1
    assert (server.unacked(), server.waiting()) == (0, 5), worker.text()
    server.client.delete("second")


def test_bodies_that_will_not_end_are_left_behind(server, start, client_of):
    worker = start(server)
    client_of(server).send("slow", 60, True, 60)
    until(lambda: worker.notes("slow begins"))
    begin = time.monotonic()
    worker.stop(signal.SIGQUIT)
    assert time.monotonic() - begin < 6
    assert "did not end when cancelled" in worker.text()
    assert server.waiting() == 1
    server.client.delete("second")


def test_plain_function_does_not_keep_the_process(server, start, client_of):
    worker = start(server, ENGINE_TIMEOUT=0.5)
    client_of(server).send("plain", 60)
    until(server.unacked)
    time.sleep(0.3)
    begin = time.monotonic()
    worker.stop()
    assert time.monotonic() - begin < 7
    server.client.delete("second", "unacked", "unacked_index")


def test_shutdown_by_remote_control(server, start, client_of):
    worker = start(server)
    client = client_of(server)
    client.send("slow", 0.8)
    until(lambda: worker.notes("slow begins"))
    client.app.control.shutdown()
    assert worker.process.wait(10) == 0
    assert worker.notes("slow done")
    assert worker.notes("stop begins")
    assert server.idle()


def test_killed_worker_leaves_its_jobs_to_the_next(server, start, client_of):
    options = '{"visibility_timeout": 1, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}'
    first = start(server, ENGINE_OPTIONS=options)
    client = client_of(server)
    tasks = {client.send("slow", 1.5 if n else 0.1) for n in range(5)}
    until(lambda: len(first.notes("slow done")) == 1 and server.unacked() == 4)
    first.stop(signal.SIGKILL)
    second = start(server, ENGINE_OPTIONS=options)
    until(lambda: len(second.notes("slow done")) >= 4, 20)
    assert {n["id"] for n in first.notes("slow done") + second.notes("slow done")} == tasks
    second.stop()
