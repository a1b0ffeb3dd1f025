"""Begin, finish, renew, hand back: one winner, every repeat answered alike, and how a failed attempt goes on."""

import pytest

from aitbc.errors import Conflict, Gone, NotFound
from aitbc.ledger import agents, leases, tasks, workers
from aitbc.model.lease import Grant
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import DONE, FINAL, NOT_SENT
from tests.properties.repeats import same_attempt


def test_the_first_comer_wins(sound):
    sound.task("t")
    [grant] = sound.agent("a").grants
    token = sound.token()
    first = sound.begin(grant.lease_id, "w1", token)
    assert first.attempt.attempt == 1
    assert sound.begin(grant.lease_id, "w2").why == "begun"
    assert sound.begin(grant.lease_id, "w1").why == "begun"  # the same worker with another token is another call
    assert same_attempt(sound.begin(grant.lease_id, "w1", token).attempt, first.attempt)
    assert sound.begin("t:7").why == "gone"
    assert sound.begin("nobody:1").why == "gone"


def test_an_attempt_carries_what_its_post_needs(sound):
    sound.agent("a", sealed_secret="v1:sealed")
    sound.task("t", priority=Priority.HIGH, needs=Requirements(agent_type="worker"), run_timeout=60, idempotent=True)
    attempt = sound.routed("t").attempt
    assert (attempt.lease_id, attempt.task_id, attempt.attempt, attempt.priority) == ("t:1", "t", 1, "high")
    assert (attempt.agent_id, attempt.kind, attempt.url, attempt.sealed_secret) == ("a", "http", "http://127.0.0.1/a", "v1:sealed")
    assert (attempt.retries, attempt.idempotent, attempt.requirements) == (0, True, b'{"agent_type": "worker"}')
    assert (attempt.idempotency_key, attempt.seconds_left) == ("t", 60)


def test_route_finds_its_own_grant_again(sound):
    sound.agent("a")
    sound.task("t")
    token = sound.token()
    first = sound.route("t", "w1", token)
    assert same_attempt(sound.route("t", "w1", token).attempt, first.attempt)
    assert (sound.route("t", "w2").attempt, sound.route("t", "w2").why) == (None, "running")
    assert sound.route("nobody").why == "unknown"


def test_route_begins_something_better_and_finds_it_again(sound):
    """Given a better task whose job was lost, the job of the worse one begins the better, and a repeat finds that."""
    sound.agent("a")
    sound.task("low", priority=Priority.LOW)
    sound.task("high", priority=Priority.HIGH)
    token = sound.token()
    first = sound.route("low", "w1", token)
    assert first.attempt.task_id == "high"
    assert sound.state("low") == "waiting"
    assert same_attempt(sound.route("low", "w1", token).attempt, first.attempt)


def test_finish_is_answered_alike_and_begins_the_next(sound):
    sound.agent("a")
    call = sound.started("t1")
    sound.task("t2")
    spare = sound.token()
    first = call.ends(DONE, spare)
    assert (first.word, first.next.task_id, first.grants) == ("completed", "t2", [])
    again = call.ends(DONE, spare)
    assert (again.word, again.grants, same_attempt(again.next, first.next)) == ("completed", [], True)
    assert call.ends(FINAL).word == "different"
    assert sound.read("t1").attempts[0].outcome == "completed"


def test_finish_without_room_leaves_the_grant_to_a_job(sound):
    sound.agent("a")
    call = sound.started("t1")
    sound.task("t2")
    assert call.ends() == leases.Ended("completed", None, [Grant("t2:1", Priority.NORMAL)])
    assert call.ends() == leases.Ended("completed", None, [Grant("t2:1", Priority.NORMAL)])


def test_a_foreign_token_ends_nothing(sound):
    sound.agent("a")
    call = sound.started("t")
    before = sound.whole()
    for lease in (call.lease, "t:9", "nobody:1", "t", "nobody"):
        assert sound.run(leases.finish(lease, sound.token(), DONE)).word == "unknown"
    assert sound.whole() == before


def test_an_old_token_ends_nothing_of_the_next_attempt(sound):
    sound.agent("a")
    old = sound.started("t")
    old.ends(NOT_SENT)
    sound.pass_time(4)
    new = sound.begin("t:2").attempt
    assert new.attempt == 2
    assert old.ends(DONE).word == "different"
    sound.pass_time(2, "w1")
    assert sound.state("t") == "running"


def test_a_lease_ended_by_the_sweep_is_gone(sound):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", max_attempts=1)
    sound.pass_time(14)
    assert sound.read("t").error["code"] == "outcome_unknown"
    assert call.ends().word == "gone"
    with pytest.raises(Gone):
        call.renews()
    with pytest.raises(Gone):
        sound.run(leases.call_back("t", call.token, DONE))


def test_callbacks(sound):
    """A 202: its lease lives by renewal, ends by callback, known by the token alone."""
    sound.agent("a")
    call = sound.started("t")
    assert not call.renews().cancel
    assert sound.redis.scard("leases:worker:w1") == 0
    assert sound.run(leases.renew("t", call.token, '{"percent": 40}')).expires > 0
    assert sound.read("t").progress == {"percent": 40}
    with pytest.raises(NotFound):
        sound.run(leases.renew("t", sound.token()))
    with pytest.raises(NotFound):
        sound.run(leases.call_back("t", sound.token(), DONE))
    assert sound.run(leases.call_back("t", call.token, DONE)).word == "completed"
    assert sound.run(leases.call_back("t", call.token, DONE)).word == "completed"
    with pytest.raises(Conflict):
        sound.run(leases.call_back("t", call.token, FINAL))


