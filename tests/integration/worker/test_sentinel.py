"""A failover by Redis Sentinel with jobs in flight: the worker lives and goes on with the new master. A sentinel that is silent is left."""

import asyncio
import socket
import subprocess
import time
from contextlib import suppress

import pytest
import redis
from engine_parts import Client, Worker, until
from kombu import Connection

from aitbc.ledger import agents
from aitbc.ledger.client import Ledger
from aitbc.ledger.pipeline import Pipeline
from aitbc.settings import Settings
from aitbc.worker.broker import broker_of
from tests.harness.processes import free_port


class Fleet:
    """A master, a replica and one sentinel that suffices."""

    def __init__(self, server, folder):
        self.master = server
        self.replica, self.sentinel = free_port(), free_port()
        self.url = f"sentinel://127.0.0.1:{self.sentinel}/main/1"
        (folder / "sentinel.conf").write_text(
            f"port {self.sentinel}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        replica = f"--port {self.replica} --bind 127.0.0.1 --dir {folder} --replicaof 127.0.0.1 {server.port}"
        self.processes = [
            subprocess.Popen([server.binary, *arguments], stdout=subprocess.DEVNULL)
            for arguments in (replica.split(), [str(folder / "sentinel.conf"), "--sentinel"])
        ]
        self.client = redis.Redis(port=self.replica, db=1, decode_responses=True)
        self.seer = redis.Redis(port=self.sentinel, decode_responses=True)

    def ready(self):
        with suppress(redis.ConnectionError):
            return self.client.info("replication")["master_link_status"] == "up" and self.seer.sentinel_master("main")["num-slaves"] == 1

    def close(self):
        self.client.close()
        self.seer.close()
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def fleet(own_server, tmp_path):
    fleet = Fleet(own_server, tmp_path)
    until(fleet.ready, 15)
    yield fleet
    fleet.close()


def test_failover(fleet, tmp_path):
    broker, options = broker_of(fleet.url)
    fleet.master.url = broker
    worker = Worker(
        fleet.master, tmp_path, ENGINE_OPTIONS=f'{{"master_name": "{options["master_name"]}", "sentinel_kwargs": {{"socket_timeout": 1}}}}'
    )
    client = Client(fleet.master)
    client.app.conf.update(
        broker_transport="aitbc.worker.transport:SentinelTransport", broker_transport_options={**options, "socket_timeout": 2}
    )
    try:
        worker.wait_ready()
        sent = {client.send("slow", 2.0) for _ in range(10)}
        until(lambda: len(worker.notes("slow begins")) == 10)
        fleet.master.kill()
        until(lambda: fleet.seer.sentinel_master("main")["port"] == fleet.replica, 15)
        back = time.monotonic()
        until(lambda: fleet.client.info("replication")["role"] == "master")
        client.send("ordinary", task_id="after")
        until(lambda: worker.notes("ordinary", id="after"), 10)
        assert time.monotonic() - back < 6
        until(lambda: {n["id"] for n in worker.notes("slow done")} >= sent)
        until(lambda: fleet.client.hlen("unacked") == 0)
        assert worker.process.poll() is None, worker.text()
        assert worker.stop() == 0
    finally:
        client.close()
        worker.close()


def ask_blocking(url):
    ledger = Ledger(Settings(redis_url=url))
    try:
        assert ledger.run(agents.page(1)).agents == []
    finally:
        ledger.close()


def ask_pipelining(url):
    async def work():
        pipe = Pipeline(Settings(redis_url=url))
        pipe.start()
        try:
            assert (await pipe.run(agents.page(1))).agents == []
        finally:
            await pipe.close()

    asyncio.run(work())


def ask_broker(url):
    broker, options = broker_of(url)
    with Connection(broker, transport="aitbc.worker.transport:SentinelTransport", transport_options=options) as connection:
        connection.connect()


@pytest.mark.parametrize("ask", [ask_blocking, ask_pipelining, ask_broker])
def test_a_sentinel_that_is_silent_costs_a_second(own_server, tmp_path, ask):
    """As one that is cut off: it accepts, or not even that, and never answers. The next in the list is asked once for that."""
    fleet = Fleet(own_server, tmp_path)
    try:
        until(lambda: fleet.seer.sentinel_master("main")["ip"], 15)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began = time.monotonic()
            ask(fleet.url.replace("//", f"//127.0.0.1:{silent.getsockname()[1]},"))
            assert 1 <= time.monotonic() - began < 4
    finally:
        fleet.close()
