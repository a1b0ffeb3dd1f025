"""Agents: register, discover, status by hand, heartbeat, silence, health, breaker, removal."""

from datetime import datetime

import pytest

from aitbc.errors import Full, NotFound
from aitbc.ledger import agents, tasks
from aitbc.model.agent import AgentQuery, AgentStatus, AgentType
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED


def test_register_and_read(sound):
    first = sound.agent("a", 3, capabilities=("x",), services=("s",), tags=("t",), metadata={"m": []}, sealed_secret="v1:s", weight=2.0)
    assert (first.status, first.created, first.grants) == ("active", True, [])
    agent = sound.run(agents.read("a"))
    assert (agent.agent_id, agent.agent_type, agent.capabilities, agent.services, agent.tags) == ("a", "worker", ["x"], ["s"], ["t"])
    assert (agent.metadata, agent.max_concurrency, agent.weight, agent.active, agent.health_score) == ({"m": []}, 3, 2.0, 0, 1.0)
    assert (agent.version, agent.breaker, agent.heartbeat_timeout, agent.has_secret) == (1, "closed", 120.0, True)
    assert agent.last_heartbeat == agent.registration_time == first.registered_at
    assert first.registered_at.endswith("+00:00")
    again = sound.agent("a", 3)
    assert not again.created
    assert sound.run(agents.read("a")).version == 2
    assert sound.run(tasks.stats()).weights == {}


def test_times_are_right_over_the_years(sound):
    """The Lua's own calendar against Python's."""
    for days in (0, 31, 59, 95, 365, 366, 1200, 3000):
        sound.offset = 0
        sound.at(days * 86400.5)
        registered = datetime.fromisoformat(sound.agent(f"a{days}", heartbeat_timeout=0).registered_at)
        seconds, micros = sound.redis.time()
        assert abs(registered.timestamp() - (seconds + micros / 1e6 + sound.offset)) < 1
    sound.redis.flushdb()


def test_reregistering_keeps_leases_and_some_states(sound):
    sound.agent("a", 2)
    call = sound.started("t")
    for status, after in (
        ("maintenance", "maintenance"),
        ("busy", "busy"),
        ("draining", "draining"),
        ("error", "active"),
        ("inactive", "active"),
    ):
        sound.run(agents.set_status("a", AgentStatus(status)))
        assert sound.agent("a", 2).status == after
    assert sound.run(agents.read("a")).active == 1
    call.ends()


def test_new_capabilities_are_matched_at_once(sound):
    sound.agent("a")
    sound.task("t", needs=Requirements(capabilities=("x",)))
    assert sound.route("t").why == "waiting"
    assert [g.task_id for g in sound.agent("a", capabilities=("x",)).grants] == ["t"]


def test_lower_and_higher_slots(sound):
    sound.agent("a", 3)
    calls = [sound.started(f"t{n}") for n in range(3)]
    sound.task("next")
    assert sound.agent("a", 1).grants == []
    assert calls[0].ends().grants == []
    assert [g.task_id for g in sound.agent("a", 3).grants] == ["next"]


def test_without_an_endpoint_it_is_listed_and_gets_nothing(sound):
    sound.agent("a", endpoints={"grpc": "x"})
    sound.task("t")
    assert sound.route("t").why == "waiting"
    assert sound.redis.smembers("agents:active") == {b"a"}


def test_the_registry_is_bounded(sound):
    few = sound.again(max_agents=1)
    few.agent("a")
    before = few.whole()
    with pytest.raises(Full):
        few.agent("b")
    assert few.whole() == before
    assert not few.agent("a").created
    few.close()


def test_discover(sound):
    sound.agent("a", capabilities=("x", "y"), services=("s",), tags=("t",))
    sound.agent("b", capabilities=("x",), agent_type=AgentType.MONITOR)
    sound.agent("c")
    sound.run(agents.drain("c"))

    def found(**query):
        return [agent.agent_id for agent in sound.run(agents.discover(AgentQuery(**query)))]

    assert found() == ["a", "b", "c"]
    assert found(limit=2) != found()
    assert found(capabilities=("x",)) == ["a", "b"]
    assert found(capabilities=("x", "y"), tags=("t",), services=("s",)) == ["a"]
    assert found(agent_type="monitor") == ["b"]
    assert found(status="draining") == ["c"]
    assert found(status="nonsense") == found(agent_type="nonsense") == []
    sound.run(agents.drain("b"))
    call = sound.started("t")
    call.ends(COUNTED)
    assert found(min_health_score=0.95) == ["b", "c"]
    assert found(status="draining", min_health_score=0.5) == ["b", "c"]


def test_pages_by_id(sound):
    for n in range(7):
        sound.agent(f"a{n}")
    cursor, seen = None, []
    for _ in range(4):
        page = sound.run(agents.page(2, cursor))
        seen += [agent.agent_id for agent in page.agents]
        cursor = page.next_cursor
    assert (seen, cursor) == ([f"a{n}" for n in range(7)], None)


