"""Who gets a slot: strict order over priorities and signatures, pausing, clearing, ageing, and the strategies among agents."""

from collections import Counter

import pytest

from aitbc.errors import BadRequest
from aitbc.ledger import agents, leases, queues, tasks
from aitbc.model.priority import PRIORITIES, Priority
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import DONE

X = Requirements(capabilities=("x",))


def order_of(desk, names):
    """The order in which one agent of one slot runs what waits."""
    desk.agent("a", capabilities=("x",))
    call, found = None, []
    for _ in names:
        if call is None:
            lease = next(iter(desk.redis.zrange("leases", 0, -1))).decode()
            token = desk.token()
            attempt = desk.begin(lease, token=token).attempt
        else:
            attempt = call
        found.append(attempt.task_id)
        spare = desk.token()
        ended = desk.run(leases.finish(attempt.lease_id, token, DONE, worker="w1", spare_hash=spare))
        call, token = ended.next, spare
    return found


def test_highest_priority_then_lowest_stamp_across_signatures(sound):
    submitted = [(f"t{n}", PRIORITIES[n % 5], X if n % 2 else Requirements()) for n in range(10)]
    for name, priority, needs in submitted:
        sound.task(name, priority=priority, needs=needs)
    assert order_of(sound, submitted) == ["t0", "t5", "t1", "t6", "t2", "t7", "t3", "t8", "t4", "t9"]


def test_a_queued_task_counts_before_its_job_arrives(sound):
    """Given an urgent task whose job is still in the broker, when a slot frees, then the urgent one gets it."""
    sound.agent("a")
    call = sound.started("first")
    sound.task("low", priority=Priority.LOW)
    assert sound.route("low").why == "waiting"
    sound.task("urgent", priority=Priority.URGENT)
    assert sound.state("urgent") == "queued"
    assert call.ends(spare=sound.token()).next.task_id == "urgent"


def test_a_route_job_begins_the_best_task_of_any_signature(sound):
    """Its agent fits a more urgent task with other requirements, whose own job is still in the broker."""
    sound.agent("a", capabilities=("x",))
    sound.task("t")
    sound.task("urgent", needs=X, priority=Priority.URGENT)
    assert sound.route("t").attempt.task_id == "urgent"
    assert sound.state("t") == "waiting"


def test_whole_state_of_a_task_from_submit_to_end(sound):
    sound.agent("a", heartbeat_timeout=0)
    sound.task("t", priority=Priority.HIGH)
    assert sound.places() == {"tasks:queued": ["t"], "tasks:waiting:any:2": ["t"], "heads": ["any:2"]}
    call = sound.routed("t")
    workers = {"workers:deadlines": ["w1"], "leases:worker:w1": ["t:1"]}
    assert sound.places() == {"tasks:running": ["t"], "leases": ["t:1"], "leases:agent:a": ["t:1"], **workers}
    call.ends()
    assert sound.places() == {"tasks:completed": ["t"], "workers:deadlines": ["w1"]}
    task = sound.read("t")
    assert (task.state, task.result, task.task_data["list"], task.task_data["big"]) == ("completed", {"n": 1}, [], 12345678901234567890)
    assert [(a.attempt, a.agent_id, a.outcome) for a in task.attempts] == [(1, "a", "completed")]


def test_a_paused_queue_is_passed_over_and_resumed_at_once(sound):
    sound.run(queues.pause(Priority.URGENT))
    sound.task("u", priority=Priority.URGENT)
    sound.task("l", priority=Priority.LOW)
    assert sound.agent("a", 2).grants[0].task_id == "l"
    assert sound.route("u").why == "waiting"
    assert sound.run(tasks.stats()).paused == ["urgent"]
    assert sound.sweep() == []
    assert [g.task_id for g in sound.run(queues.resume(Priority.URGENT))] == ["u"]
    assert sound.run(tasks.stats()).paused == []


def test_clear_cancels_in_chunks_up_to_its_first_call(sound, monkeypatch):
    monkeypatch.setattr(queues, "CLEAR_CHUNK", 3)
    for n in range(5):
        sound.task(f"t{n}", needs=X if n % 2 else None)
    sound.task("other", priority=Priority.LOW)
    count, limit, more = sound.run(queues.clear(Priority.NORMAL))
    assert (count, more) == (3, True)
    sound.task("later")
    assert sound.run(queues.clear(Priority.NORMAL, limit))[::2] == (2, False)
    assert sound.places() == {
        "tasks:cancelled": sound.places()["tasks:cancelled"],
        "tasks:queued": ["other", "later"],
        "tasks:waiting:any:3": ["later"],
        "tasks:waiting:any:4": ["other"],
        "heads": ["any:3", "any:4"],
    }
    assert sound.read("t0").error["code"] == "cancelled"


