"""pytest-celery's fixtures on local processes: its containers are replaced. tests/docker has real ones for the same tests."""

import pytest

from tests.harness.celery_nodes import (  # noqa: F401 - fixtures
    RedisProcess,
    WorkerProcess,
    celery_backend,
    celery_broker,
    celery_setup_cls,
    coordinator,
    default_redis_backend,
)
from tests.harness.cluster import Cluster


@pytest.fixture
def default_redis_broker(cluster: Cluster) -> RedisProcess:
    return RedisProcess(cluster.redis, cluster.redis_url)


@pytest.fixture
def default_worker_container(cluster: Cluster, default_redis_broker: RedisProcess) -> WorkerProcess:
    return WorkerProcess(cluster.worker())