def test_counts(sound):
    sound.agent("a", capabilities=("x", "y"), services=("s",))
    sound.agent("b", capabilities=("x",))
    sound.sweep()
    stats = sound.run(agents.stats(["active", "busy"], ["worker", "monitor"]))
    assert (stats.total_agents, stats.status_counts, stats.type_counts) == (2, {"active": 2, "busy": 0}, {"worker": 2, "monitor": 0})
    assert (stats.service_count, stats.capability_count) == (1, 2)
    assert stats.last_cleanup
    sound.agent("a")
    stats = sound.run(agents.stats([], []))
    assert (stats.service_count, stats.capability_count) == (0, 1)


def test_a_heartbeat_brings_back_the_inactive_only(sound):
    sound.agent("a", heartbeat_timeout=10)
    sound.sweep()
    sound.pass_time(14)
    assert sound.run(agents.read("a")).status == "inactive"
    sound.task("t")
    beat = sound.run(agents.heartbeat("a", {"cpu": 0.5}))
    assert (beat.status, beat.drain, [g.task_id for g in beat.grants]) == ("active", False, ["t"])
    assert sound.run(agents.read("a")).load_metrics == {"cpu": 0.5}
    sound.run(agents.drain("a"))
    assert sound.run(agents.heartbeat("a")).drain
    with pytest.raises(NotFound):
        sound.run(agents.heartbeat("nobody"))


def test_silence_does_not_end_running_calls(sound):
    sound.agent("a", heartbeat_timeout=10)
    sound.sweep()
    call = sound.started("t")
    sound.pass_time(14, "w1")
    assert sound.run(agents.read("a")).status == "inactive"
    assert call.ends().word == "completed"


def test_a_finished_call_is_a_sign_of_life(sound):
    sound.agent("a", heartbeat_timeout=10)
    sound.sweep()
    for n in range(4):
        call = sound.started(f"t{n}")
        sound.pass_time(6, "w1")
        call.ends()
    assert sound.run(agents.read("a")).status == "active"


def test_a_busy_agent_that_is_silent_stays_busy(sound):
    sound.agent("a", heartbeat_timeout=10)
    sound.run(agents.set_status("a", AgentStatus.BUSY))
    sound.pass_time(16)
    assert sound.run(agents.read("a")).status == "busy"
    sound.run(agents.set_status("a", AgentStatus.ACTIVE))
    assert sound.violations() == []
    sound.pass_time(16)
    assert sound.run(agents.read("a")).status == "inactive"


def test_removal(sound):
    sound.agent("a")
    call = sound.started("t")
    assert sound.run(agents.remove("a")).status == "draining"
    assert sound.run(agents.read("a")).active == 1
    call.ends()
    for step in (agents.read("a"), agents.remove("a"), agents.drain("a")):
        with pytest.raises(NotFound):
            sound.run(step)
    assert not any(key.startswith("agent") and key != "agents:score" for key in sound.whole())


def test_a_pending_removal_is_undone_by_registering(sound):
    sound.agent("a")
    call = sound.started("t")
    sound.run(agents.remove("a"))
    assert sound.agent("a").status == "active"
    call.ends()
    assert sound.run(agents.read("a")).status == "active"


def test_inactive_agents_go_after_a_day(sound):
    sound.agent("a", heartbeat_timeout=10)
    sound.sweep()
    sound.pass_time(14)
    sound.at(86_000)
    sound.sweep()
    assert sound.run(agents.read("a"))
    sound.at(500)
    sound.sweep()
    with pytest.raises(NotFound):
        sound.run(agents.read("a"))


def test_an_inactive_agent_with_a_lease_stays(sound):
    sound.agent("a", heartbeat_timeout=10)
    sound.sweep()
    call = sound.started("t", run_timeout=86_400)
    call.renews()
    sound.pass_time(14)
    few = sound.again(keep_inactive_agents=60.0)
    for _ in range(3):
        few.at(40)
        call.renews()
        few.sweep()
    assert few.run(agents.read("a")).status == "inactive"
    sound.offset = few.offset
    few.close()


def test_a_page_and_a_search_end_at_4_mib(desk):
    """A thousand agents of 1 MiB each would be a gigabyte in one reply of Redis."""
    for n in range(7):
        desk.agent(f"a{n}", metadata={"m": "x" * 1_000_000})
    page = desk.run(agents.page(1000))
    assert [agent.agent_id for agent in page.agents] == [f"a{n}" for n in range(5)]
    rest = desk.run(agents.page(1000, page.next_cursor))
    assert ([agent.agent_id for agent in rest.agents], rest.next_cursor) == (["a5", "a6"], None)
    assert len(desk.run(agents.discover(AgentQuery()))) == 5
