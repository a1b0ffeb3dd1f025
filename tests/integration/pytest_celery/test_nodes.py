"""Our worker as a node of pytest-celery: killed, restarted, its job delivered again; seen in its log, and in the task of the ledger."""

import time

import redis
from pytest_celery import CeleryTestSetup

from aitbc.tasks import queues
from tests.harness.agents import Agents, hang, succeed
from tests.harness.cluster import Api, Cluster
from tests.harness.processes import wait_for

pytest_plugins = ("pytest_celery.plugin",)


def received(setup: CeleryTestSetup, task_id: str) -> int:
    """How often the worker was given the job of this task."""
    return str(setup.worker.logs()).count(f"Task aitbc.route[{task_id}] received")


def an_hour_passes(broker: redis.Redis) -> None:
    """What nobody has acknowledged is due to be delivered again (`visibility_timeout`)."""
    taken = broker.zrange("unacked_index", 0, -1)
    assert taken
    broker.zadd("unacked_index", dict.fromkeys(taken, time.time() - 3601))


def test_a_task_goes_through_the_worker_node(celery_setup: CeleryTestSetup, coordinator: Api, agents: Agents) -> None:
    assert celery_setup.ready(control=True, docker=True)
    ((_, consumed),) = celery_setup.app.control.inspect().active_queues().items()
    assert [queue["name"] for queue in consumed] == queues.names()
    agent = agents.start("a")
    coordinator.register("a", agent.url)
    task_id = coordinator.submit()
    assert coordinator.task(task_id, wait=10)["result"] == {"done": task_id, "by": "a"}
    celery_setup.worker.assert_log_exists(f"Task aitbc.route[{task_id}] received", timeout=5)
    assert received(celery_setup, task_id) == 1


def test_a_killed_worker_is_given_its_job_again(celery_setup: CeleryTestSetup, coordinator: Api, cluster: Cluster, agents: Agents) -> None:
    worker, broker = celery_setup.worker, celery_setup.broker.container.client
    agent = agents.start("slow", hang)
    coordinator.register("slow", agent.url)
    task_id = coordinator.submit()
    wait_for(lambda: agent.working == 1, 10, "the call")
    wait_for(lambda: broker.hlen("unacked") == 1, 5, "the job's record")
    worker.kill()
    assert worker.container.status == "exited"
    assert coordinator.task(task_id)["state"] == "running"  # nobody has noticed yet

    agent.answer = succeed
    an_hour_passes(broker)
    worker.restart()
    wait_for(lambda: received(celery_setup, task_id) == 2, 10, "the job again")
    task = coordinator.task(task_id, wait=30)
    assert task["state"] == "completed"
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["lost", "completed"]  # the job itself found nothing to do
    assert agent.sends == {task_id: 2}
    wait_for(lambda: broker.hlen("unacked") == 0, 5, "the acknowledgement")
    broker.close()
    cluster.healthy()


def test_a_killed_broker_costs_the_worker_node_nothing(
    celery_setup: CeleryTestSetup, coordinator: Api, cluster: Cluster, agents: Agents
) -> None:
    agent = agents.start("a", delay=1.5)
    coordinator.register("a", agent.url)
    during = coordinator.submit()
    wait_for(lambda: agent.working == 1, 10, "the call")
    celery_setup.broker.kill()
    celery_setup.worker.assert_log_exists("Connection to broker lost", timeout=10)
    celery_setup.broker.restart()
    after = wait_for(coordinator.submit, 15, "a submit to be accepted")
    tasks = coordinator.ended([during, str(after)])
    assert {task["state"] for task in tasks.values()} == {"completed"}
    assert agent.sends == {during: 1, after: 1}
    assert celery_setup.worker.container.status == "running"
    cluster.healthy()
