"""The sweep: turns, due tasks, timeouts, retention, the clock set back; each script harmless when repeated."""

import json

import pytest

from aitbc.errors import NotFound
from aitbc.ledger import agents, sweep, tasks, workers
from aitbc.ledger.scripts import RECORD_BYTES
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, DONE, FINAL


def test_one_worker_has_the_turn(sound):
    assert sound.run(sweep.turn("w1"))
    assert not sound.run(sweep.turn("w2"))
    sound.at(1)
    assert sound.run(sweep.turn("w2"))


def test_a_clock_set_back_does_not_stop_the_sweep(sound):
    """Found by reading: the turn was a key with a TTL, which by a clock set back an hour lives an hour longer."""
    assert sound.run(sweep.turn("w1"))
    sound.at(-3600)
    assert sound.run(sweep.turn("w2"))
    assert sound.redis.keys("sweep*") == []


def test_due_tasks_become_runnable_and_are_granted(sound):
    sound.agent("a", 2, heartbeat_timeout=0)
    submitted = sound.task("delayed", delay=5)
    assert not submitted.publish
    seconds, _ = sound.redis.time()
    sound.task("dated", run_at=seconds + sound.offset + 5)
    assert set(sound.places()["tasks:scheduled"]) == {"delayed", "dated"}
    assert sound.read("delayed").run_at
    assert sound.route("delayed").why == "scheduled"
    assert sorted(g.task_id for g in sound.pass_time(8)) == ["dated", "delayed"]


def test_due_tasks_are_granted_by_the_script_that_makes_them_runnable(sound):
    """A mutant that only this test notices: the sweep's last script would grant them too, if its turn is long enough."""
    sound.agent("a", heartbeat_timeout=0)
    sound.task("t", delay=5)
    sound.at(6)
    [step] = [step for step in sweep.steps() if step.script == "sweep_tasks"]
    assert [grant.task_id for grant in sound.run(step).grants] == ["t"]


def test_a_task_due_in_the_past_runs_now(sound):
    assert sound.task("t", run_at=1.0).publish


def test_a_hundred_due_in_one_second(sound):
    sound.agent("a", 100, heartbeat_timeout=0)
    for n in range(150):
        sound.task(f"t{n}", delay=1)
    sound.pass_time(2)
    assert sound.redis.scard("leases:agent:a") == 100


def test_queue_timeout(sound):
    sound.task("t", queue_timeout=10)
    sound.task("later", queue_timeout=10, delay=20)
    sound.pass_time(12)
    assert (sound.state("t"), sound.read("t").error["code"]) == ("failed", "queue_timeout")
    assert sound.state("later") == "scheduled"
    sound.pass_time(20)
    assert sound.read("later").error["code"] == "queue_timeout"


def test_a_queue_timeout_is_met_by_beginning(sound):
    """Found by reading: it depended on whether the task happened to run at that moment."""
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", queue_timeout=10)
    call.ends(COUNTED)
    sound.run(agents.drain("a"))
    sound.pass_time(14, "w1")
    assert sound.state("t") == "waiting"
    assert not sound.redis.exists("tasks:timeouts")


def test_a_queue_timeout_is_not_met_by_a_grant_alone(sound):
    sound.task("t", queue_timeout=10)
    [grant] = sound.agent("a", heartbeat_timeout=0).grants
    sound.pass_time(12)
    assert sound.state("t") == "running"
    sound.run(agents.drain("a"))
    sound.begin(grant.lease_id)
    sound.pass_time(2)
    assert sound.read("t").error["code"] == "queue_timeout"


def test_a_queue_timeout_counts_anew_after_a_retry_by_hand(sound):
    sound.task("t", queue_timeout=10)
    sound.pass_time(12)
    sound.run(tasks.retry("t", "r", Requirements()))
    sound.pass_time(8)
    assert sound.state("t") == "waiting"
    sound.pass_time(4)
    assert sound.read("t").error["code"] == "queue_timeout"


def test_what_nobody_could_take_expires(sound):
    sound.task("t")
    sound.task("waits")
    sound.route("waits")
    sound.at(7 * 86_400 - 5)
    sound.sweep()
    assert (sound.state("t"), sound.state("waits")) == ("queued", "waiting")
    sound.at(10)
    sound.sweep()
    assert sound.read("t").error["code"] == sound.read("waits").error["code"] == "expired"


def test_run_timeout(sound):
    sound.agent("a", heartbeat_timeout=0)
    sound.started("t", run_timeout=20, max_attempts=1)
    sound.pass_time(48, "w1")
    assert sound.state("t") == "running"
    sound.pass_time(4, "w1")
    assert sound.read("t").error["code"] == "run_timeout"


