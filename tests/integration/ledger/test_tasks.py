"""Submit and read: idempotency, listings with cursors, counters."""

import pytest

from aitbc.errors import Conflict, Full, Invalid, NotFound
from aitbc.ledger import tasks
from aitbc.ledger.events import Stream
from aitbc.ledger.scripts import FIXED
from aitbc.ledger.step import micros
from aitbc.ledger.tasks import TaskFilter
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import TaskState
from tests.integration.ledger.desk import COUNTED, DONE, FINAL, new_task


def test_a_repeated_submit_is_the_same_task(sound):
    first = sound.task("t", idempotency_key="k")
    assert (first.created, first.publish) == (True, True)
    for again in (sound.task("t", idempotency_key="k"), sound.task("t"), sound.task("x", idempotency_key="k", digest="digest of t")):
        assert (again.task_id, again.submitted_at, again.created, again.publish) == ("t", first.submitted_at, False, True)
    before = sound.whole()
    for clash in ({"digest": "other"}, {"digest": "other", "idempotency_key": "k"}):
        with pytest.raises(Conflict):
            sound.task("t", **clash)
    assert sound.whole() == before
    sound.agent("a")
    sound.begin("t:1")
    assert not sound.task("t").publish


def test_a_record_leaves_out_what_is_usual(sound):
    """The constants for what is left out are a task's defaults of today; they must outlive those."""
    usual = new_task("t")
    assert (usual.max_attempts, micros(usual.run_timeout)) == (FIXED["USUAL_ATTEMPTS"], FIXED["USUAL_RUN"])
    plain = sound.task("t")
    assert set(sound.redis.hkeys("task:t")) == {b"state", b"digest", b"priority", b"sig", b"task_data", b"stamp"}
    task = sound.read("t")
    assert (task.task_id, task.max_attempts, task.requirements, task.submitted_at) == ("t", 3, {}, plain.submitted_at)
    sound.agent("a", 2)
    assert round(sound.begin("t:1").attempt.seconds_left) == 300
    own = sound.started("own", max_attempts=5, run_timeout=7, needs=Requirements(agent_type="worker"))
    task = sound.read("own")
    assert (round(own.attempt.seconds_left), task.max_attempts, task.requirements) == (7, 5, {"agent_type": "worker"})


def test_a_task_was_submitted_when_it_was(sound):
    """Its stamp tells so, unless the clock was set back (stamps go on), it has none yet, or a retry by hand gave it another."""
    for name, how in (("t1", {}), ("t2", {}), ("late", {"delay": 9.0})):
        first = sound.task(name, **how)
        sound.run(tasks.cancel(name))
        for at in (-5, 1, 1):
            sound.at(at)
            assert sound.task(name, **how).submitted_at == sound.read(name).submitted_at == first.submitted_at
            if sound.state(name) == "cancelled":
                sound.run(tasks.retry(name, "request", Requirements()))


def test_an_ended_task_keeps_nothing_of_its_lease(sound):
    sound.agent("a")
    call = sound.started("t")
    call.renews()
    call.ends()
    assert not {b"lease", b"token", b"deadline", b"expires", b"async", b"instance"} & set(sound.redis.hkeys("task:t"))
    assert sound.field("t", "worker") == "w1"  # shown for good


def test_live_tasks_are_bounded(sound):
    few = sound.again(max_live_tasks=2)
    few.agent("a")
    few.task("t1")
    few.task("t2", delay=9)
    before = few.whole()
    with pytest.raises(Full):
        few.task("t3")
    assert few.whole() == before
    assert not few.task("t1").created
    few.routed("t1").ends()
    few.task("t3")
    few.close()


def test_signatures_are_bounded(sound):
    few = sound.again(max_signatures=2)
    few.task("t1")
    few.task("t2", needs=Requirements(capabilities=("x",)))
    before = few.whole()
    with pytest.raises(Full, match="AITBC_MAX_SIGNATURES"):
        few.task("t3", needs=Requirements(capabilities=("y",)))
    assert few.whole() == before
    few.task("t3", needs=Requirements(capabilities=("x",)))
    few.close()


