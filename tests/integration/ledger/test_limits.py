"""Every bound of the ledger at its limit: a clear error that leaves no trace, or a drop that is counted (docs/bounds.md)."""

import time

import pytest
import redis

from aitbc.errors import Full
from aitbc.ledger import agents, sweep, tasks
from aitbc.ledger.scripts import FIXED, RECORD_BYTES
from aitbc.model.requirements import Requirements
from aitbc.settings import Settings
from tests.integration.ledger.desk import COUNTED, DONE, FINAL, Desk, new_task, registration

SLOW_MICROSECONDS = 5000
"""What a script of the sweep should stay below (printed, not gated: the machine is shared)."""


def test_a_million_live_tasks_and_not_one_more(desk):
    """The arithmetic at the default: only the counters say so many."""
    desk.redis.hset("stats", mapping={"submitted": 1_500_000, "retried": 1000, "completed": 400_000, "failed": 100_000, "cancelled": 1001})
    assert desk.task("last").created
    before = desk.whole()
    with pytest.raises(Full, match="AITBC_MAX_LIVE_TASKS") as refusal:
        desk.task("one more")
    assert refusal.value.retry_after > 0
    assert desk.whole() == before
    assert not desk.task("last").created  # a repeat is answered all the same
    desk.run(tasks.cancel("last"))
    assert desk.task("one more").created


def test_a_retry_by_hand_is_one_more_live_task(sound):
    """Found by this test: dead letters could be reopened beyond the limit."""
    few = sound.again(max_live_tasks=1)
    few.agent("a")
    few.started("dead").ends(FINAL)
    few.task("lives")
    before = few.whole()
    with pytest.raises(Full, match="AITBC_MAX_LIVE_TASKS"):
        few.run(tasks.retry("dead", "r1", Requirements()))
    assert few.whole() == before
    few.run(tasks.cancel("lives"))
    assert few.run(tasks.retry("dead", "r1", Requirements())).state == "running"
    assert few.run(tasks.retry("dead", "r1", Requirements())).state == "running"  # its repeat is not one more
    few.close()


def test_the_257th_requirements_are_refused_and_heal(sound):
    """Refused while 256 others are in use; ten minutes after one of them is not in use any more, accepted."""
    for n in range(256):
        sound.task(f"t{n}", needs=Requirements(capabilities=(f"c{n}",)))
    before = sound.whole()
    with pytest.raises(Full, match="AITBC_MAX_SIGNATURES") as refusal:
        sound.task("new", needs=Requirements(capabilities=("new",)))
    assert refusal.value.retry_after > 0
    assert sound.whole() == before
    assert sound.task("more of a known one", needs=Requirements(capabilities=("c0",))).created
    sound.run(tasks.cancel("t9"))
    sound.pass_time(604, stride=4)
    sound.sweep()
    assert sound.redis.zcard("sigs") == 255
    assert sound.task("new", needs=Requirements(capabilities=("new",))).created


def test_agents_are_bounded_and_the_known_ones_register_again(sound):
    few = sound.again(max_agents=2)
    few.agent("a")
    few.agent("b")
    before = few.whole()
    with pytest.raises(Full, match="AITBC_MAX_AGENTS"):
        few.agent("c")
    assert few.whole() == before
    few.agent("b", 9)
    few.run(agents.remove("a"))
    few.agent("c")
    few.close()


def test_a_new_agent_is_refused_when_memory_is_full_and_a_known_one_is_not(own_redis):
    """Found by this test: registering went on past maxmemory, with up to 1 MiB of metadata each."""
    desk = Desk(own_redis.url)
    desk.at(0)
    desk.agent("known")
    desk.redis.config_set("maxmemory", 1)
    before = desk.whole()
    with pytest.raises(Full, match="maxmemory"):
        desk.run(agents.register(registration("new", metadata={"a": "b" * 1000})))
    assert desk.whole() == before
    desk.agent("known", 5)
    assert desk.run(agents.read("known")).max_concurrency == 5
    desk.close()


def test_the_stream_of_ends_is_cut_to_its_length(sound):
    short = sound.again(keep_events=1000)
    for n in range(1300):
        short.redis.xadd("tasks:events", {"t": f"old{n}", "s": "completed"})
    short.task("t")
    short.run(tasks.cancel("t"))
    assert 1000 <= short.redis.xlen("tasks:events") < 1300  # whole nodes of the stream go, so `about`
    assert short.redis.xrevrange("tasks:events", count=1)[0][1] == {b"t": b"t", b"s": b"cancelled"}
    short.close()


