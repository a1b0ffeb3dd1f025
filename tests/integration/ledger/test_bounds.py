"""Load: 10,000 slots beside many waiting tasks, 300 signatures, races for one lease, memory that is full."""

import threading
from collections import Counter

import pytest

from aitbc.errors import Full
from aitbc.ledger import agents, leases, queues, sweep, tasks, workers
from aitbc.ledger.client import Ledger
from aitbc.model.agent import AgentStatus
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import DONE, OFFSET, Desk, new_task


def at_once(count, work):
    """Run work(n) in so many threads that start together; what they returned."""
    gate, found = threading.Barrier(count), []

    def run(n):
        gate.wait()
        found.append(work(n))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_a_hundred_threads_race_for_one_lease(sound):
    sound.task("t")
    [grant] = sound.agent("a").grants
    ledger = Ledger(sound.settings, connections=100, offset=OFFSET)
    tokens = [sound.token() for _ in range(100)]
    found = at_once(100, lambda n: ledger.run(leases.begin(grant.lease_id, f"w{n}", tokens[n])))
    ledger.close()
    assert Counter(bool(begun.attempt) for begun in found) == {True: 1, False: 99}
    assert {begun.why for begun in found} == {"", "begun"}


def test_threads_route_exactly_as_many_as_there_are_slots(sound):
    """3 agents of 4 slots, 40 jobs at once: 12 begun, 4 on each, the rest wait."""
    for name in "abc":
        sound.agent(name, 4)
    for n in range(40):
        sound.task(f"t{n}")
    tokens = [sound.token() for _ in range(40)]
    found = at_once(40, lambda n: sound.ledger.run(leases.route(f"t{n}", "w1", tokens[n])))
    grants = [grant for begun in found for grant in begun.grants]
    attempts = [begun.attempt for begun in found if begun.attempt] + [sound.begin(grant.lease_id).attempt for grant in grants]
    assert Counter(attempt.agent_id for attempt in attempts) == {"a": 4, "b": 4, "c": 4}
    assert sound.run(tasks.stats()).begun == 12
    assert sorted(attempt.task_id for attempt in attempts) == sorted(f"t{n}" for n in range(12))


def test_threads_finish_and_every_task_runs_once(sound):
    """10 threads drain 200 tasks through 7 slots, each finish beginning the next: every task is begun exactly once."""
    sound.agent("a", 7)
    for n in range(200):
        sound.task(f"t{n}")
    begun = []

    def drain(n):
        token = sound.token()
        reply = sound.ledger.run(leases.route(f"t{n}", "w1", token))
        work = [(reply.attempt, token)] if reply.attempt else []
        for grant in reply.grants:
            token = sound.token()
            work.append((sound.begin(grant.lease_id, token=token).attempt, token))
        for attempt, token in work:
            begun.append(attempt.task_id)
            spare = sound.token()
            ended = sound.ledger.run(leases.finish(attempt.lease_id, token, DONE, worker="w1", spare_hash=spare))
            work += [(ended.next, spare)] if ended.next else []

    at_once(10, drain)
    assert sorted(begun) == sorted(f"t{n}" for n in range(200))
    assert sound.redis.zcard("tasks:completed") == 200


def test_ten_thousand_slots_beside_many_waiting_tasks(sound):
    """64 grants a script; the rest through the sweep, whose scripts stay short."""
    steps = [tasks.submit(_task(n)) for n in range(1500)]
    _pipelined(sound, steps)
    assert len(sound.agent("big", 10_000, heartbeat_timeout=0).grants) == 64
    assert sound.redis.smembers("agents:unsettled") == {b"big"}
    swept = sound.run(sweep.steps()[1])
    assert (swept.more, len(swept.grants)) == (True, 64)
    sound.sweep()
    assert sound.redis.scard("leases:agent:big") == 1500
    assert not sound.redis.exists("agents:unsettled")