def test_pages_newest_first_over_equal_scores(sound):
    """Many tasks in one microsecond: every one is seen once."""
    for n in range(23):
        sound.task(f"t{n:02}")
    sound.redis.zadd("tasks:all", {f"t{n:02}": 1000 + n // 10 for n in range(23)})
    cursor, seen = None, []
    while True:
        page = sound.run(tasks.page(TaskFilter(), 4, cursor))
        seen += [task.task_id for task in page.tasks]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"t{n:02}" for n in (22, 21, 20, *range(19, 9, -1), *range(9, -1, -1))]
    with pytest.raises(Invalid):
        tasks.page(TaskFilter(), 4, "nonsense")


def test_pages_by_filter(sound):
    sound.agent("a", 9)
    sound.agent("b", 9)
    for n in range(6):
        sound.started(f"t{n}", priority=Priority.URGENT if n % 2 else Priority.LOW)
    sound.run(tasks.cancel("t5"))
    sound.task("waits")

    def ids(**where):
        return [task.task_id for task in sound.run(tasks.page(TaskFilter(**where), 10)).tasks]

    assert ids() == ["waits", "t5", "t4", "t3", "t2", "t1", "t0"]
    assert ids(state=TaskState.RUNNING) == ["t4", "t3", "t2", "t1", "t0"]
    assert ids(priority=Priority.URGENT) == ["t5", "t3", "t1"]
    assert sorted(ids(agent_id="a") + ids(agent_id="b")) == ["t0", "t1", "t2", "t3", "t4", "t5"]
    assert ids(state=TaskState.CANCELLED, priority=Priority.URGENT) == ["t5"]
    assert ids(agent_id="nobody") == []


def test_a_page_looks_at_2000_at_most(sound):
    for n in range(2100):
        sound.task(f"t{n}")
    sound.task("last", priority=Priority.URGENT)
    sound.redis.zadd("tasks:all", {"last": 1})
    first = sound.run(tasks.page(TaskFilter(priority=Priority.URGENT), 10))
    assert (first.tasks, bool(first.next_cursor)) == ([], True)
    second = sound.run(tasks.page(TaskFilter(priority=Priority.URGENT), 10, first.next_cursor))
    assert ([task.task_id for task in second.tasks], second.next_cursor) == (["last"], None)


def test_a_page_ends_at_4_mib(sound):
    for n in range(6):
        sound.task(f"t{n}", task_data='"' + "x" * 1_000_000 + '"')
    page = sound.run(tasks.page(TaskFilter(), 200))
    assert len(page.tasks) == 5
    assert [task.task_id for task in sound.run(tasks.page(TaskFilter(), 200, page.next_cursor)).tasks] == ["t0"]


def test_counters(sound):
    assert sound.run(tasks.stats()).success_rate == 1.0
    sound.agent("a", 9, weight=2.5)
    good, bad, live = (sound.started(f"t{n}") for n in range(3))
    good.ends()
    bad.ends(FINAL)
    sound.task("urgent", priority=Priority.URGENT, needs=Requirements(capabilities=("x",)))
    sound.task("low", priority=Priority.LOW, needs=Requirements(capabilities=("x",)))
    stats = sound.run(tasks.stats())
    assert (stats.begun, stats.completed, stats.failed, stats.live_leases, stats.active_agents) == (3, 1, 1, 1, 1)
    assert (stats.succeeded_attempts, stats.failed_attempts, stats.success_rate) == (1, 1, 0.5)
    assert stats.queue_sizes == {"urgent": 1, "critical": 0, "high": 0, "normal": 0, "low": 1}
    assert (stats.strategy, stats.weights, stats.paused) == ("least_connections", {"a": 2.5}, [])
    assert 0 < stats.distribution_seconds < 1
    assert live.ends().word == "completed"


def test_errors_and_deadlines_are_shown(sound):
    sound.agent("a")
    call = sound.started("t", max_attempts=1)
    assert sound.read("t").deadline
    call.ends(COUNTED)
    task = sound.read("t")
    assert (task.deadline, task.error) == (None, {"code": "agent_failed", "message": "500", "agent_id": "a"})
    assert (task.attempts[0].http_status, task.attempts[0].error, task.attempts[0].outcome) == (500, "agent_failed", "counted")
    assert task.ended_at
    with pytest.raises(NotFound, match="Task nobody not found"):
        sound.read("nobody")


def test_the_stream_of_ends(sound):
    sound.agent("a")
    stream = Stream(sound.ledger)
    start = stream.newest()
    assert (start, stream.follow(start, 0.01)) == ("0-0", [])
    sound.started("t").ends(DONE)
    sound.task("c")
    sound.run(tasks.cancel("c"))
    found = stream.follow(start, 0.01)
    assert [(event.task_id, event.word) for event in found] == [("t", "completed"), ("c", "cancelled")]
    assert stream.newest() == found[-1].event_id
