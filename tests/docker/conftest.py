"""Real containers: the compose project, and pytest-celery's nodes. `make test-docker` runs this; `make test` does not look here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from pytest_celery import CeleryWorkerContainer, RedisContainer
from pytest_docker_tools import container, fxtr

from tests.docker import images
from tests.docker.project import Project
from tests.harness.celery_nodes import (  # noqa: F401 - fixtures
    celery_backend,
    celery_broker,
    celery_setup_cls,
    coordinator,
    default_redis_backend,
)
from tests.harness.cluster import Cluster
from tests.harness.processes import free_port

REDIS = "redis-server --save '' --appendonly yes --appendfsync always --maxmemory-policy noeviction --dir /data --protected-mode no"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """A line for whoever watches."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n    {line}", end="", flush=True)

    return tell


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The engine; tests/docker/run has made the images."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def project(engine: docker.DockerClient) -> Iterator[Project]:
    """The project, up and healthy."""
    made = Project(engine)
    try:
        made.up()
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.close()


# -- pytest-celery's nodes in containers: the worker on the host's network, because the tests' agents and API are there


class RedisNode(RedisContainer):
    """Published on a port that it keeps over a restart."""

    @property
    def celeryconfig(self) -> dict[str, object]:
        (published,) = self.attrs["HostConfig"]["PortBindings"]["6379/tcp"]
        url = f"redis://127.0.0.1:{published['HostPort']}/1"
        return {"url": url, "host_url": url, "hostname": "127.0.0.1", "port": int(published["HostPort"]), "vhost": "1"}


class WorkerNode(CeleryWorkerContainer):
    def ready(self) -> bool:
        """The parent's waits for an address, which a container on the host's network does not get."""
        self._container.reload()
        return self.status == "running" and self._wait_ready()


@pytest.fixture
def redis_ports() -> dict[str, tuple[str, int]]:
    return {"6379/tcp": ("127.0.0.1", free_port())}


default_redis_broker = container(
    image=images.SERVICES, command=["sh", "-c", f"exec {REDIS}"], ports=fxtr("redis_ports"), wrapper_class=RedisNode
)


@pytest.fixture
def cluster(engine: docker.DockerClient, default_redis_broker: RedisNode, tmp_path: Path) -> Iterator[Cluster]:
    """The harness's API on the container's Redis; its own stands idle."""
    made = Cluster(tmp_path)
    made.redis_url = str(default_redis_broker.celeryconfig["url"])
    yield made
    made.close()


@pytest.fixture
def worker_environment(cluster: Cluster) -> dict[str, str]:
    return {"REDIS_URL": cluster.redis_url, "AITBC_SHUTDOWN_TIMEOUT": "0.5"}


default_worker_container = container(
    image=images.AITBC,
    command=["aitbc", "worker", "-n", "worker@test"],
    environment=fxtr("worker_environment"),
    network_mode="host",
    read_only=True,
    tmpfs={"/tmp": ""},
    cap_drop=["ALL"],
    security_opt=["no-new-privileges:true"],
    wrapper_class=WorkerNode,
)
