"""What comes of each way in which an attempt may end: × max_attempts × idempotent × cancelled meanwhile × another agent free."""

import itertools
from collections import Counter
from typing import NamedTuple

import pytest

from aitbc.ledger import agents, tasks
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, DONE, FINAL, REFUSED, STOPPED, Call


class Comes(NamedTuple):
    """What comes of an attempt. `goes_on`: not over; `at_once`: though no untried agent is free; `good`: counted as one that succeeded."""

    outcome: str
    code: str = ""
    goes_on: bool = False
    at_once: bool = False
    good: bool = False


COUNTED_AGAIN = Comes("counted", goes_on=True)
BROKEN = {1: Comes("stopped", "outcome_unknown"), 2: Comes("stopped", goes_on=True, at_once=True)}
LOST = {1: Comes("lost", "outcome_unknown"), 2: Comes("lost", goes_on=True, at_once=True)}
ENDS = {
    "completed": dict.fromkeys((1, 2), Comes("completed", good=True)),
    "final": dict.fromkeys((1, 2), Comes("final", "agent_failed")),
    "counted": {1: Comes("counted", "agent_failed"), 2: COUNTED_AGAIN},
    "unstarted": dict.fromkeys((1, 2), Comes("unstarted", goes_on=True)),
    "stopped": BROKEN,
    "its worker dies": LOST,
    "its agent restarts": BROKEN,
    "its time is over": {1: Comes("counted", "run_timeout"), 2: COUNTED_AGAIN},
    "its 202 falls silent": {1: Comes("counted", "agent_failed"), 2: COUNTED_AGAIN},
}
"""How an attempt ends → max_attempts → what comes of it."""
ANSWERS = {"completed": DONE, "final": FINAL, "counted": COUNTED, "unstarted": REFUSED, "stopped": STOPPED}
WORK_OF_202 = ("its agent restarts", "its 202 falls silent")
RUN_TIMEOUT, SLACK, RENEWAL = 20, 30, 60
CASES = [*itertools.product(ENDS, (1, 2), (False, True), (False, True), (False, True))]


def started(desk, most, idempotent, run_timeout=RUN_TIMEOUT):
    """An attempt at agent a, alone there."""
    desk.agent("a", 1, heartbeat_timeout=0, instance_id="1")
    call = desk.started("t", max_attempts=most, idempotent=idempotent, run_timeout=run_timeout)
    assert call.attempt.idempotent is idempotent
    return call


def end(desk, call, how):
    """Let the attempt end so."""
    if how in ANSWERS:
        call.ends(ANSWERS[how])
    elif how == "its worker dies":
        desk.pass_time(12)
    elif how == "its agent restarts":
        desk.agent("a", 1, heartbeat_timeout=0, instance_id="2")
        desk.sweep()
    else:
        desk.pass_time(RUN_TIMEOUT + SLACK if how == "its time is over" else RENEWAL, call.worker)


def carried_on(desk, lease):
    token = desk.token()
    return Call(desk, desk.begin(lease, "w2", token).attempt, "w2", token)


@pytest.mark.parametrize(("how", "most", "idempotent", "cancelled", "other"), CASES)
def test_what_comes_of_an_attempt(sound, how, most, idempotent, cancelled, other):
    call, comes = started(sound, most, idempotent, 10 * RENEWAL if "202" in how else RUN_TIMEOUT), ENDS[how][most]
    if how in WORK_OF_202:
        call.renews()
    if other:
        sound.agent("b", 1, heartbeat_timeout=0)
    if cancelled:
        assert sound.run(tasks.cancel("t")).state == "cancelled"
    end(sound, call, how)

    state, code = expected(comes, how, cancelled=cancelled, other=other)
    task = sound.read("t")
    assert (task.state, (task.error or {}).get("code", "")) == (state, code)
    first = task.attempts[0]
    assert (first.attempt, first.agent_id) == (1, "a")
    if not cancelled:
        assert first.outcome == comes.outcome
        stats = sound.run(tasks.stats())
        assert (stats.succeeded_attempts, stats.failed_attempts) == ((1, 0) if comes.good else (0, 1))
    assert sound.redis.scard("leases:agent:a") == (task.state == "running" and task.agent_id == "a")

    if state == "running":
        assert task.agent_id == ("b" if other else "a")
    if state in {"running", "scheduled"}:
        finish_it(sound)
    check_sums(sound)


