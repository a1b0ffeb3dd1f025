"""The pure parts of views."""

import pytest

from aitbc.errors import BadRequest
from aitbc.ledger.tasks import TaskStats
from aitbc.web import answers, balancer, callbacks, tasks
from aitbc.web.schemas.tasks import Submit


def stats(**more):
    known = {
        "begun": 3,
        "completed": 2,
        "failed": 1,
        "succeeded_attempts": 2,
        "failed_attempts": 1,
        "distribution_seconds": 0.5,
        "live_leases": 3,
        "active_agents": 2,
        "strategy": "least_connections",
        "queue_sizes": {},
        "weights": {},
        "paused": [],
        "callbacks": {},
    }
    return TaskStats(**{**known, **more})


def test_the_digest_knows_no_order_and_no_blanks():
    assert tasks.digest({"a": 1, "b": [1, 2]}) == tasks.digest({"b": [1, 2], "a": 1})
    assert tasks.digest({"a": 1}) != tasks.digest({"a": 1.5})
    assert tasks.digest({"b": [1, 2]}) != tasks.digest({"b": [2, 1]})


def test_a_new_task():
    task = tasks.new_task(Submit(task_data={"ä": [1]}, priority="HIGH", delay=2, queue_timeout=3), "d", "k")
    assert (task.task_data, task.priority) == ('{"ä":[1]}', "high")
    assert (task.delay, task.run_at, task.queue_timeout, task.digest, task.idempotency_key) == (2, 0, 3, "d", "k")
    assert len(task.task_id) == 32
    assert task.task_id != tasks.new_task(Submit(task_data={}), "d", "").task_id


def test_a_new_task_of_no_priority():
    with pytest.raises(BadRequest, match="Invalid priority: soon"):
        tasks.new_task(Submit(task_data={}, priority="soon"), "d", "")


def test_balancer_stats():
    assert balancer.balancer_stats(stats())["avg_agent_load"] == 1.5
    assert balancer.balancer_stats(stats())["success_rate"] == 0.6667
    assert balancer.balancer_stats(stats(active_agents=0))["avg_agent_load"] == 0
    assert len(balancer.balancer_stats(stats(weights={str(n): 2.0 for n in range(300)}))["agent_weights"]) == balancer.MAX_WEIGHTS


@pytest.mark.parametrize(("error", "text"), [(["a"], '["a"]'), ("", "the agent gave no reason"), ({"message": 3}, '{"message":3}')])
def test_an_agents_error_in_words(error, text):
    assert callbacks.in_words(error) == text


def test_an_agents_error_is_cut():
    assert len(callbacks.in_words("x" * 10_000)) == callbacks.MAX_MESSAGE


def test_times():
    assert answers.at(0) == "1970-01-01T00:00:00.000000+00:00"
    assert answers.now().endswith("+00:00")
