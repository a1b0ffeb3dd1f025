"""deploy/examples/rabbitmq with a real RabbitMQ: the main job in every priority, and what the files promise. (Outages: tests/faults.)"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aitbc.model.priority import PRIORITIES
from aitbc.tasks import queues
from tests.harness.brokers import Rabbit
from tests.harness.examples import settings, written
from tests.harness.matrix import row


class ExampleRabbit(Rabbit):
    """With the example's configuration, its port and password changed."""

    def listening(self) -> dict[str, object]:
        changes = {"127.0.0.1:5672": f"127.0.0.1:{self.port}", "change-me": "changed"}
        path = written(self.folder, "rabbitmq/rabbitmq.conf", changes)
        path.chmod(0o644)
        return {"CONFIG_FILE": path}

    @property
    def env_of_nodes(self) -> dict[str, str]:
        return settings("rabbitmq/aitbc.env", {"127.0.0.1:5672": f"127.0.0.1:{self.port}", "change-me": "changed"})


@pytest.fixture(scope="module")
def rabbit() -> Iterator[ExampleRabbit]:
    rabbit = ExampleRabbit()
    yield rabbit
    rabbit.close()


def test_the_main_job(tmp_path: Path, rabbit: ExampleRabbit) -> None:
    with row("RabbitMQ as in deploy/examples", tmp_path, **rabbit.env_of_nodes) as world:
        api = world.node()
        world.worker()
        agent = world.agent(api)
        for priority in PRIORITIES:
            for _ in range(5):
                world.submit(api, priority=priority.value)
        world.settle(api, faults=0)
        assert len(agent.received) == 25
        assert api.ok("GET", "/ready")["warnings"] == []


def test_ten_quorum_queues_and_none_for_etas(rabbit: ExampleRabbit) -> None:
    found = [line.split("\t") for line in rabbit.ctl("list_queues", "-p", "aitbc", "name", "type").splitlines()]
    assert sorted(name for name, kind in found if kind == "quorum") == sorted(queues.names())
    assert [name for name, _ in found if "delayed" in name] == []


def test_one_user_and_time_for_a_call_of_a_day(rabbit: ExampleRabbit) -> None:
    assert [line.split("\t")[0] for line in rabbit.ctl("list_users").splitlines()] == ["user", "aitbc"]
    limit = rabbit.ctl("eval", "element(2, application:get_env(rabbit, consumer_timeout)).")
    assert int(limit) > 86_400_000
