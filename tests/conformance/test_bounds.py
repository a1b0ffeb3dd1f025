"""What a choice costs, however many agents there are, and what it must leave alone."""

import hashlib
import random
from collections import Counter
from typing import Any

import pytest

from aitbc.ledger import agents, sweep, tasks
from aitbc.ledger.strategy import DEFAULT, STRATEGIES
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from tests.conformance.test_strategies import one_by_one, use
from tests.integration.ledger.desk import COUNTED, MICRO, Desk

ROUNDS = 20
BEFORE = 61
"""Commands of a task among free agents when there were three strategies."""
SEEN = 7
"""Agents that a key of consistent_hash sees at most: those of a large fleet are more often different."""


def commands(desk: Desk, strategy: str, fleet: int, name: str) -> float:
    """`redis.call`s of a task's submit, route and finish among so many agents."""
    use(desk, strategy)
    for n in range(int(desk.redis.zcard("agents:all")), fleet):
        desk.agent(f"a{n}", 4, heartbeat_timeout=0)
    one_by_one(desk, 2, f"warm-{name}")  # the signature is there, the scripts are loaded
    desk.redis.config_resetstat()
    one_by_one(desk, ROUNDS, name)
    stats: Any = desk.redis.info("commandstats")
    ours = (row["calls"] for command, row in stats.items() if not command.startswith(("cmdstat_evalsha", "cmdstat_config")))
    return (sum(ours) - ROUNDS) / ROUNDS  # the desk's own SET of its clock


KEPT = 0.9
"""Share of the tasks that go where most of their key go; by the fleet's mean it was 0.69."""


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_choice_costs_the_same_in_a_large_fleet(sound: Desk, strategy: str) -> None:
    """L6: thirty times the agents, no more commands."""
    small = commands(sound, strategy, 10, "few")
    large = commands(sound, strategy, 300, "many")
    assert large <= small + (SEEN if strategy == "consistent_hash" else 0)
    assert large <= BEFORE + (20 if strategy == "consistent_hash" else 4)


def test_the_default_pays_nothing_for_the_others(sound: Desk) -> None:
    """Fourteen to submit, 25 to route and begin, 22 to finish: not one more than before there were eight."""
    assert commands(sound, DEFAULT, 10, "t") <= BEFORE


def test_a_turn_of_weighted_round_robin_is_not_the_sweeps(sound: Desk) -> None:
    """Found by reading: the fleet's turn was kept in the field in which the sweep keeps whose turn it is."""
    use(sound, "weighted_round_robin")
    sound.agent("a", 9, heartbeat_timeout=0)
    assert sound.run(sweep.turn("w1"))
    one_by_one(sound, 3, seconds=0.001)
    assert not sound.run(sweep.turn("w2"))
    assert int(sound.redis.hget("ledger", "round") or 0) < MICRO


def test_keys_of_few_that_fit_keep_their_agents_beside_an_idle_fleet(sound: Desk) -> None:
    """Found by thought: by the mean of the whole fleet the few busy agents that fit are always over it, and their keys wander."""
    use(sound, "consistent_hash")
    for n in range(30):
        sound.agent(f"idle{n}", 10, heartbeat_timeout=0)
    for n in range(4):
        sound.agent(f"gpu{n}", 40, tags=("gpu",), heartbeat_timeout=0)
    needs, homes, chance = Requirements(tags=("gpu",)), dict[str, Counter[str]](), random.Random(1)
    for n in range(120):
        key = f"k{chance.randrange(24)}"
        call = sound.started(f"t{n}", needs=needs, affinity_key=key)
        homes.setdefault(key, Counter())[call.attempt.agent_id] += 1
    kept = sum(max(seen.values()) for seen in homes.values())
    assert kept >= KEPT * 120


def test_large_data_is_hashed_by_its_beginning(sound: Desk) -> None:
    use(sound, "consistent_hash")
    for n in range(8):
        sound.agent(f"a{n}", 4, heartbeat_timeout=0)
    long = '{"prompt":"' + "x" * 70_000
    same = {one_by_one(sound, 1, f"s{n}", task_data=f'{long}{n}"}}')[0] for n in range(12)}
    assert len(same) == 1


def test_a_retry_by_hand_keeps_its_key(sound: Desk) -> None:
    use(sound, "consistent_hash")
    for n in range(8):
        sound.agent(f"a{n}", 4, heartbeat_timeout=0)
    first = sound.started("t", affinity_key="k")
    home = first.attempt.agent_id
    sound.run(tasks.cancel("t"))
    first.ends()
    assert [grant.task_id for grant in sound.run(tasks.retry("t", "r1", Requirements())).grants] == ["t"]
    assert sound.field("t", "agent") == home


