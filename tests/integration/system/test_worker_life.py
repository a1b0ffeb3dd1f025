"""A worker's life beside its jobs: shutdown, revoke, lost jobs, its own absence, a fleet of two."""

import signal
import subprocess
import sys
import time

import redis

from tests.harness.agents import Agents, HttpAgent, hang, succeed
from tests.harness.cluster import Api, Cluster
from tests.harness.processes import ROOT, environment, wait_for


def celery(cluster: Cluster, *words: str) -> str:
    """`celery -A aitbc.tasks …` as an operator types it."""
    command = [sys.executable, "-m", "celery", "-A", "aitbc.tasks", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(REDIS_URL=cluster.redis_url), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def busy(api: Api, agents: Agents, name: str, count: int, delay: float) -> tuple[HttpAgent, list[str]]:
    agent = agents.start(name, delay=delay)
    api.register(name, agent.url, max_concurrency=count)
    ids = [api.submit() for _ in range(count)]
    wait_for(lambda: agent.working == count, 10, f"{count} calls in flight")
    return agent, ids


def test_a_stopping_worker_lets_its_calls_end(cluster: Cluster, agents: Agents) -> None:
    api, worker = cluster.api(), cluster.worker(AITBC_SHUTDOWN_TIMEOUT="5")
    _, ids = busy(api, agents, "a", 10, delay=1.5)
    assert worker.stop() == 0
    assert {api.task(t)["state"] for t in ids} == {"completed"}
    assert agents.sends == dict.fromkeys(ids, 1)
    assert redis.Redis.from_url(cluster.redis_url).hlen("unacked") == 0
    assert api.call("GET", "/ready")[0] == 503  # the last worker said that it leaves
    cluster.healthy()


def test_calls_that_outlast_the_shutdown_end_as_worker_stopped_and_run_elsewhere(cluster: Cluster, agents: Agents) -> None:
    api, worker = cluster.api(), cluster.worker("first", AITBC_SHUTDOWN_TIMEOUT="1")
    agent, (task_id,) = busy(api, agents, "a", 1, delay=60)
    agent.delay = 0
    cluster.worker("second")
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 8
    task = api.task(task_id, wait=10)
    assert task["state"] == "completed"
    assert [a["outcome"] for a in task["attempts"]] == ["stopped", "completed"]
    cluster.healthy()


def test_at_most_once_work_that_is_cut_off_ends_as_outcome_unknown(cluster: Cluster, agents: Agents) -> None:
    api, worker = cluster.api(), cluster.worker(AITBC_SHUTDOWN_TIMEOUT="0")
    agent = agents.start("a", hang)
    api.register("a", agent.url)
    task_id = api.submit(max_attempts=1)
    wait_for(lambda: agent.working, 5)
    worker.stop()
    task = api.task(task_id)
    assert (task["state"], task["error"]["code"]) == ("failed", "outcome_unknown")
    assert len(agent.received) == 1
    assert [t["task_id"] for t in api.ok("GET", "/tasks/dead")["tasks"]] == [task_id]


def test_revoke_is_cancel_wherever_the_task_is(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    agent = agents.start("a", hang)
    api.register("a", agent.url, max_concurrency=1)
    running = api.submit(task_id="running", priority="high")
    wait_for(lambda: agent.working, 5)
    waiting = api.submit(task_id="waiting")
    wait_for(lambda: api.task(waiting)["state"] == "waiting", 5)
    celery(cluster, "control", "revoke", "waiting")
    wait_for(lambda: api.task(waiting)["state"] == "cancelled", 4)
    celery(cluster, "control", "terminate", "SIGTERM", "running")
    wait_for(lambda: api.task(running)["state"] == "cancelled", 4)
    wait_for(lambda: api.ok("GET", "/agents/a")["agent"]["active"] == 0, 4, "the closed call's slot")
    assert agent.sends == {running: 1}
    agent.answer = succeed
    assert api.task(api.submit(), wait=10)["state"] == "completed"
    assert api.ok("POST", f"/tasks/{waiting}/retry")["state"] in ("waiting", "running")
    assert api.task(waiting, wait=10)["state"] == "completed"  # under a new Celery id: the revoked one is remembered for 3 h
    cluster.healthy()


def test_inspect_shows_the_worker(cluster: Cluster) -> None:
    cluster.worker()
    assert "pong" in celery(cluster, "inspect", "ping")
    assert "urgent.granted" in celery(cluster, "inspect", "active_queues")


def test_flushed_queues_cost_seconds_not_tasks(cluster: Cluster, agents: Agents) -> None:
    api = cluster.api()
    agent = agents.start("a")
    api.register("a", agent.url)
    ids = [api.submit() for _ in range(20)]
    broker = redis.Redis.from_url(cluster.redis_url)
    assert broker.delete("normal") == 1  # every job is gone
    cluster.worker()
    began = time.monotonic()
    api.ended(ids, 5)
    assert time.monotonic() - began < 3
    assert agents.sends == dict.fromkeys(ids, 1)
    cluster.healthy()


def frozen_ids(cluster: Cluster) -> set[bytes]:
    """Under which ids the ledger knows the worker `frozen`."""
    with redis.Redis.from_url(cluster.redis_url) as ledger:
        return {name for name in ledger.zrange("workers:deadlines", 0, -1) if name.startswith(b"frozen@")}


def test_a_frozen_worker_is_replaced_and_its_late_answer_changes_nothing(cluster: Cluster, agents: Agents) -> None:
    api, frozen = cluster.api(), cluster.worker("frozen")
    agent, (task_id,) = busy(api, agents, "a", 1, delay=3)
    ids = frozen_ids(cluster)
    frozen.signal(signal.SIGSTOP)
    cluster.worker("other")
    agent.delay = 0
    task = api.task(task_id, wait=30)
    assert task["state"] == "completed"
    assert [a["outcome"] for a in task["attempts"]] == ["lost", "completed"]
    frozen.signal(signal.SIGCONT)
    wait_for(lambda: "declared dead" in frozen.log.read_text(), 10, "the frozen worker to hear of it")
    assert api.task(task_id)["attempts"] == task["attempts"]
    wait_for(lambda: frozen_ids(cluster) - ids, 10, "it to go on under a new id")
    assert not frozen_ids(cluster) & ids
    for _ in range(10):
        assert api.task(api.submit(), wait=10)["state"] == "completed"
    cluster.healthy()