def test_many_unsettled_agents_are_all_settled_in_one_turn(sound):
    sound.constant(GRANTS=2)
    _pipelined(sound, [tasks.submit(_task(n)) for n in range(150)])
    for n in range(40):
        sound.agent(f"a{n}", 3, heartbeat_timeout=0)
    sound.sweep()
    assert sound.redis.zcard("tasks:running") == 120


def test_three_hundred_signatures_of_which_256_may_be(sound):
    sound.agent("all", 9, heartbeat_timeout=0, capabilities=tuple(f"c{n}" for n in range(300)))
    refused = 0
    for n in range(300):
        try:
            sound.task(f"t{n}", needs=Requirements(capabilities=(f"c{n}",)))
        except Full:
            refused += 1
    assert refused == 44
    assert sound.redis.scard("agents:sigs:all") == 256
    sound.sweep_for_lost_jobs()
    assert sound.redis.scard("leases:agent:all") == 9
    lease = next(iter(sound.redis.smembers("leases:agent:all"))).decode()
    token = sound.token()
    sound.begin(lease, token=token)
    assert sound.run(leases.finish(lease, token, DONE, worker="w1", spare_hash=sound.token())).next


def test_scripts_that_redis_forgot(sound):
    sound.agent("a")
    sound.redis.script_flush()
    call = sound.started("t")
    sound.redis.script_flush()
    assert call.ends().word == "completed"


@pytest.fixture
def full(own_redis):
    """A desk with work of every kind, on a Redis whose memory is full."""
    desk = Desk(own_redis.url)
    desk.at(0)
    desk.agent("a", 4)
    desk.agent("b")
    desk.sweep()
    desk.calls = [desk.started(f"t{n}") for n in range(3)]
    desk.calls[0].renews()
    for n in range(30):
        desk.task(f"w{n}", task_data='"' + "x" * 200 + '"')
    desk.task("dead", priority=Priority.URGENT)
    desk.run(tasks.cancel("dead"))
    desk.redis.config_set("maxmemory", 1)
    yield desk
    desk.redis.config_set("maxmemory", 0)
    assert desk.violations(swept=False) == []
    desk.close()


def test_what_stores_new_things_is_refused_without_a_trace(full):
    before = full.whole()
    for step in (tasks.submit(_task(99)), tasks.submit(_task(98, delay=5)), tasks.retry("dead", "r", Requirements())):
        with pytest.raises(Full):
            full.run(step)
    assert {**full.whole(), "stats": None} == {**before, "stats": None}


def test_what_ends_and_repairs_passes(full):
    """Found by this test: the sweep's turn was refused, so nothing was repaired; retry by hand was not refused."""
    call, sync, third = full.calls
    assert full.run(sweep.turn("w1"))
    full.sweep()
    assert full.run(workers.alive("w2", first=True)).known
    assert full.run(agents.heartbeat("a", {"cpu": 1.0}, [call.lease])).status == "active"
    assert call.renews("{}").expires
    assert sync.ends(DONE, full.token()).next
    lease = full.field("w20", "lease") or next(iter(full.redis.zrange("leases", -1, -1))).decode()
    full.begin(lease)
    assert full.run(tasks.cancel(third.attempt.task_id)).state == "cancelled"
    assert full.run(tasks.cancel("w29")).state == "cancelled"
    full.route("w28")
    full.run(queues.pause(Priority.NORMAL))
    full.run(queues.resume(Priority.NORMAL))
    full.run(queues.clear(Priority.NORMAL))
    full.run(agents.set_status("b", AgentStatus.MAINTENANCE))
    full.run(queues.set_strategy("round_robin"))
    for _ in range(20):
        full.redis.config_set("maxmemory", 0)
        full.at(2)
        full.redis.config_set("maxmemory", 1)
        full.run(agents.heartbeat("a"))
        full.sweep()


def _task(n, **more):
    return new_task(f"m{n}", **more)


def _pipelined(desk, steps):
    pipe = desk.redis.pipeline(transaction=False)
    for step in steps:
        pipe.eval(desk.ledger._scripts[step.script].text, 0, *step.args)
    pipe.execute()
