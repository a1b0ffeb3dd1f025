"""Jobs that a step pushes into the broker's lists, where these are in the ledger's Redis."""

import pytest

from aitbc.errors import Conflict
from aitbc.ledger import tasks
from aitbc.ledger.jobs import push
from aitbc.model.job import Job
from tests.integration.ledger.desk import new_task

JOB = Job("jobs", b'{"id": "t"}')


def queued(desk, queue="jobs"):
    return desk.redis.lrange(queue, 0, -1)


def test_a_new_task_and_its_job_are_one_step(sound):
    done = sound.run(tasks.submit(new_task("t"), JOB))
    assert (done.created, done.publish, queued(sound)) == (True, False, [JOB.message])


def test_without_a_job_one_is_wanted(sound):
    assert sound.run(tasks.submit(new_task("t"))).publish
    assert queued(sound) == []


def test_what_is_not_due_pushes_none(sound):
    assert not sound.run(tasks.submit(new_task("t", delay=5), JOB)).publish
    assert queued(sound) == []


def test_a_repeat_pushes_none_and_wants_one(sound):
    """Its job may name another task: that of its Idempotency-Key. And the first one may be lost by now."""
    for _ in range(2):
        done = sound.run(tasks.submit(new_task("t"), JOB))
    assert (done.created, done.publish, queued(sound)) == (False, True, [JOB.message])
    with pytest.raises(Conflict):
        sound.run(tasks.submit(new_task("t", digest="other"), JOB))
    assert queued(sound) == [JOB.message]


def test_a_refused_one_pushes_none(desk):
    small = desk.again(max_live_tasks=1)
    first, second = small.run(tasks.submit_many([(new_task("a"), JOB), (new_task("b"), JOB)]))
    assert (first.created, type(second).__name__) == (True, "Full")
    assert queued(desk) == [JOB.message]
    small.close()


def test_many_keep_their_order(sound):
    some = [(new_task(f"t{n}"), Job("jobs", str(n).encode())) for n in range(tasks.SUBMITS)]
    done = sound.run(tasks.submit_many(some))
    assert [one.task_id for one in done] == [f"t{n}" for n in range(tasks.SUBMITS)]
    assert queued(sound)[::-1] == [str(n).encode() for n in range(tasks.SUBMITS)]
    assert [name.decode() for name in sound.redis.zrange("tasks:waiting:any:3", 0, -1)] == [f"t{n}" for n in range(tasks.SUBMITS)]


def test_a_queue_that_is_something_else_stops_no_submit(sound):
    sound.redis.set("jobs", "x")
    done = sound.run(tasks.submit(new_task("t"), JOB))
    assert (done.created, done.publish) == (True, True)


def test_a_push_passes_when_redis_is_full(own_redis, desk):
    full = type(desk)(own_redis.url)
    full.run(push([JOB]))  # Redis knows the script now
    full.redis.config_set("maxmemory", 1)
    full.run(push([JOB, Job("other", b"x")]))
    assert (queued(full), queued(full, "other")) == ([JOB.message] * 2, [b"x"])
    full.close()
