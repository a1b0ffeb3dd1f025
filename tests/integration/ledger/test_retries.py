"""How a failed attempt goes on: what counts, what is never sent again, limits, backoff."""

import pytest

from aitbc.ledger import workers
from tests.integration.ledger.desk import COUNTED, DONE, FINAL, REFUSED, STOPPED


@pytest.mark.parametrize(
    ("outcome", "attempts", "state"),
    [(COUNTED, 3, "failed"), (FINAL, 1, "failed"), (STOPPED, 8, "completed"), (REFUSED, 3, "completed")],
)
def test_what_counts_against_max_attempts(sound, outcome, attempts, state):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t")
    for _ in range(attempts - 1):
        call.ends(outcome)
        sound.pass_time(90, "w1", stride=4)
        lease = sound.field("t", "lease")
        token = sound.token()
        attempt = sound.begin(lease, token=token).attempt
        call = type(call)(sound, attempt, "w1", token)
    call.ends(outcome if state == "failed" else DONE)
    assert sound.state("t") == state
    assert [a.attempt for a in sound.read("t").attempts] == list(range(1, attempts + 1))


@pytest.mark.parametrize("how", ["worker stops", "worker dies", "agent restarts"])
def test_a_broken_call_is_never_sent_again_with_max_attempts_1(sound, how):
    sound.agent("a", heartbeat_timeout=0, instance_id="1")
    call = sound.started("t", max_attempts=1)
    if how == "worker stops":
        call.ends(STOPPED)
    elif how == "worker dies":
        sound.pass_time(14)
    else:
        call.renews()
        sound.agent("a", heartbeat_timeout=0, instance_id="2")
        sound.sweep()
    assert (sound.state("t"), sound.read("t").error["code"]) == ("failed", "outcome_unknown")


def test_a_lease_begun_since_the_restart_is_left_alone(sound):
    """Found by reading: an agent that had an instance_id and re-registered without one lost the 202 work of after that, too."""
    sound.agent("a", heartbeat_timeout=0, instance_id="1")
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t")
    call.renews()
    sound.sweep()
    assert (sound.state("t"), sound.field("t", "lease")) == ("running", call.lease)


def test_the_dispatch_limit(sound):
    few = sound.again(max_dispatches=3)
    few.agent("a", heartbeat_timeout=0)
    few.started("t")
    for grant in range(1, 4):
        few.run(workers.alive("gone", first=True))
        assert few.state("t") == "running", grant
        few.pass_time(14)
        lease = few.field("t", "lease")
        if lease:
            few.begin(lease)
    assert few.read("t").error["code"] == "dispatch_limit"
    few.close()


def test_hand_backs_do_not_count_against_the_dispatch_limit(sound):
    """No worker for hours: every free slot is granted and handed back each 120 s, and no dead letter comes of it."""
    few = sound.again(max_dispatches=3)
    few.task("t")
    few.agent("a", heartbeat_timeout=0)
    few.pass_time(1500, stride=4)
    assert int(few.field("t", "grants")) > 10
    assert few.state("t") == "running"
    assert few.begin(few.field("t", "lease")).attempt.attempt == 1
    few.close()


def test_long_histories_keep_their_ends(sound):
    many = sound.again(max_dispatches=100)
    many.agent("a", heartbeat_timeout=0)
    call = many.started("t", max_attempts=50)
    for _ in range(24):
        call.ends(STOPPED)
        token = many.token()
        attempt = many.begin(many.field("t", "lease"), token=token).attempt
        call = type(call)(many, attempt, "w1", token)
    assert [a.attempt for a in many.read("t").attempts] == [1, 2, 3, 4, 5, *range(11, 26)]
    many.close()


def test_a_retry_prefers_an_agent_that_was_not_tried(sound):
    sound.agent("a", 5)
    call = sound.started("t")
    sound.agent("b", 1)
    busy = sound.started("other")
    assert busy.attempt.agent_id == "b"
    sound.agent("c", 5)
    call.ends(COUNTED)
    assert (sound.state("t"), sound.field("t", "agent")) == ("running", "c")


def test_a_retry_passes_over_the_best_agent_when_that_was_tried(sound):
    """Found by a mutant that nobody noticed: the freed agent is the least loaded one again, and would get its own failure back."""
    sound.agent("a", 1)
    call = sound.started("t")
    sound.agent("b", 2)
    assert sound.started("other").attempt.agent_id == "b"
    call.ends(COUNTED)
    assert (sound.state("t"), sound.field("t", "agent")) == ("running", "b")
    sound.task("next")
    assert sound.routed("next").attempt.agent_id == "a"


def test_a_retry_backs_off_when_everybody_was_tried(sound):
    sound.agent("a", 5, heartbeat_timeout=0)
    call = sound.started("t", max_attempts=10)
    call.ends(COUNTED)
    assert sound.state("t") == "scheduled"
    wait = (int(sound.field("t", "due")) - int(sound.field("t", "stamp"))) / 1e6
    assert 0.8 <= wait <= 1.3
    assert sound.pass_time(2, "w1")[0].lease_id == "t:2"
