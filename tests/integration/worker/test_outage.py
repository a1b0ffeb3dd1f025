"""The broker goes away with work in flight: the worker lives, its coroutines run on, nothing is lost, and it is back soon."""

import os
import random
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from engine_parts import until


@pytest.fixture
def http_server():
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(2.5)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"late but there")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True, params=["batch", "stock"])
def transport(request, monkeypatch):
    """Each test with either."""
    monkeypatch.setenv("ENGINE_TRANSPORT", request.param)


def longest_silence(worker, begin, end):
    beats = [n["at"] for n in worker.notes("tick") if begin - 1 < n["at"] < end + 1]
    return max(b - a for a, b in pairwise(beats))


def test_coroutines_run_on_while_the_broker_is_away(own_server, start, client_of, http_server):
    worker = start(own_server)
    client = client_of(own_server)
    task = client.send("call", http_server)
    waiting = client.send("slow", 6)
    until(lambda: worker.notes("slow begins"))
    time.sleep(0.3)
    begin = time.time()
    own_server.kill()
    time.sleep(8)
    assert worker.process.poll() is None, worker.text()
    (note,) = worker.notes("call done", id=task)
    assert note["answer"] == "late but there"
    assert begin < note["at"] < begin + 4
    assert longest_silence(worker, begin, time.time()) < 1.2
    assert worker.notes("slow done", id=waiting)
    own_server.start()
    back = time.monotonic()
    after = client_of(own_server).send("ordinary")
    until(lambda: worker.notes("ordinary", id=after), 5)
    assert time.monotonic() - back < 5
    # Both had ended while nobody could be told: they are acknowledged now and do not come a second time.
    until(own_server.idle, 3)
    assert "Acknowledged jobs that ended while the broker was away" in worker.text()
    assert len(worker.notes("slow begins")) == 1
    assert worker.text().count("Cannot connect to the broker") == 1
    until(lambda: client.inspect("ping"))  # remote control is back too
    assert worker.stop() == 0


def test_killed_again_and_again(own_server, start, client_of):
    worker = start(own_server)
    client = client_of(own_server)
    lots, sent = random.Random(7), set()
    for down in (0.3, 1.5, 0.0, 2.5):
        sent.update(client.send("slow", lots.uniform(0.05, 0.9)) for _ in range(25))
        # In flight, not in transit: what Redis has popped and not yet delivered when it dies is lost (kombu pops first, records then).
        until(lambda: own_server.waiting() == 0)
        time.sleep(lots.uniform(0.2, 0.5))
        own_server.kill()
        time.sleep(down)
        own_server.start()
        probe = client.send("ordinary")
        until(lambda probe=probe: worker.notes("ordinary", id=probe), 5)
        assert worker.process.poll() is None, worker.text()
    until(lambda: {n["id"] for n in worker.notes("slow done")} == sent, 10)
    until(own_server.idle, 3)
    assert "Unrecoverable" not in worker.text()
    assert worker.stop() == 0


def test_connections_cut_by_the_server(own_server, start, client_of):
    worker = start(own_server)
    client = client_of(own_server)
    sent = {client.send("slow", 1.0) for _ in range(10)}
    until(lambda: len(worker.notes("slow begins")) == 10)
    own_server.client.client_kill_filter(_type="normal", skipme=True)
    own_server.client.client_kill_filter(_type="pubsub")
    probe = client_of(own_server).send("ordinary")
    until(lambda: worker.notes("ordinary", id=probe), 5)
    until(lambda: {n["id"] for n in worker.notes("slow done")} == sent, 5)
    until(own_server.idle, 5)
    assert not worker.notes("slow cancelled")
    assert worker.stop() == 0


def test_frozen_broker(own_server, start, client_of):
    worker = start(own_server, ENGINE_OPTIONS='{"socket_timeout": 1.5, "unacked_restore_interval": 2}')
    client = client_of(own_server)
    sent = {client.send("slow", 0.5 + n / 50) for n in range(10)}
    until(lambda: len(worker.notes("slow begins")) == 10)
    begin = time.time()
    os.kill(own_server.process.pid, signal.SIGSTOP)
    time.sleep(3.5)
    os.kill(own_server.process.pid, signal.SIGCONT)
    assert longest_silence(worker, begin, time.time()) < 2.5  # one acknowledgement waits for socket_timeout, the others do not
    probe = client.send("ordinary")
    until(lambda: worker.notes("ordinary", id=probe), 5)
    assert {n["id"] for n in worker.notes("slow done")} >= sent
    until(own_server.idle, 12)
    assert worker.process.poll() is None, worker.text()
    assert worker.stop() == 0


def test_stop_while_the_broker_is_away(own_server, start, client_of):
    worker = start(own_server)
    client_of(own_server).send("slow", 2.5)
    until(lambda: worker.notes("slow begins"))
    own_server.kill()
    time.sleep(1)
    assert worker.stop(seconds=8) == 0
    assert worker.notes("slow done")
    assert worker.notes("stop ends")


def test_start_before_the_broker(own_server, start, client_of):
    own_server.kill()
    worker = start(own_server, ready=False)
    until(lambda: len(worker.notes("tick")) >= 3, 15)  # signs of life before the first connection
    own_server.start()
    worker.wait_ready()
    probe = client_of(own_server).send("ordinary")
    until(lambda: worker.notes("ordinary", id=probe), 5)
    assert worker.stop() == 0
