"""The doctor sees each invariant that is broken by hand, and nothing while all hold."""

import pytest

from aitbc.ledger import agents, doctor, tasks
from aitbc.ledger.client import Ledger
from aitbc.ledger.snapshot import Snapshot
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, DONE, registration


@pytest.fixture
def busy(desk):
    """A ledger in which something is in every place."""
    desk.agent("a", 3, capabilities=("x",), weight=2.0)
    desk.agent("b", 9, heartbeat_timeout=0, tags=("z",))
    for n in range(5):
        desk.started(f"f{n}", max_attempts=1, needs=Requirements(tags=("z",))).ends(COUNTED)
    desk.started("done", idempotency_key="k").ends(DONE)
    desk.started("sync")
    desk.started("held").renews()
    desk.started("cancelled")
    desk.run(tasks.cancel("cancelled"))
    desk.task("waits", needs=Requirements(capabilities=("x",), min_health_score=0.5), queue_timeout=60)
    desk.route("waits")
    desk.task("queued")
    desk.task("scheduled", delay=60)
    desk.sweep()
    assert desk.violations() == []
    return desk


BREAKS = [
    ("1 task waits is waiting but not listed", lambda r: r.zrem("tasks:waiting", "waits")),
    ("1 task waits is listed as running", lambda r: r.zadd("tasks:running", {"waits": 1})),
    ("1 task waits is in tasks:all or", lambda r: r.zrem("tasks:all", "waits")),
    ("1 an unknown task ghost", lambda r: r.zadd("tasks:waiting:any:3", {"ghost": 1})),
    ("1 task queued is queued and stands", lambda r: r.zrem("tasks:waiting:any:3", "queued")),
    ("1 task sync is running with lease ''", lambda r: r.hset("task:sync", "lease", "")),
    ("2 task sync shows attempts", lambda r: r.hset("task:sync", "attempt", 3)),
    ("2 task sync lists the attempts", lambda r: r.hset("task:sync", "lines", "1 2")),
    ("2 lease sync:1 is in `leases` or", lambda r: r.zrem("leases", "sync:1")),
    ("2 lease sync:1 is not among those", lambda r: r.srem("leases:agent:a", "sync:1")),
    ("8 lease sync:1 is overdue", lambda r: r.zadd("leases", {"sync:1": 1})),
    ("8 lease sync:1 is older", lambda r: r.hset("task:sync", mapping={"deadline": 2, "expires": 1})),
    ("2 lease sync:1 expires after", lambda r: r.hset("task:sync", mapping={"deadline": 2, "expires": 3})),
    ("2 lease sync:1 is neither", lambda r: r.srem("leases:worker:w1", "sync:1")),
    ("8 lease sync:1 was begun by a worker that", lambda r: r.zrem("workers:deadlines", "w1")),
    ("10 lease sync:1 holds a token", lambda r: r.hset("task:sync", "token", "clear")),
    ("2 worker w1 does not hold", lambda r: r.sadd("leases:worker:w1", "ghost:1")),
    ("8 dead worker w7", lambda r: r.zadd("workers:deadlines", {"w7": 1})),
    ("2 suspects are", lambda r: r.hset("workers:suspects", "w1", "sync:1")),
    ("2 lease cancelled:1 of a is being", lambda r: r.srem("cancelling:agent:a", "cancelled:1")),
    ("8 task done has a queue timeout", lambda r: r.zadd("tasks:timeouts", {"done": 9e15})),
    ("8 waits is overdue in tasks:timeouts", lambda r: r.zadd("tasks:timeouts", {"waits": 1})),
    ("9 completed: counted 2", lambda r: r.hincrby("stats", "completed", 1)),
    ("9 submitted + retried", lambda r: r.hincrby("stats", "submitted", 1)),
    ("9 kept_bytes", lambda r: r.hincrby("stats", "kept_bytes", 1)),
    ("10 idempotency entry k", lambda r: r.hdel("task:done", "idempotency_key")),
    ("10 task done lost its", lambda r: r.delete("idempotency:k")),
    ("10 task:done has a TTL", lambda r: r.expire("task:done", 100)),
    ("3 agent a does not hold", lambda r: r.sadd("leases:agent:a", "ghost:1")),
    ("4 agents:active is wrong of a", lambda r: r.srem("agents:active", "a")),
    ("4 agent a is active but silent", lambda r: r.zadd("agents:deadlines", {"a": 1})),
    ("4 agent b's health has moved", lambda r: (r.hset("agent:b", "_tenth", 1), r.zadd("agents:drift", {"b": 1}))),
    ("4 agent b's health would never", lambda r: r.zrem("agents:drift", "b")),
    ("4 agent b has an open breaker or", lambda r: r.zrem("agents:cooldown", "b")),
    ("4 agent a is inactive or", lambda r: r.zadd("agents:inactive", {"a": 9e15})),
    ("4 agent a is cap:x or indexed", lambda r: r.srem("agents:with:cap:x", "a")),
    ("4 agents:terms:cap", lambda r: r.sadd("agents:terms:cap", "cap:y")),
    ("4 agents:all is not", lambda r: r.zadd("agents:all", {"ghost": 0})),
    ("4 unknown agent ghost in agents:weighted", lambda r: r.sadd("agents:weighted", "ghost")),
    ("5 agent a is listed for 123", lambda r: r.sadd("agents:sigs:a", "123")),
    ("5 agent a satisfies any and", lambda r: r.srem("agents:sigs:a", "any")),
    ("4 agent b is free for any or", lambda r: r.zadd("agents:score:0:any", {"b": 1})),
    ("4 score set 7:any is of nothing", lambda r: r.zadd("agents:score:7:any", {"a": 1})),
    ("5 the head of any:3", lambda r: r.zadd("heads", {"any:3": 1})),
    ("5 head ghost of rank 2", lambda r: r.zadd("heads", {"ghost:2": 1})),
    ("5 signature any counts", lambda r: r.hincrby("sig:any", "live", 1)),
    ("5 signature any is half there (sigs)", lambda r: r.zrem("sigs", "any")),
    ("5 task queued lives without", lambda r: r.delete("sig:any")),
    ("10 agent a's secret is not", lambda r: r.hset("agent:a", "_secret", "clear")),
]


