"""What every strategy must do, and what each is for."""

import math
from collections import Counter
from collections.abc import Callable

import pytest

from aitbc.ledger import agents, queues, tasks
from aitbc.ledger.strategy import STRATEGIES
from aitbc.model.agent import AgentType
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, Call, Desk

KEYS = 100
everyone = pytest.mark.parametrize("strategy", STRATEGIES)


def use(desk: Desk, strategy: str) -> None:
    desk.run(queues.set_strategy(strategy))
    assert desk.run(tasks.stats()).strategy == strategy


def one_by_one(desk: Desk, count: int, name: str = "t", seconds: float = 0.01, **fields: object) -> list[str]:
    """The agents of so many tasks, each ended before the next."""
    chosen = []
    for n in range(count):
        call = desk.started(f"{name}{n}", **fields)
        chosen.append(call.attempt.agent_id)
        desk.at(seconds)
        call.ends()
    return chosen


# -- every strategy


@everyone
def test_fills_every_slot_that_fits_and_no_other(sound: Desk, strategy: str) -> None:
    use(sound, strategy)
    for name, slots, capabilities in (("a", 1, "x"), ("b", 3, "xy"), ("c", 2, "y"), ("d", 2, "x")):
        sound.agent(name, slots, capabilities=tuple(capabilities), weight=slots, heartbeat_timeout=0)
    sound.run(agents.drain("d"))
    needs = Requirements(capabilities=("x",))
    calls = [sound.started(f"t{n}", needs=needs) for n in range(4)]
    assert Counter(call.attempt.agent_id for call in calls) == {"a": 1, "b": 3}
    sound.task("more", needs=needs)
    assert sound.route("more").why == "waiting"  # c has slots, and is none of those who can
    assert [grant.task_id for grant in sound.run(agents.resume("d")).grants] == ["more"]


@everyone
def test_a_freed_slot_takes_the_best_that_waits(sound: Desk, strategy: str) -> None:
    """The strategy chooses agents; the order of tasks is the same under all of them."""
    use(sound, strategy)
    sound.agent("a", 1, heartbeat_timeout=0)
    call = sound.started("first")
    for name, priority in (("low", Priority.LOW), ("normal", Priority.NORMAL), ("urgent", Priority.URGENT)):
        sound.task(name, priority=priority, affinity_key=name)
        sound.route(name)
    order = []
    for _ in range(3):
        (grant,) = call.ends().grants
        order.append(grant.task_id)
        token = sound.token()
        attempt = sound.begin(grant.lease_id, token=token).attempt
        assert attempt
        call = Call(sound, attempt, "w1", token)
    assert order == ["urgent", "normal", "low"]


@everyone
def test_urgent_tasks_of_others_come_before_what_a_job_asks_for(sound: Desk, strategy: str) -> None:
    """Found by thought: consistent_hash asks the oldest task of *one* signature first; the agent may suit a better one of another."""
    use(sound, strategy)
    for n in range(4):
        sound.agent(f"a{n}", 1, capabilities=("x",), heartbeat_timeout=0)
    mine, other = Requirements(capabilities=("x",)), Requirements(agent_type="worker")
    for n in range(4):
        sound.task(f"urgent{n}", priority=Priority.URGENT, needs=other)
    sound.task("mine", needs=mine)
    begun = sound.route("mine")
    assert begun.attempt
    assert begun.attempt.task_id.startswith("urgent")
    given = {begun.attempt.task_id, *(grant.task_id for grant in begun.grants)}
    assert given == {f"urgent{n}" for n in range(4)}
    assert sound.state("mine") == "waiting"


@everyone
def test_a_lease_and_its_end_leave_the_scores_as_they_were(sound: Desk, strategy: str) -> None:
    """But for what the strategy remembers: when it was used, its turn, how long it took. The doctor computes all of them anew."""
    use(sound, strategy)
    for name in "abc":
        sound.agent(name, 2, heartbeat_timeout=0)
    calls = [sound.started(f"t{n}") for n in range(5)]
    assert sound.violations() == []
    for call in calls:
        sound.at(0.05)
        call.ends()
        assert sound.violations() == []
    assert sound.redis.zcard(f"agents:score:{text_epoch(sound)}:any") == 3