def test_a_callback_may_overtake_its_202(sound):
    sound.agent("a")
    call = sound.started("t")
    sound.run(leases.call_back("t", call.token, DONE))
    with pytest.raises(Gone):
        call.renews()
    assert sound.state("t") == "completed"


def test_a_202_that_is_never_renewed_ends(sound):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", max_attempts=1)
    call.renews()
    sound.pass_time(58, "w1")
    assert sound.state("t") == "running"
    sound.pass_time(6, "w1")
    assert sound.read("t").error["code"] == "agent_failed"


def test_a_202_is_renewed_by_heartbeats_up_to_its_deadline(sound):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", max_attempts=1, run_timeout=90)
    call.renews()
    for _ in range(4):
        beat = sound.run(agents.heartbeat("a", leases=[call.lease, "t:5", "nonsense"]))
        assert beat.unknown == ["t:5", "nonsense"]
        sound.pass_time(25)
    assert sound.state("t") == "running"  # the deadline has passed, and 30 s of grace have not
    sound.pass_time(24)
    assert sound.read("t").error["code"] == "run_timeout"


def test_no_renewal_goes_past_the_deadline(sound):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", run_timeout=20)
    assert call.renews().expires == call.renews("{}").expires == pytest.approx(call.attempt.deadline)
    sound.run(agents.heartbeat("a", leases=[call.lease]))
    assert int(sound.field("t", "expires")) == int(sound.field("t", "deadline"))


def test_an_agent_renews_its_own_202_work_alone(sound):
    """A mutant that only this test notices: whoever guessed a lease id could keep another agent's dead work alive."""
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", max_attempts=1)
    call.renews()
    sound.agent("b", heartbeat_timeout=0)
    for _ in range(3):
        sound.pass_time(25)
        assert sound.run(agents.heartbeat("b", leases=[call.lease])).unknown == [call.lease]
    assert sound.read("t").error["code"] == "agent_failed"


def test_begin_hands_back_what_its_agent_cannot_take(sound):
    """Granted to a, a drained, the job arrives: nothing is sent, the stamp is kept."""
    sound.task("t")
    [grant] = sound.agent("a").grants
    stamp = sound.field("t", "stamp")
    sound.run(agents.drain("a"))
    assert sound.begin(grant.lease_id).why == "returned"
    assert sound.begin(grant.lease_id).why == "gone"
    assert (sound.state("t"), sound.field("t", "stamp"), sound.read("t").attempts) == ("waiting", stamp, [])
    assert [g.lease_id for g in sound.run(agents.resume("a")).grants] == ["t:2"]


def test_what_is_handed_back_goes_to_the_least_loaded_agent_as_it_is_now(sound):
    """A mutant that only this test notices: chosen by the score before the slot was free again, it went to the busier agent."""
    sound.agent("busy", 2, heartbeat_timeout=0)
    sound.started("other", run_timeout=600)
    sound.run(agents.drain("busy"))
    sound.task("t")
    [grant] = sound.agent("idle", 2, heartbeat_timeout=0).grants
    sound.run(agents.resume("busy"))
    sound.pass_time(124, "w1")
    assert sound.begin(grant.lease_id).why == "gone"
    assert (sound.field("t", "lease"), sound.field("t", "agent")) == ("t:2", "idle")


def test_a_begin_that_is_repeated_after_a_cancel_sends_nothing(sound):
    """A mutant that only this test notices: the reply of begin was lost, the task cancelled meanwhile, the repeat would have POSTed it."""
    sound.task("t")
    [grant] = sound.agent("a").grants
    token = sound.token()
    assert sound.begin(grant.lease_id, token=token).attempt
    sound.run(tasks.cancel("t"))
    assert (sound.begin(grant.lease_id, token=token).attempt, sound.begin(grant.lease_id, token=token).why) == (None, "begun")


def test_begin_revives_its_worker(sound):
    """A worker frozen for longer than 10 s is watched again as soon as it begins something (mutation 3 of the prototype)."""
    sound.agent("a", heartbeat_timeout=0)
    sound.run(workers.alive("w1", first=True))
    sound.pass_time(14)
    assert sound.redis.zcard("workers:deadlines") == 0
    sound.started("t", max_attempts=1)
    assert sound.redis.zcard("workers:deadlines") == 1
    sound.pass_time(14)
    assert sound.read("t").error["code"] == "outcome_unknown"


def test_a_disowned_lease_was_never_sent(sound):
    sound.agent("a")
    call = sound.started("t", max_attempts=1)
    assert sound.run(leases.disown(call.lease, "w2")) == []
    [grant] = sound.run(leases.disown(call.lease, "w1"))
    assert grant.lease_id == "t:2"
    assert sound.run(leases.disown(call.lease, "w1")) == []
    assert [a.outcome for a in sound.read("t").attempts] == ["unstarted"]
    assert call.ends().word == "gone"


def test_a_disowned_lease_of_a_cancelled_task_just_ends(sound):
    sound.agent("a")
    call = sound.started("t")
    sound.run(tasks.cancel("t"))
    sound.task("next")
    assert [g.task_id for g in sound.run(leases.disown(call.lease, "w1"))] == ["next"]
    assert sound.state("t") == "cancelled"