def expected(comes, how, *, cancelled, other):
    """State and code after the first attempt."""
    if cancelled:
        return "cancelled", "cancelled"
    if not comes.goes_on:
        return ("completed" if comes.good else "failed"), comes.code
    return ("running" if other or comes.at_once else "scheduled"), ""


def finish_it(desk):
    """Its next attempt completes it; it has the same key as the first, and nothing of it is left over."""
    if desk.state("t") == "scheduled":
        desk.pass_time(2, "w2")
    call = carried_on(desk, desk.field("t", "lease"))
    assert (call.attempt.attempt, call.attempt.idempotency_key) == (2, "t")
    assert call.ends(DONE).word == "completed"
    task = desk.read("t")
    assert (task.state, task.error, [a.attempt for a in task.attempts]) == ("completed", None, [1, 2])


def check_sums(desk):
    """Exactly one end is counted, as many begun as attempts, and no lease or waiting entry is left."""
    counters = Counter({name.decode(): int(n) for name, n in desk.redis.hgetall("stats").items()})
    task = desk.read("t")
    assert {name: counters[name] for name in ("completed", "failed", "cancelled")} == {
        name: int(task.state == name) for name in ("completed", "failed", "cancelled")
    }
    assert (counters["submitted"], counters["begun"]) == (1, len(task.attempts))
    assert {key for key in desk.places() if key.startswith(("lease", "cancelling", "tasks:waiting", "heads"))} == set()


@pytest.mark.parametrize("how", ["counted", "unstarted", "stopped"])
def test_a_cancel_between_two_attempts(sound, how):
    """Scheduled for its retry, or granted again and not yet begun: the next attempt never comes."""
    call = started(sound, 3, idempotent=False)
    call.ends(ANSWERS[how])
    lease = sound.field("t", "lease")
    assert sound.run(tasks.cancel("t")).state == "cancelled"
    if lease:
        assert sound.begin(lease).why == "gone"
    sound.pass_time(70, "w1")
    assert (sound.state("t"), len(sound.read("t").attempts)) == ("cancelled", 1)
    check_sums(sound)


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("how", ["final", "counted", "stopped", "cancelled"])
def test_a_retry_by_hand_starts_again_with_all_its_attempts(sound, how, most):
    call = started(sound, most, idempotent=False)
    ends = 1
    if how == "cancelled":
        sound.run(tasks.cancel("t"))
        call.ends(STOPPED)
    else:
        call.ends(ANSWERS[how])
        while sound.state("t") != "failed":
            sound.pass_time(4, "w2")
            carried_on(sound, sound.field("t", "lease")).ends(ANSWERS["final" if how == "stopped" else how])
            ends += 1
    assert sound.run(tasks.retry("t", "r1", Requirements())).state == "running"
    again = carried_on(sound, sound.field("t", "lease"))
    assert (again.attempt.attempt, again.attempt.idempotency_key) == (ends + 1, "t.r1")
    again.ends(COUNTED)
    assert sound.state("t") == ("failed" if most == 1 else "scheduled")
    sound.run(tasks.cancel("t"))


@pytest.mark.parametrize("delay", [0, 30])
@pytest.mark.parametrize("queue_timeout", [0, 10])
@pytest.mark.parametrize("agent_comes", [0, 5, 15, 35, 45])
def test_delay_and_queue_timeout(sound, delay, queue_timeout, agent_comes):
    """The limit counts from when the task is due; nothing runs before; without a limit it waits for its agent however long."""
    sound.task("t", delay=delay, queue_timeout=queue_timeout)
    sound.pass_time(agent_comes)
    in_time = not queue_timeout or agent_comes < delay + queue_timeout
    sound.agent("a", heartbeat_timeout=0)
    sound.pass_time(2)
    due = agent_comes + 2 >= delay
    assert sound.state("t") == ("failed" if not in_time else "running" if due else "scheduled")
    if in_time:
        sound.pass_time(0 if due else 32)
        attempt = sound.begin(sound.field("t", "lease")).attempt
        assert attempt.attempt == 1
        sound.pass_time(14, "w1")
        assert sound.state("t") == "running"  # begun: the limit is met
    else:
        assert sound.read("t").error["code"] == "queue_timeout"
    sound.run(agents.drain("a"))
