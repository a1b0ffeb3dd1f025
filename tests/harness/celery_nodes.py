"""The nodes of pytest-celery on processes of ours: its fixtures stay; what it takes for containers is a redis-server and a real worker.

tests/docker has the same nodes on containers, for the same tests.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestContainer, CeleryTestSetup, RedisTestBackend, RedisTestBroker

from tests.harness.cluster import Api, Cluster
from tests.harness.processes import Process, wait_for


class CoordinatorSetup(CeleryTestSetup):
    """The test's own Celery app is configured as the worker is; broker and backend are the ledger's Redis."""

    @classmethod
    def create_setup_app(cls, celery_setup_config: dict[str, Any], celery_setup_app_name: str) -> Celery:
        app = Celery(celery_setup_app_name, set_as_current=False)
        app.config_from_object("celeryconfig")
        app.conf.update(celery_setup_config)
        return app


class ProcessContainer(CeleryTestContainer):
    """A process in the place of a container; `prompt` is what it logs when it is ready. Whoever started the process ends it."""

    prompt = ""

    def __init__(self, process: Process) -> None:  # not the parent's: that one wraps a container of the engine
        self.process = process
        self._begins = 0  # where in the log the present run begins

    @property
    def id(self) -> str:
        return f"{self.process.name}-{self.process.pid}"

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def status(self) -> str:
        return "running" if self.process.alive else "exited"

    def logs(self) -> str:
        return self.process.log.read_text(errors="replace")

    def reload(self) -> None:
        """There is nothing to look up."""

    def ready(self) -> bool:
        wait_for(lambda: self.prompt in self.logs()[self._begins :], 30, f"{self.name} to be ready")
        return True

    def kill(self, signal: str | int = "SIGKILL") -> None:
        assert signal == "SIGKILL"
        self.process.kill()

    def restart(self, timeout: float = 10) -> None:
        if self.process.alive:
            self.process.stop(timeout)
        self._begins = len(self.logs())
        self.process.start()
        self.ready()


class WorkerProcess(ProcessContainer):
    prompt = " ready."


class RedisProcess(ProcessContainer):
    prompt = "Ready to accept connections"

    def __init__(self, process: Process, url: str) -> None:
        super().__init__(process)
        self.url = url

    @property
    def celeryconfig(self) -> dict[str, Any]:
        parts = urlsplit(self.url)
        return {"url": self.url, "host_url": self.url, "hostname": parts.hostname, "port": parts.port, "vhost": Path(parts.path).name}

    @property
    def client(self) -> "redis.Redis[str]":
        return redis.Redis.from_url(self.url, decode_responses=True)


@pytest.fixture
def celery_setup_cls() -> type[CoordinatorSetup]:
    return CoordinatorSetup


@pytest.fixture
def default_redis_backend(default_redis_broker: CeleryTestContainer) -> CeleryTestContainer:
    """The ledger keeps the results: the same Redis."""
    return default_redis_broker


@pytest.fixture
def celery_broker(default_redis_broker: CeleryTestContainer) -> RedisTestBroker:
    """The plugin's own would run every test with each broker that it knows."""
    return RedisTestBroker(default_redis_broker)


@pytest.fixture
def celery_backend(default_redis_backend: CeleryTestContainer) -> RedisTestBackend:
    return RedisTestBackend(default_redis_backend)


@pytest.fixture
def coordinator(cluster: Cluster) -> Api:
    """The API in front of the same Redis."""
    return cluster.api()
