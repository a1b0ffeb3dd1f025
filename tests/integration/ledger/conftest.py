"""A real Redis a test process, and a desk on it with an empty ledger for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.proxy import Proxy
from tests.integration.ledger.desk import Desk, RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test, to be killed and filled: AOF always."""
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


@pytest.fixture
def proxy(own_redis: RedisServer) -> Iterator[Proxy]:
    """A network before that Redis, which can be cut."""
    proxy = Proxy(own_redis.port)
    yield proxy
    proxy.close()


@pytest.fixture
def desk(redis_server: RedisServer) -> Iterator[Desk]:
    desk = Desk(redis_server.url)
    desk.redis.flushall()
    desk.at(0)
    yield desk
    desk.close()


@pytest.fixture
def sound(desk: Desk) -> Iterator[Desk]:
    """The desk; at the end of the test every invariant must hold."""
    yield desk
    assert desk.violations(swept=False) == []