@everyone
def test_a_retry_goes_to_an_agent_that_it_has_not_met(sound: Desk, strategy: str) -> None:
    use(sound, strategy)
    for name in "abc":
        sound.agent(name, 5, heartbeat_timeout=0)
    met, call = [], sound.started("t", max_attempts=3, affinity_key="k")
    for _ in range(2):
        met.append(call.attempt.agent_id)
        call.ends(COUNTED)
        (lease,) = (key for key in [sound.field("t", "lease")] if key)
        token = sound.token()
        attempt = sound.begin(lease, token=token).attempt
        assert attempt
        call = Call(sound, attempt, "w1", token)
    assert {*met, call.attempt.agent_id} == {"a", "b", "c"}


def text_epoch(desk: Desk) -> str:
    return (desk.redis.hget("ledger", "epoch") or b"0").decode()


# -- each


def test_weighted_round_robin_gives_shares_by_weight(sound: Desk) -> None:
    use(sound, "weighted_round_robin")
    for name, weight in (("a", 1.0), ("b", 2.0), ("c", 5.0)):
        sound.agent(name, 9, weight=weight, heartbeat_timeout=0)
    chosen = one_by_one(sound, 80)
    assert Counter(chosen) == {"a": 10, "b": 20, "c": 50}
    longest = max(len(run) for run in "".join(chosen).replace("a", " ").replace("b", " ").split())
    assert longest <= 4  # smooth: c does not get its five in a row


def test_weighted_round_robin_owes_nothing_to_who_was_away(sound: Desk) -> None:
    use(sound, "weighted_round_robin")
    for name in "ab":
        sound.agent(name, 9, weight=2.0, heartbeat_timeout=0)
    sound.run(agents.drain("a"))
    assert set(one_by_one(sound, 50)) == {"b"}
    sound.run(agents.resume("a"))
    sound.agent("new", 9, heartbeat_timeout=0)
    chosen = one_by_one(sound, 20, "u")
    assert Counter(chosen)["a"] in {8, 9}
    assert Counter(chosen)["new"] in {4, 5}
    assert chosen[:3].count("a") <= 2


def test_least_response_time_prefers_the_fast_one_and_asks_the_unknown_once(sound: Desk) -> None:
    use(sound, "least_response_time")
    times = {"fast": 0.05, "slow": 0.5}
    for name in times:
        sound.agent(name, 9, heartbeat_timeout=0)
    chosen = []
    for n in range(12):
        call = sound.started(f"t{n}")
        chosen.append(call.attempt.agent_id)
        sound.at(times[call.attempt.agent_id])
        call.ends()
    assert set(chosen[:2]) == {"fast", "slow"}
    assert set(chosen[2:]) == {"fast"}
    held = Counter(sound.started(f"u{n}").attempt.agent_id for n in range(10))
    assert held == {"fast": 9, "slow": 1}  # (9 + 1) × 50 ms = 1 × 500 ms


def test_a_slow_moment_is_forgiven(sound: Desk) -> None:
    """Nobody asks an agent that once took a minute, so nobody would learn that it is well again: its mean halves each minute."""
    use(sound, "least_response_time")
    sound.agent("ill", 9, heartbeat_timeout=0)
    call = sound.started("t")
    sound.at(8)
    call.ends()
    sound.agent("well", 9, heartbeat_timeout=0)
    assert set(one_by_one(sound, 5, "u", seconds=1.0)) == {"well"}
    chosen = []
    for minute in range(8):
        sound.at(61)
        sound.sweep()
        chosen += one_by_one(sound, 1, f"v{minute}", seconds=1.0)
    assert chosen[:3] == ["well"] * 3
    assert "ill" in chosen


def test_means_are_forgotten_when_no_strategy_asks(sound: Desk) -> None:
    use(sound, "predictive")
    sound.agent("a", 9, heartbeat_timeout=0)
    one_by_one(sound, 1, seconds=1.0)
    assert sound.redis.zcard("agents:stale") == 1
    use(sound, "least_connections")
    one_by_one(sound, 1, "u")
    sound.at(61)
    sound.sweep()
    assert not sound.redis.exists("agents:stale")
    assert not sound.redis.hget("agent:a", "_rt")