def test_retention_by_age(sound):
    sound.agent("a", heartbeat_timeout=0)
    sound.started("t", idempotency_key="k").ends()
    sound.at(86_390)
    sound.sweep()
    assert sound.state("t") == "completed"
    sound.at(20)
    sound.sweep()
    with pytest.raises(NotFound):
        sound.read("t")
    assert "idempotency:k" not in sound.whole()


def test_a_cancelled_call_is_not_trimmed_under_its_lease(sound):
    short = sound.again(keep_tasks=1.0)
    short.agent("a", heartbeat_timeout=0)
    short.started("t")
    short.run(tasks.cancel("t"))
    short.pass_time(10, "w1")
    assert short.state("t") == "cancelled"
    short.pass_time(24, "w1")
    with pytest.raises(NotFound):
        short.read("t")
    sound.offset = short.offset
    short.close()


@pytest.mark.parametrize("most", [1, 50])
def test_retention_by_count_and_bytes(sound, most):
    """Oldest first, and not one more than needed."""
    data, result = len('{"list":[],"big":12345678901234567890}'), len(DONE.result)
    dead, done = RECORD_BYTES + data, RECORD_BYTES + data + result
    small = sound.again(keep_dead=2, keep_bytes=2 * dead + 2 * done)
    small.agent("a", heartbeat_timeout=0)
    for n in range(4):
        small.at(1)
        small.started(f"dead{n}").ends(FINAL)
        small.started(f"done{n}").ends(DONE)
    assert int(small.redis.hget("stats", "kept_bytes")) == 4 * dead + 4 * done
    small.sweep(most)
    assert small.places()["tasks:failed"] == ["dead2", "dead3"]
    assert small.places()["tasks:completed"] == ["done2", "done3"]
    assert int(small.redis.hget("stats", "kept_bytes")) == 2 * dead + 2 * done
    assert int(small.redis.hget("stats", "trimmed_failed")) == 2
    small.close()


def test_what_an_agent_tells_of_its_progress_counts_too(sound):
    """A MiB in each task would be kept for a day beyond all bounds."""
    small = sound.again(keep_bytes=2 * RECORD_BYTES)
    small.agent("a", 2, heartbeat_timeout=0)
    call = small.started("talks")
    call.renews(json.dumps("x" * 100_000))
    call.ends(FINAL)
    assert int(small.redis.hget("stats", "kept_bytes")) > 100_000
    small.run(tasks.retry("talks", "again", Requirements()))
    assert small.redis.hget("stats", "kept_bytes") == b"0"
    call = small.started("talks2")
    call.renews(json.dumps("x" * 100_000))
    call.ends(FINAL)
    small.sweep()
    assert "tasks:failed" not in small.places()
    small.close()


def test_dead_letters_go_last_when_bytes_are_over(sound):
    """And a big payload counts, not only what the agent answered; a task that was reopened is counted again when it ends."""
    small = sound.again(keep_bytes=2 * RECORD_BYTES)
    small.agent("a", heartbeat_timeout=0)
    small.started("dead").ends(FINAL)
    small.at(1)
    small.started("done").ends(DONE)
    small.task("gone", task_data=json.dumps("x" * 100_000))
    small.run(tasks.cancel("gone"))
    small.sweep()
    assert {name for name in small.places() if name.startswith("tasks:")} == {"tasks:failed"}
    small.run(tasks.retry("dead", "again", Requirements()))
    assert small.redis.hget("stats", "kept_bytes") == b"0"
    small.close()


def test_signatures_go_when_unused(sound):
    sound.task("t", needs=Requirements(capabilities=("x",), min_health_score=0.5))
    sound.agent("a", capabilities=("x",), heartbeat_timeout=0)
    sound.pass_time(700, stride=4)
    assert sound.redis.zcard("sigs") == 1  # a live task keeps it
    sound.run(tasks.cancel("t"))
    sound.pass_time(604, stride=4)
    assert {key for key in sound.whole() if "sig" in key or "score" in key} == set()


def test_a_repeated_sweep_changes_nothing(sound):
    sound.agent("a", 2, heartbeat_timeout=0)
    sound.started("t1")
    sound.task("t2", delay=60)
    sound.sweep()
    before = sound.whole()
    assert sound.sweep() == []
    after = sound.whole()
    assert {**after, "ledger": None} == {**before, "ledger": None}


# -- the clock