def test_clear_leaves_what_came_between_its_chunks(sound, monkeypatch):
    """A mutant that only this test notices: the next chunk had room for the newcomer behind the last old one."""
    monkeypatch.setattr(queues, "CLEAR_CHUNK", 2)
    for n in range(3):
        sound.task(f"t{n}")
    _, limit, more = sound.run(queues.clear(Priority.NORMAL))
    assert more
    sound.task("later")
    assert sound.run(queues.clear(Priority.NORMAL, limit))[0] == 1
    assert sound.state("later") == "queued"


def test_ageing_lets_an_old_task_climb(sound):
    aged = sound.again(ageing=10.0)
    aged.task("old", priority=Priority.LOW)
    aged.at(25)
    aged.task("high", priority=Priority.HIGH)
    aged.task("urgent", priority=Priority.URGENT)
    assert [aged.agent(name).grants[0].task_id for name in "abc"] == ["urgent", "old", "high"]
    sound.offset = aged.offset
    aged.close()


def test_nine_tasks_on_three_idle_agents(sound):
    """L6 of a small fleet: 3 / 3 / 3, whatever the order."""
    for name in "abc":
        sound.agent(name, 10)
    calls = [sound.started(f"t{n}") for n in range(9)]
    assert Counter(call.attempt.agent_id for call in calls) == {"a": 3, "b": 3, "c": 3}


def test_equal_agents_share_at_low_load(sound):
    """One task at a time still goes round: ties go to the agent used least recently."""
    for name in "abc":
        sound.agent(name, 10)
    used = []
    for n in range(9):
        sound.at(0.01)
        call = sound.started(f"t{n}")
        used.append(call.attempt.agent_id)
        call.ends()
    assert Counter(used) == {"a": 3, "b": 3, "c": 3}
    assert len(set(used[:3])) == 3


def test_round_robin_looks_at_no_load(sound):
    sound.agent("a", 10)
    sound.agent("b", 10)
    assert sound.run(queues.set_strategy("round_robin")) == "round_robin"
    used = []
    for n in range(6):
        sound.at(0.01)
        call = sound.started(f"t{n}")
        used.append(call.attempt.agent_id)
        if call.attempt.agent_id == "a":
            call.ends()  # b keeps everything and gets its turn all the same
    assert used in (["a", "b"] * 3, ["b", "a"] * 3)


def test_resource_based_prefers_the_lowest_report(sound):
    for name, cpu in (("a", 0.9), ("b", 0.1), ("c", 0.5)):
        sound.agent(name, 2)
        sound.run(agents.heartbeat(name, {"cpu": cpu, "memory": cpu, "queue": cpu}))
    sound.run(queues.set_strategy("resource_based"))
    assert [sound.started(f"t{n}").attempt.agent_id for n in range(2)] == ["b", "c"]
    sound.run(agents.heartbeat("b", {"cpu": 1.0}))
    sound.run(agents.heartbeat("c", {"cpu": 1.0}))
    assert [sound.started(f"u{n}").attempt.agent_id for n in range(2)] == ["a", "a"]


def test_a_heartbeat_during_a_switch_scores_in_both(sound):
    """Found by reading: a report that came while resource_based was being filled in was lost for the next epoch."""
    sound.constant(BUILD_PAGE=1)
    for n in range(1200):
        sound.agent(f"a{n}", heartbeat_timeout=0)
    sound.task("t", needs=Requirements(agent_type="worker"))
    sound.run(tasks.cancel("t"))
    assert sound.run(queues.set_strategy("resource_based")) == "least_connections"
    [placed, *_] = {key: value for key, value in sound.whole().items() if key.startswith("agents:score:1:")}.values()
    sound.run(agents.heartbeat(next(iter(placed)), {"cpu": 1.0}))
    sound.sweep()
    assert sound.run(tasks.stats()).strategy == "resource_based"


@pytest.mark.parametrize("back", [False, True])
def test_a_switch_goes_in_steps(sound, back):
    """Given 1,500 agents, the first 1,000 move at once, the sweep moves the rest, the old strategy decides meanwhile."""
    for n in range(1500):
        sound.agent(f"a{n}", heartbeat_timeout=0)
    sound.task("t")
    sound.run(tasks.cancel("t"))
    sound.sweep()
    assert sound.run(queues.set_strategy("round_robin")) == "least_connections"
    assert sound.violations() == []
    if back:
        assert sound.run(queues.set_strategy("least_connections")) == "least_connections"
        sound.sweep()
        assert set(sound.whole()) >= {"agents:score:0:any"}
        assert "agents:score:1:any" not in sound.whole()
        return
    assert sound.run(queues.set_strategy("resource_based")) == "least_connections"  # the switch under way gives way
    sound.sweep()
    assert sound.run(tasks.stats()).strategy == "resource_based"
    assert [key for key in sound.whole() if key.startswith("agents:score:")] == ["agents:score:2:any"]


def test_an_unknown_strategy_is_refused():
    with pytest.raises(BadRequest, match="Invalid strategy: fastest"):
        queues.set_strategy("fastest")
