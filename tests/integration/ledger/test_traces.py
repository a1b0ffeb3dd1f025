"""Every trace that broke a draft of the protocol, kept (the list is in docs/invariants.md)."""

import time

import pytest

from aitbc.ledger import agents, leases, queues, sweep, tasks, workers
from aitbc.model.agent import AgentStatus
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, DONE, FORBIDDEN, LEFT, REFUSED, Call

X = Requirements(capabilities=("x",))


def test_a_status_set_back_to_active_matches_what_waits(sound):
    sound.agent("b", capabilities=("x",))
    sound.run(agents.set_status("b", AgentStatus.BUSY))
    sound.task("t", needs=X)
    assert sound.route("t").why == "waiting"
    assert [g.task_id for g in sound.run(agents.set_status("b", AgentStatus.ACTIVE)).grants] == ["t"]


@pytest.mark.parametrize("freed_by", ["sweep", "cancel"])
def test_a_slot_freed_by_sweep_or_cancel_is_granted(sound, freed_by):
    sound.task("first")
    sound.agent("a", heartbeat_timeout=0)
    sound.task("second", priority=Priority.URGENT)
    grants = sound.run(tasks.cancel("first")).grants if freed_by == "cancel" else sound.pass_time(122)
    assert "second" in [g.task_id for g in grants]


def test_a_job_sent_again_by_the_sweep_does_not_post_twice(sound):
    sound.task("t")
    [grant] = sound.agent("a", heartbeat_timeout=0).grants
    assert sound.pass_time(12) == [grant]
    assert sound.begin(grant.lease_id, "w1").attempt
    assert sound.begin(grant.lease_id, "w2").why == "begun"


def test_a_granted_lease_is_nudged_ever_less_often_and_handed_back_after_120_s(sound):
    sound.task("t")
    sound.agent("a", heartbeat_timeout=0)
    began = time.monotonic()
    seen = [(second, sound.field("t", "lease")) for second in range(1, 126) if sound.pass_time(1, stride=1)]
    itself = time.monotonic() - began  # passes beside the seconds of the desk
    assert [lease for _, lease in seen] == ["t:1", "t:1", "t:1", "t:2"]
    assert all(wanted - itself - 1 < second <= wanted for (second, _), wanted in zip(seen, (10, 30, 70, 120), strict=True))


def test_granted_then_drained_sends_nothing(sound):
    sound.task("t")
    [grant] = sound.agent("a").grants
    sound.agent("b")
    sound.run(agents.drain("a"))
    begun = sound.begin(grant.lease_id)
    assert (begun.why, [g.lease_id for g in begun.grants], sound.field("t", "agent")) == ("returned", ["t:2"], "b")


def test_an_urgent_task_is_not_behind_ten_thousand_grants_of_another(sound):
    """Its idle agent starts it in its own route job."""
    big = sound.again()
    big.constant(GRANTS=8)
    for n in range(30):
        big.task(f"t{n}")
    big.agent("saturated", 20)
    big.agent("idle", capabilities=("x",), tags=("own",))
    big.sweep()
    call = None
    for name in [key for key in big.places() if key == "leases:agent:idle"]:
        call = big.places()[name][0]
    assert call  # the idle one got some of the flood too
    token = big.token()
    attempt = big.begin(call, token=token).attempt
    big.task("urgent", priority=Priority.URGENT, needs=Requirements(tags=("own",)))
    assert Call(big, attempt, "w1", token).ends(DONE, big.token()).next.task_id == "urgent"
    big.close()


def test_agents_that_fail_fast_do_not_eat_the_work(sound):
    """2 of 10 refuse every connection while heartbeating: nothing is dead-lettered and they are left after 5 failures each."""
    for n in range(10):
        sound.agent(f"a{n}", 2, heartbeat_timeout=0)
    refused = 0
    for n in range(100):
        call = sound.started(f"t{n}", max_attempts=2)
        while call.attempt.agent_id in {"a0", "a1"}:
            refused += 1
            call.ends(REFUSED)
            token = sound.token()
            call = Call(sound, sound.begin(sound.field(f"t{n}", "lease"), token=token).attempt, "w1", token)
        call.ends(DONE)
        sound.at(0.01)
    assert refused == 10
    assert sound.redis.zcard("tasks:completed") == 100


def test_an_absence_of_the_coordinator_is_not_the_agents_silence(sound):
    """The coordinator is away for 40 s: nobody is inactive, no 202 work and no worker is lost, for one timeout more."""
    sound.agent("a", 2, heartbeat_timeout=30)
    sound.sweep()
    call, sync = sound.started("t"), sound.started("s", max_attempts=1)
    call.renews()
    sound.at(100)
    sound.sweep()
    assert sound.run(agents.read("a")).status == "active"
    assert (sound.state("t"), sound.state("s")) == ("running", "running")
    sound.pass_time(8, "w1")
    assert sound.run(agents.heartbeat("a", leases=[call.lease])).unknown == []
    assert (call.ends().word, sync.ends().word) == ("completed", "completed")