def test_a_clock_set_back_an_hour_delays_no_silence(sound):
    """Workers, heartbeats, 202 work, grants and breakers that are timed by the old clock are brought near."""
    for name in "abcd":
        sound.agent(name, heartbeat_timeout=30)
    sound.sweep()
    held, sync = sound.started("held", max_attempts=1), sound.started("sync", max_attempts=1)
    held.renews()
    for name in "bcd":
        sound.run(agents.drain(name))
    sound.task("granted")
    sound.run(agents.resume("c"))
    sound.sweep()
    sound.at(-3600)
    sound.sweep()
    assert sound.violations() == []
    assert not sound.redis.hexists("ledger", "rewound")
    grants = sound.pass_time(14)
    assert "granted" in [g.task_id for g in grants]
    assert sound.read("sync").error["code"] == "outcome_unknown"
    sound.pass_time(30)
    assert sound.run(agents.read("a")).status == "inactive"
    sound.pass_time(24)
    assert sound.read("held").error["code"] == "agent_failed"
    assert sync.ends().word == "gone"


def test_a_clock_set_back_an_hour_delays_no_retry_probe_or_cancel(sound):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", max_attempts=9)
    sound.run(tasks.cancel("t"))
    sound.agent("b", heartbeat_timeout=0)
    for n in range(5):
        sound.started(f"f{n}", max_attempts=1).ends(COUNTED)
    sound.agent("c", heartbeat_timeout=0)
    sound.started("retried").ends(COUNTED)
    sound.run(agents.drain("c"))
    assert sound.run(agents.read("b")).breaker == "open"
    sound.sweep()
    sound.at(-3600)
    sound.pass_time(4, "w1")  # the first sweep brings it near
    assert sound.state("retried") != "scheduled"  # its own backoff, not the longest there is
    sound.pass_time(30, "w1")
    assert call.ends().word == "gone"
    sound.pass_time(270, "w1")
    assert sound.run(agents.read("b")).breaker != "open"


def test_many_times_are_brought_near_in_steps(sound):
    for n in range(300):
        sound.agent(f"a{n}", heartbeat_timeout=30)
    sound.sweep()
    sound.at(-7200)
    step = sweep.steps(10)[0]
    rounds = 1
    while sound.run(step).more:
        rounds += 1
    assert rounds > 20
    seconds, _ = sound.redis.time()
    furthest = sound.redis.zrange("agents:deadlines", -1, -1, withscores=True)[0][1] / 1e6
    assert furthest <= seconds + sound.offset + 31


@pytest.mark.parametrize("jump", [-2, 3600])
def test_a_jump_of_the_clock_costs_nobody_anything(sound, jump):
    sound.agent("a", heartbeat_timeout=30)
    sound.sweep()
    call = sound.started("t", run_timeout=86_400)
    sound.at(jump)
    sound.sweep()
    assert sound.run(agents.read("a")).status == "active"
    assert sound.run(workers.alive("w1")).known
    assert call.ends().word == "completed"


def test_a_task_whose_job_is_under_way_is_left_to_it(sound):
    """Routing it costs less than a grant and a job of its own. Only a task that is still first a second later has lost its job."""
    sound.agent("a", 9, heartbeat_timeout=0)
    for n in range(6):
        sound.task(f"t{n}")
    assert sound.sweep() == []
    sound.route("t0")
    sound.at(1)
    assert sound.sweep() == []  # somebody took one since
    sound.route("t1")
    sound.at(1)
    assert sound.sweep() == []
    sound.at(0.5)
    assert sound.sweep() == []
    sound.at(0.5)
    assert [grant.task_id for grant in sound.sweep()] == ["t2", "t3", "t4", "t5"]
    assert not sound.redis.exists("heads:seen")


def test_a_waiting_task_beside_a_free_agent_is_matched_at_once(sound):
    """It has been looked at already: whatever left it there, no job is under way for it."""
    sound.agent("a", heartbeat_timeout=0)
    sound.task("t")
    sound.redis.hset("task:t", "state", "waiting")
    sound.redis.zadd("tasks:waiting", {"t": sound.redis.zscore("tasks:queued", "t")})
    sound.redis.zrem("tasks:queued", "t")
    assert [grant.task_id for grant in sound.sweep()] == ["t"]


@pytest.mark.parametrize(("slots", "granted"), [(9, []), (1, ["t0"])])
def test_an_agent_with_room_leaves_queued_tasks_to_their_jobs(sound, slots, granted):
    """A full one grants the slot that a call gives back; one with room to spare had it before, and nothing waits beside it."""
    sound.agent("a", slots, heartbeat_timeout=0)
    call = sound.started("first")
    for n in range(3):
        sound.task(f"t{n}")
    assert [grant.task_id for grant in call.ends().grants] == granted