def test_what_retention_drops_is_counted(sound):
    """By age, by number and by bytes, oldest first; the sums still add up."""
    small = sound.again(keep_tasks=100.0, keep_dead=3, keep_bytes=13 * RECORD_BYTES)
    small.agent("a", heartbeat_timeout=0)
    for n in range(5):
        small.at(1)
        small.started(f"dead{n}").ends(FINAL)
        small.started(f"done{n}").ends(DONE)
        small.task(f"gone{n}")
        small.run(tasks.cancel(f"gone{n}"))
    small.sweep()
    assert small.places()["tasks:failed"] == ["dead2", "dead3", "dead4"]
    assert small.places()["tasks:completed"] == ["done1", "done2", "done3", "done4"]
    assert len(small.places()["tasks:cancelled"]) == 5
    assert _trimmed(small) == {"failed": 2, "completed": 1}
    small.at(101)
    small.sweep()
    assert {key for key in small.places() if key.startswith("tasks:")} == set()
    assert _trimmed(small) == {"failed": 5, "completed": 5, "cancelled": 5}
    assert small.redis.hget("stats", "kept_bytes") == b"0"
    sound.offset = small.offset
    small.close()


def _trimmed(desk):
    counters = desk.redis.hgetall("stats")
    return {name.decode().removeprefix("trimmed_"): int(n) for name, n in counters.items() if name.startswith(b"trimmed_")}


def test_fifty_attempts_are_the_most_and_twenty_are_shown(sound):
    sound.agent("a", heartbeat_timeout=0)
    call = sound.started("t", max_attempts=50)
    for n in range(1, 51):
        call.ends(COUNTED)
        sound.redis.hset("agent:a", "_fails", "")  # its breaker is another bound
        if n < 50:
            sound.pass_time(74, "w1", stride=74)
            token = sound.token()
            attempt = sound.begin(sound.field("t", "lease"), token=token).attempt
            assert attempt.attempt == n + 1
            call = type(call)(sound, attempt, "w1", token)
    task = sound.read("t")
    assert (task.state, task.error["code"]) == ("failed", "agent_failed")
    assert [a.attempt for a in task.attempts] == [*range(1, 6), *range(36, 51)]


def test_ten_thousand_slots_meet_a_hundred_thousand_waiting_tasks(own_redis, capsys):
    """64 grants a script, the oldest tasks first, each script short: the longest is printed."""
    desk = Desk(own_redis.url)
    own = redis.Redis(port=own_redis.port)
    own.config_set("appendfsync", "no")
    desk.at(0)
    _submit_many(desk, 100_000)
    own.config_set("slowlog-log-slower-than", SLOW_MICROSECONDS)
    own.slowlog_reset()
    own.config_resetstat()
    began = time.monotonic()
    assert len(desk.agent("big", 10_000, heartbeat_timeout=0).grants) == FIXED["GRANTS"]
    turns = 0
    while desk.redis.exists("agents:unsettled"):
        swept = desk.run(sweep.steps()[1])
        assert len(swept.grants) <= FIXED["GRANTS"]
        turns += 1
    spent = time.monotonic() - began
    calls = own.info("commandstats")["cmdstat_evalsha"]
    slow = [entry["duration"] for entry in own.slowlog_get(128) if entry["command"].startswith(b"EVALSHA")]
    own.close()
    with capsys.disabled():
        print(
            f"\n10,000 grants in {turns + 1} scripts, {spent:.1f} s: mean {calls['usec_per_call'] / 1000:.2f} ms,"
            f" {len(slow)} over 5 ms, longest {max(slow, default=0) / 1000:.1f} ms"
        )
    assert desk.redis.scard("leases:agent:big") == 10_000
    assert desk.redis.zcard("tasks:waiting:any:3") == 90_000
    assert desk.state("m9999") == "running"
    assert desk.state("m10000") == "queued"
    desk.close()


def _submit_many(desk, count):
    script = desk.ledger._scripts["submit"]
    desk.redis.script_load(script.text)
    for start in range(0, count, 5000):
        pipe = desk.redis.pipeline(transaction=False)
        for n in range(start, start + 5000):
            pipe.evalsha(script.sha, 0, *tasks.submit(new_task(f"m{n}", task_data="{}")).args)
        pipe.execute()


def test_the_defaults_are_those_of_the_page():
    """docs/bounds.md names them; what is settable is a setting."""
    settings = Settings()
    assert (settings.max_live_tasks, settings.max_agents, settings.max_signatures) == (1_000_000, 200_000, 256)
    assert (settings.keep_tasks, settings.keep_dead, settings.keep_bytes) == (86_400, 100_000, 1 << 30)
    assert (settings.max_dispatches, settings.max_task_age, settings.keep_events) == (100, 7 * 86_400, 100_000)
    assert (FIXED["GRANTS"], FIXED["MAX_CRASHES"]) == (64, 5)
