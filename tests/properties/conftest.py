"""A Redis for the walks."""

from collections.abc import Iterator

import pytest

from tests.integration.ledger.desk import RedisServer


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.close()