@pytest.mark.parametrize(("violation", "break_it"), BREAKS, ids=[violation for violation, _ in BREAKS])
def test_a_broken_invariant_is_seen(busy, violation, break_it):
    break_it(busy.redis)
    found = busy.violations()
    assert any(text.startswith(violation) for text in found), found


def test_a_granted_lease_that_is_old_or_has_a_worker(desk):
    desk.task("t")
    desk.agent("a")
    desk.redis.hset("task:t", mapping={"granted_at": 1, "worker": "w"})
    assert {text[:28] for text in desk.violations()} == {"8 lease t:1 was granted too ", "2 lease t:1 is not begun and"}


def test_work_beside_a_free_agent(desk):
    desk.agent("a")
    desk.task("t")
    assert desk.violations(swept=False) == []
    assert desk.violations() == ["6 signature any of rank 3 waits beside a free agent"]


def test_a_wrong_score(desk):
    desk.agent("a")
    desk.task("t")
    desk.run(tasks.cancel("t"))
    desk.redis.zadd("agents:score:0:any", {"a": 5})
    assert desk.violations() == ["4 agent a has a wrong score for any"]
    desk.redis.hset("ledger", "strategy", "of tomorrow")
    assert desk.violations() == []


def test_sizes_over_their_caps(desk):
    for n in range(3):
        desk.agent(f"a{n}")
        desk.task(f"t{n}", needs=Requirements(capabilities=(str(n),)))
    few = desk.again(max_agents=2, max_signatures=2, max_live_tasks=2)
    assert {text[:4] for text in few.violations()} == {"10 3", "5 3 "}
    few.close()


def test_more_leases_than_slots(desk):
    desk.agent("a", 2)
    desk.started("t1")
    desk.started("t2")
    assert doctor.over_capacity(Snapshot(desk.ledger)) == []
    desk.agent("a", 1)
    assert doctor.over_capacity(Snapshot(desk.ledger)) == ["a"]


def test_a_violation_counts_when_a_second_look_shows_it(desk, monkeypatch):
    ledger = Ledger(desk.settings)
    assert doctor.examine(ledger) == []
    ledger.run(agents.register(registration("a")))
    monkeypatch.setattr(doctor, "SECOND_LOOK", 0.01)
    desk.redis.srem("agents:active", "a")
    assert doctor.examine(ledger) == ["4 agents:active is wrong of a (active, closed)"]
    monkeypatch.setattr(doctor.time, "sleep", lambda _: desk.redis.sadd("agents:active", "a"))
    assert doctor.examine(ledger) == []
    ledger.close()


def test_warnings_name_the_law(desk):
    found = doctor.warnings(desk.ledger)
    assert found == ["L1 does not hold: appendonly is off, a restart of Redis loses accepted tasks; set appendonly yes"]


def test_a_snapshot_reads_in_chunks(desk):
    for n in range(1100):
        desk.redis.hset(f"task:{n}", "state", "queued")
    desk.redis.set("of somebody else", 1)
    snapshot = Snapshot(desk.ledger)
    assert len(snapshot.under("task:")) == 1100
    assert "of somebody else" not in snapshot.data