@pytest.mark.parametrize("broken", ["forgotten", "left"])
def test_the_doctor_sees_a_response_time_that_stays(desk: Desk, broken: str) -> None:
    use(desk, "predictive")
    desk.agent("a", 9, heartbeat_timeout=0)
    one_by_one(desk, 1)
    assert desk.violations() == []
    if broken == "forgotten":
        desk.redis.delete("agents:stale")
    else:
        desk.redis.hset("agent:a", "_rt", "")
    assert any("response time" in found for found in desk.violations())


def test_weights_count_among_the_agents_of_a_rare_signature(sound: Desk) -> None:
    """Found by thought: between two tasks of a rare signature the fleet's round passed all of its agents, and they went in plain turns."""
    use(sound, "weighted_round_robin")
    rare, usual = Requirements(tags=("rare",)), Requirements(tags=("usual",))
    for name, weight, tag in (("light", 1.0, "rare"), ("heavy", 3.0, "rare"), ("u1", 1.0, "usual"), ("u2", 1.0, "usual")):
        sound.agent(name, 9, weight=weight, tags=(tag,), heartbeat_timeout=0)
    chosen: list[str] = []
    for n in range(20):
        one_by_one(sound, 5, f"usual{n}-", needs=usual)
        chosen += one_by_one(sound, 1, f"rare{n}-", needs=rare)
    assert Counter(chosen) == {"light": 5, "heavy": 15}


def test_the_smallest_weight_there_is_counts_as_a_thousandth(sound: Desk) -> None:
    """Found by thought: its turn was over 2^63, which is printed as the lowest number, so it got every task."""
    use(sound, "weighted_round_robin")
    sound.agent("tiny", 9, weight=1e-300, heartbeat_timeout=0)
    sound.agent("usual", 9, heartbeat_timeout=0)
    assert Counter(one_by_one(sound, 40)) == {"usual": 39, "tiny": 1}


def test_retries_of_a_key_go_on_along_its_ring(sound: Desk) -> None:
    """Found by reading: every retry went to the first agents of the ring, whatever its key."""
    use(sound, "consistent_hash")
    for n in range(12):
        sound.agent(f"a{n}", 9, heartbeat_timeout=0)
    second = set()
    for n in range(12):
        call = sound.started(f"t{n}", affinity_key=f"k{n}")
        call.ends(COUNTED)
        second.add(sound.field(f"t{n}", "agent"))
    assert len(second) >= 4


def test_a_new_signature_begins_where_the_fleet_is(sound: Desk) -> None:
    """A mutant's: an agent without a turn got every task of a new signature until it had caught up."""
    use(sound, "weighted_round_robin")
    for name in "ab":
        sound.agent(name, 9, tags=("new",), heartbeat_timeout=0)
    one_by_one(sound, 40)
    sound.agent("c", 9, tags=("new",), heartbeat_timeout=0)
    chosen = Counter(one_by_one(sound, 9, "u", needs=Requirements(tags=("new",))))
    assert 2 <= chosen["c"] <= 4


def test_one_answer_moves_the_mean_by_a_tenth(sound: Desk) -> None:
    use(sound, "least_response_time")
    sound.agent("a", 9, heartbeat_timeout=0)
    means = []
    for seconds in (100.0, 1.0):
        one_by_one(sound, 1, f"t{seconds}", seconds)
        means.append(int(sound.redis.hget("agent:a", "_rt") or 0) / MICRO)
    assert means[0] >= 100
    assert means[0] - 10 <= means[1] <= means[0] - 9


def test_a_removed_agent_leaves_no_response_time(sound: Desk) -> None:
    use(sound, "predictive")
    sound.agent("a", 9, heartbeat_timeout=0)
    one_by_one(sound, 1)
    sound.run(agents.remove("a"))
    assert not sound.redis.exists("agent:a", "agents:stale")


def test_a_better_task_goes_to_its_own_agent_too(sound: Desk) -> None:
    """A mutant survived: what is better for the agent of the task that was asked for has an agent of its own."""
    use(sound, "consistent_hash")
    first, *others = sorted((f"a{n}" for n in range(8)), key=lambda name: hashlib.sha1(name.encode(), usedforsecurity=False).digest())
    sound.agent(first, 4, heartbeat_timeout=0)  # seen first, and no agent of the urgent tasks
    for name in others:
        sound.agent(name, 4, tags=("y",), heartbeat_timeout=0)
    needs, went = Requirements(tags=("y",)), []
    for n in range(12):
        home = one_by_one(sound, 1, f"alone{n}-", needs=needs, affinity_key=f"u{n}")
        sound.task(f"urgent{n}", needs=needs, affinity_key=f"u{n}", priority=Priority.URGENT)
        sound.task(f"t{n}", affinity_key=f"t{n}")
        sound.route(f"t{n}")
        went.append((sound.field(f"urgent{n}", "agent"), home[0]))
        sound.run(tasks.cancel(f"urgent{n}"))
        sound.run(tasks.cancel(f"t{n}"))
        sound.pass_time(32)
    met = [(agent, home) for agent, home in went if agent]  # a task whose own agent is the first one meets none
    assert len(met) >= 8
    assert all(agent == home for agent, home in met)