def test_capability_based_takes_specialists_first(sound: Desk) -> None:
    use(sound, "capability_based")
    sound.agent("general", 2, capabilities=("x", "y", "z"), agent_type=AgentType.WORKER, heartbeat_timeout=0)
    sound.agent("special", 2, capabilities=("x",), agent_type=AgentType.SPECIALIST, heartbeat_timeout=0)
    needs = Requirements(capabilities=("x",))
    calls = [sound.started(f"t{n}", needs=needs).attempt.agent_id for n in range(3)]
    assert calls == ["special", "special", "general"]


def test_predictive_weighs_speed_slots_and_success(sound: Desk) -> None:
    """A big agent of the same speed takes more at once; one that fails half of its tasks counts as half as fast."""
    use(sound, "predictive")
    for name, slots in (("small", 2), ("big", 8), ("flaky", 8)):
        sound.agent(name, slots, heartbeat_timeout=0)
        sound.run(agents.drain(name))
    for name in ("small", "big", "flaky"):  # each is measured: one second
        sound.run(agents.resume(name))
        one_by_one(sound, 1, name, seconds=1.0)
        sound.run(agents.drain(name))
    sound.run(agents.resume("flaky"))
    for n in range(4):
        call = sound.started(f"bad{n}", max_attempts=1)
        call.ends(COUNTED)
    for name in ("small", "big"):
        sound.run(agents.resume(name))
    held = Counter(sound.started(f"t{n}").attempt.agent_id for n in range(10))
    assert held["big"] > held["flaky"] > held["small"] >= 1


# -- consistent_hash


@pytest.fixture
def ring(sound: Desk) -> Callable[..., dict[str, str]]:
    """Which agent each of these keys goes to, one task at a time."""
    use(sound, "consistent_hash")

    def ask(name: str, keys: int = KEYS) -> dict[str, str]:
        return {f"k{n}": one_by_one(sound, 1, f"{name}{n}-", affinity_key=f"k{n}")[0] for n in range(keys)}

    return ask


def test_a_key_keeps_its_agent(sound: Desk, ring: Callable[..., dict[str, str]]) -> None:
    for n in range(8):
        sound.agent(f"a{n}", 4, heartbeat_timeout=0)
    before = ring("t")
    assert ring("u") == before
    shares = Counter(before.values())
    assert len(shares) == 8
    assert max(shares.values()) < 2.5 * KEYS / 8


def test_without_a_key_the_data_is_the_key(sound: Desk, ring: Callable[..., dict[str, str]]) -> None:
    for n in range(8):
        sound.agent(f"a{n}", 4, heartbeat_timeout=0)
    same = [one_by_one(sound, 1, f"s{n}", task_data='{"prompt":"the same"}')[0] for n in range(10)]
    other = [one_by_one(sound, 1, f"o{n}", task_data=f'{{"prompt":{n}}}')[0] for n in range(40)]
    assert len(set(same)) == 1
    assert len(set(other)) > 4


def test_an_agent_that_comes_or_goes_moves_its_own_keys_only(sound: Desk, ring: Callable[..., dict[str, str]]) -> None:
    for n in range(8):
        sound.agent(f"a{n}", 4, heartbeat_timeout=0)
    before = ring("t")
    sound.run(agents.drain("a3"))
    without = ring("u")
    assert all(without[key] == agent for key, agent in before.items() if agent != "a3")
    assert "a3" not in without.values()
    sound.run(agents.resume("a3"))
    assert ring("v") == before
    sound.agent("a8", 4, heartbeat_timeout=0)
    moved = {key for key, agent in ring("w").items() if agent != before[key]}
    assert 0 < len(moved) < 2.5 * KEYS / 9
    assert all(agent == "a8" for key, agent in ring("x").items() if key in moved)


def test_a_hot_key_spreads_once_its_agents_are_loaded(sound: Desk, ring: Callable[..., dict[str, str]]) -> None:
    """Its load is even among the agents seen from its points, and every slot of the fleet is used in the end."""
    for n in range(6):
        sound.agent(f"a{n}", 5, heartbeat_timeout=0)
    calls = [sound.started(f"t{n}", affinity_key="hot") for n in range(30)]
    early = Counter(call.attempt.agent_id for call in calls[:10])
    assert len(early) > 2
    assert max(early.values()) <= math.ceil(1.25 * 10 / len(early))
    assert set(Counter(call.attempt.agent_id for call in calls).values()) == {5}
