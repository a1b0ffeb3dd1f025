"""Fixtures: a Redis, a worker and a client for all tests of a module, or of a test's own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are no packages; engine_parts is the tests' own module

from engine_parts import Client, RedisServer, Worker


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture
def own_server(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.close()


@pytest.fixture(scope="module")
def worker(server, tmp_path_factory):
    """One worker for all tests of a module that do it no harm."""
    worker = Worker(server, tmp_path_factory.mktemp("worker"))
    yield worker.wait_ready()
    worker.close()


@pytest.fixture
def start(tmp_path):
    """start(server, **options) -> a worker of the test's own, ready."""
    workers = []

    def begin(server, *, ready=True, **options):
        worker = Worker(server, tmp_path, **{"name": f"own{len(workers)}", **options})
        workers.append(worker)
        return worker.wait_ready() if ready else worker

    yield begin
    for worker in workers:
        worker.close()


@pytest.fixture(scope="module")
def client(server):
    client = Client(server)
    yield client.listen()
    client.close()


@pytest.fixture
def client_of():
    clients = []

    def make(server):
        clients.append(Client(server))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
