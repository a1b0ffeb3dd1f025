"""Cancel, retry by hand, drop: final for the record at once, best effort for the agent; whole states compared."""

import pytest

from aitbc.errors import Conflict, Full, NotFound
from aitbc.ledger import agents, tasks, workers
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, DONE, FINAL


def test_a_waiting_task_leaves_the_order(sound):
    sound.task("t", queue_timeout=60)
    assert sound.run(tasks.cancel("t")).state == "cancelled"
    assert sound.places() == {"tasks:cancelled": ["t"]}
    assert sound.run(tasks.cancel("t")).state == "cancelled"
    assert sound.read("t").error["code"] == "cancelled"


def test_a_scheduled_task_is_not_run(sound):
    sound.task("t", delay=5)
    sound.run(tasks.cancel("t"))
    assert sound.places() == {"tasks:cancelled": ["t"]}


def test_a_granted_lease_is_freed(sound):
    sound.task("t")
    [grant] = sound.agent("a", heartbeat_timeout=0).grants
    sound.task("next")
    assert [g.task_id for g in sound.run(tasks.cancel("t")).grants] == ["next"]
    assert sound.begin(grant.lease_id).why == "gone"
    assert sound.places() == {
        "tasks:cancelled": ["t"],
        "tasks:running": ["next"],
        "leases": ["next:1"],
        "leases:agent:a": ["next:1"],
    }


def test_a_begun_lease_keeps_its_slot_until_it_ends(sound):
    """Mutation 1 of the prototype."""
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t")
    sound.task("next")
    listener = sound.redis.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("cancel:w1")
    listener.get_message(timeout=1)
    assert sound.run(tasks.cancel("t")).grants == []
    assert listener.get_message(timeout=1)["data"] == b"t:1"
    listener.close()
    assert sound.places() == {
        "tasks:cancelled": ["t"],
        "tasks:queued": ["next"],
        "tasks:waiting:any:3": ["next"],
        "heads": ["any:3"],
        "leases": ["t:1"],
        "leases:agent:a": ["t:1"],
        "leases:worker:w1": ["t:1"],
        "cancelling:agent:a": ["t:1"],
        "cancelling:worker:w1": ["t:1"],
        "workers:deadlines": ["w1"],
    }
    assert sound.run(workers.alive("w1")).cancelled == ["t:1"]
    assert sound.run(agents.heartbeat("a")).cancel == ["t:1"]
    assert call.renews().cancel
    ended = call.ends(DONE, sound.token())
    assert (ended.word, ended.next.task_id) == ("cancelled", "next")
    assert sound.places() == {
        "tasks:cancelled": ["t"],
        "tasks:running": ["next"],
        "leases": ["next:1"],
        "leases:agent:a": ["next:1"],
        "leases:worker:w1": ["next:1"],
        "workers:deadlines": ["w1"],
        "workers:polling": ["w1"],
    }


def test_a_cancelled_call_ends_after_30_s(sound):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t")
    sound.run(tasks.cancel("t"))
    sound.pass_time(28, "w1")
    assert sound.redis.exists("leases")
    sound.pass_time(4, "w1")
    assert not sound.redis.exists("leases")
    assert call.ends().word == "gone"
    assert sound.state("t") == "cancelled"


def test_a_cancel_never_lengthens_a_lease(sound):
    """Mutation 2 of the prototype: 30 s from a cancel shortly before deadline + 30 s would be too long."""
    sound.agent("a", heartbeat_timeout=0)
    sound.started("t", run_timeout=20)
    sound.pass_time(48, "w1")
    before = sound.redis.zscore("leases", "t:1")
    sound.run(tasks.cancel("t"))
    assert sound.redis.zscore("leases", "t:1") == before
    sound.pass_time(4, "w1")
    assert not sound.redis.exists("leases")


def test_a_cancelled_202_is_told_to_its_agent_alone(sound):
    sound.agent("a")
    call = sound.started("t")
    call.renews()
    sound.run(tasks.cancel("t"))
    assert sound.run(workers.alive("w1")).cancelled == []
    beat = sound.run(agents.heartbeat("a", leases=["t:1"]))
    assert (beat.cancel, beat.unknown) == (["t:1"], [])
    assert call.ends().word == "cancelled"
    assert sound.run(agents.heartbeat("a")).cancel == []


def test_a_cancel_when_done_changes_nothing(sound):
    sound.agent("a")
    sound.started("t").ends()
    before = sound.whole()
    assert sound.run(tasks.cancel("t")).state == "completed"
    assert sound.whole() == before
    with pytest.raises(NotFound):
        sound.run(tasks.cancel("nobody"))


def test_a_retry_by_hand_gets_a_new_stamp(sound):
    """Mutation 4 of the prototype: else a task from yesterday overtakes everybody, and one that expired expires again."""
    sound.agent("a")
    sound.started("old").ends(FINAL)
    sound.run(agents.drain("a"))
    sound.at(5)
    sound.task("young")
    assert sound.run(tasks.retry("old", "r1", Requirements())).state == "waiting"
    assert sound.places()["tasks:waiting:any:3"] == ["young", "old"]
    assert sound.run(tasks.retry("old", "r1", Requirements())).state == "waiting"
    task = sound.read("old")
    assert (task.retries, task.error, len(task.attempts)) == (1, None, 1)
    assert [g.task_id for g in sound.run(agents.resume("a")).grants] == ["young"]


def test_a_retry_by_hand_begins_to_count_anew(sound):
    sound.agent("a")
    sound.started("t", max_attempts=1).ends(COUNTED)
    [grant] = sound.run(tasks.retry("t", "r1", Requirements())).grants
    assert grant.retries == 1
    attempt = sound.begin(grant.lease_id).attempt
    assert (attempt.attempt, attempt.retries, attempt.idempotency_key) == (2, 1, "t.r1")


def test_a_retry_is_refused(sound):
    sound.agent("a")
    with pytest.raises(NotFound):
        sound.run(tasks.retry("nobody", "r", Requirements()))
    call = sound.started("t")
    with pytest.raises(Conflict, match="is running"):
        sound.run(tasks.retry("t", "r", Requirements()))
    sound.run(tasks.cancel("t"))
    with pytest.raises(Conflict, match="has not ended yet"):
        sound.run(tasks.retry("t", "r", Requirements()))
    call.ends()
    assert sound.run(tasks.retry("t", "r", Requirements())).state == "running"


def test_a_retry_makes_its_signature_anew(sound):
    """Given a dead letter whose signature was dropped, a retry makes it again, or says that there are too many."""
    needs = Requirements(capabilities=("x",))
    few = sound.again(max_signatures=1)
    few.agent("a", capabilities=("x",))
    few.started("t", needs=needs).ends(FINAL)
    few.pass_time(604, stride=4)
    few.sweep()
    assert "sigs" not in few.whole()
    few.task("any")
    with pytest.raises(Full):
        few.run(tasks.retry("t", "r", needs))
    few.run(tasks.cancel("any"))
    few.pass_time(604, stride=4)
    few.run(agents.resume("a"))
    assert few.run(tasks.retry("t", "r", needs)).state == "running"
    sound.offset = few.offset
    few.close()


def test_only_dead_letters_are_dropped(sound):
    sound.agent("a")
    sound.started("t", idempotency_key="k").ends(FINAL)
    assert sound.run(tasks.drop("t"))
    assert not sound.run(tasks.drop("t"))
    with pytest.raises(NotFound):
        sound.read("t")
    assert "idempotency:k" not in sound.whole()
    assert sound.places() == {"workers:deadlines": ["w1"]}