def test_after_the_grace_silence_counts_again(sound):
    sound.agent("a", heartbeat_timeout=30)
    sound.sweep()
    call = sound.started("t", max_attempts=1)
    call.renews()
    sound.at(100)
    sound.sweep()
    sound.pass_time(28)
    assert sound.run(agents.read("a")).status == "active"
    sound.pass_time(4)
    assert sound.run(agents.read("a")).status == "inactive"
    sound.pass_time(32)
    assert sound.read("t").error["code"] == "agent_failed"


@pytest.mark.parametrize("outcome", [LEFT, FORBIDDEN, COUNTED], ids=["410", "401", "fifth failure"])
def test_a_task_never_goes_back_to_the_agent_that_has_just_stopped_working(sound, outcome):
    """The agent leaves its sets before its task is matched again."""
    sound.agent("a", 2, heartbeat_timeout=0)
    if outcome is COUNTED:
        for n in range(4):
            sound.started(f"f{n}", max_attempts=1).ends(COUNTED)
    call = sound.started("t")
    sound.agent("b", 1, heartbeat_timeout=0)
    sound.at(0.01)
    sound.task("other")
    call.ends(outcome)
    assert sound.redis.scard("leases:agent:a") == 0
    assert sound.redis.smembers("agents:active") == {b"b"}


def test_the_first_route_job_grants_its_own_task_alone(sound):
    """2,000 submits beside free agents: those behind it have jobs of their own."""
    sound.agent("a", 100)
    for n in range(80):
        sound.task(f"t{n}")
    for n in range(80):
        begun = sound.route(f"t{n}")
        assert (begun.attempt.task_id, begun.grants) == (f"t{n}", [])


def test_the_reply_of_finish_lost_and_its_caller_alive(sound):
    """The spare grant was begun for a caller that gave up: its liveness call names it, and it hands it back."""
    sound.agent("a")
    call = sound.started("t1")
    sound.task("t2")
    lost = call.ends(DONE, sound.token()).next
    view = sound.run(workers.alive("w1"))
    assert view.begun == [lost.lease_id]
    assert [g.lease_id for g in sound.run(leases.disown(lost.lease_id, "w1"))] == ["t2:2"]


def test_a_dead_worker_is_noticed_and_its_calls_go_on_elsewhere(sound):
    sound.agent("a", 2, heartbeat_timeout=0)
    sound.started("t1", "w1")
    other = sound.started("t2", "w2")
    grants = sound.pass_time(12, "w2")
    assert [g.lease_id for g in grants] == ["t1:2"]
    assert sound.run(workers.alive("w1")) == workers.WorkerView(known=False, cancelled=[], begun=[])
    assert other.ends().word == "completed"


def test_a_submit_beside_a_signature_that_is_being_dropped(sound):
    """Found by the walk: dropping left agents in the scores of what they no longer satisfied; a submit then met an agent with no task."""
    sound.constant(BUILD_PAGE=1)
    for n in range(600):
        sound.agent(f"a{n}", heartbeat_timeout=0, capabilities=("x",))
    sound.task("old", needs=X)
    sound.run(tasks.cancel("old"))
    sound.sweep()
    sound.at(700)
    *_, match = sweep.steps()
    sound.run(match)  # begins to drop it
    for _ in range(300):
        assert sound.run(match).more
    assert sound.violations() == []
    left = [key for key in sound.whole() if key.startswith("agents:sigs:")]
    assert 0 < len(left) < 600
    [gone, *_] = {f"a{n}" for n in range(600)} - {key.removeprefix("agents:sigs:") for key in left}
    sound.agent(gone, heartbeat_timeout=0, capabilities=("x",))  # registering now must not bring it in again
    assert not sound.redis.exists(f"agents:sigs:{gone}")
    assert sound.violations() == []
    sound.task("new", needs=X)
    assert sound.route("new").attempt or sound.state("new") == "waiting"
    sound.sweep()
    assert sound.state("new") == "running"


def test_a_resumed_queue_a_risen_health_and_a_due_breaker_match(sound):
    """Whatever makes an agent or a task eligible ends in settle or match: nothing waits for a list of events."""
    sound.agent("a", heartbeat_timeout=0)
    sound.run(queues.pause(Priority.LOW))
    sound.task("low", priority=Priority.LOW)
    assert sound.run(queues.resume(Priority.LOW))
    sound.redis.flushdb()
    sound.at(0)
    sound.agent("a", heartbeat_timeout=0)
    sound.task("t")
    assert [g.task_id for g in sound.sweep_for_lost_jobs()] == ["t"]
