"""RabbitMQ as the broker, the ledger in Redis: killed for 5 s; its prefetch beside our places."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_redis import started, under_load
from tests.harness.brokers import Rabbit
from tests.harness.matrix import row
from tests.harness.processes import wait_for


@pytest.fixture(scope="module")
def rabbit() -> Iterator[Rabbit]:
    rabbit = Rabbit()
    yield rabbit
    rabbit.close()


def test_rabbitmq_delivers_more_than_a_worker_carries_out(tmp_path: Path, rabbit: Rabbit) -> None:
    """Quorum queues are limited one by one: ten queues bring ten times worker_concurrency. It is kept all the same."""
    with row("RabbitMQ, five places", tmp_path, CELERY_BROKER_URL=rabbit.url) as world:
        api = world.node()
        agent = world.agent(api, delay=0.3, max_concurrency=50)
        for n in range(40):
            world.submit(api, priority=("urgent", "critical", "high", "normal", "low")[n % 5])
        world.worker(AITBC_WORKER_CONCURRENCY="5")
        world.settle(api, faults=0)
        assert agent.peak == 5


def test_rabbitmq_as_the_broker(tmp_path: Path, rabbit: Rabbit) -> None:
    """The main job; then the broker is killed for 5 s: submits are accepted, tasks go on (the sweep grants them), no worker dies."""
    with row("RabbitMQ killed for 5 s", tmp_path, CELERY_BROKER_URL=rabbit.url) as world:
        api = started(world)
        assert api.task(world.submit(api), wait=10)["state"] == "completed"
        queues = rabbit.ctl("list_queues", "name", "type").splitlines()
        assert sorted(line.split("\t")[1] for line in queues if "." not in line.split("\t")[0] or ".granted" in line).count("quorum") == 10
        assert not any("delayed" in line for line in queues), queues

        def strikes() -> None:
            world.struck = time.monotonic()
            rabbit.kill()
            time.sleep(5)
            rabbit.start()

        load = under_load(world, api, strikes)
        assert set(load.answers) == {200}  # the ledger is there: the broker's absence refuses nobody
        assert api.task(world.submit(api), wait=10)["state"] == "completed"
        wait_for(lambda: api.call("GET", "/ready")[0] == 200, 10, "/ready")
        world.settle(api, faults=1)
        assert all(process.alive for process in world.cluster.processes)
        assert "Unrecoverable" not in world.cluster.processes[2].log.read_text()
