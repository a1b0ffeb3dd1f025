"""Workers that live, leave and die; tasks that kill them; agents that restart."""

from aitbc.ledger import agents, leases, tasks, workers
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import DONE


def test_leaving_in_order(sound):
    sound.agent("a")
    assert sound.run(workers.alive("w1", first=True)).known
    call = sound.started("t")
    assert sound.run(workers.leave("w1")) == 1
    assert sound.run(workers.count()) == 0  # it takes no more jobs
    call.ends()
    assert sound.run(workers.leave("w1")) == 0
    assert sound.run(workers.count()) == 0
    assert not sound.run(workers.alive("w1")).known


def test_only_workers_that_take_jobs_count(sound):
    sound.run(workers.alive("w1", first=True, polls=False))
    assert sound.run(workers.count()) == 0
    sound.run(workers.alive("w1"))
    assert sound.run(workers.count()) == 1
    sound.run(workers.alive("w1", polls=False))  # its broker is away
    assert sound.run(workers.count()) == 0
    sound.run(workers.alive("w1"))
    sound.pass_time(11)
    assert sound.run(workers.count()) == 0


def test_full_workers_are_told_of_and_the_agent_that_takes_most_of_them(sound):
    sound.agent("a", 4)
    sound.agent("b", 1)
    assert sound.run(workers.full(10)) == ""  # no worker has said anything
    sound.run(workers.alive("w1", first=True, room=2))
    for name in ("t1", "t2", "t3"):
        sound.task(name)
    sound.route("t1")
    sound.route("t2")
    sound.sweep_for_lost_jobs()  # grants t3
    assert sound.run(workers.full(10)) == ""  # as far as is known there is room
    sound.run(workers.alive("w1", room=0))
    assert sound.run(workers.full(10)) == (
        "workers_full: tasks that have their agent wait (1), for the 2 places of all workers are taken; agent a alone has 4 slots: "
        "start another worker, or raise AITBC_WORKER_CONCURRENCY"
    )
    sound.begin(sound.field("t3", "lease"))
    assert sound.run(workers.full(10)) == ""


def crash(desk, task, worker, *neighbours):
    """This worker begins the task beside its neighbours and dies."""
    for name in (task, *neighbours):
        assert desk.begin(desk.field(name, "lease"), worker).attempt, name
    desk.pass_time(14)


def test_poison_is_found_and_no_neighbour_goes_with_it(sound):
    sound.agent("a", 9, heartbeat_timeout=0)
    for name in ("poison", "n1", "n2"):
        sound.task(name)
    sound.sweep_for_lost_jobs()
    for n, neighbours in enumerate([["n1"], ["n2"], ["n1", "n2"], ["n1", "n2"], ["n1"]]):
        crash(sound, "poison", f"w{n}", *neighbours)
        assert int(sound.field("poison", "crashes")) == n + 1
    assert (sound.state("poison"), sound.read("poison").error["code"]) == ("failed", "poison")
    assert [sound.field(name, "crashes") for name in ("n1", "n2")] == ["1", "1"]
    assert (sound.state("n1"), sound.state("n2")) == ("running", "running")


def test_whoever_died_beside_poison_is_cleared_when_it_is_found(sound):
    """Found by a fault row: 199 neighbours of one poison task ran one at a time for ever after, suspects of what it had done."""
    sound.agent("a", 9, heartbeat_timeout=0)
    for name in ("poison", "n1", "n2"):
        sound.task(name)
    sound.sweep_for_lost_jobs()
    for n in range(2):
        crash(sound, "poison", f"w{n}", "n1", "n2")
    token, lease = sound.token(), sound.field("n1", "lease")
    assert sound.begin(lease, "w8", token).attempt  # as a suspect
    for n in range(2, 5):
        sound.begin(sound.field("poison", "lease"), f"w{n}")
        sound.pass_time(14, "w8")
    assert sound.read("poison").error["code"] == "poison"
    assert sound.begin(sound.field("n2", "lease"), "w9").attempt
    sound.task("n3")
    sound.redis.hset("task:n3", mapping={"crashes": 2, "poisons": 1})  # died twice since
    assert sound.route("n3", "w9").attempt
    sound.run(leases.finish(lease, token, DONE, worker="w8"))
    assert sound.redis.hgetall("workers:suspects") == {b"w9": sound.field("n3", "lease").encode()}
    sound.pass_time(14)  # w9 dies: n3's third crash; n2, cleared, is not to blame
    assert [sound.field(name, "crashes") for name in ("n2", "n3")] == ["0", "3"]


def test_a_worker_holds_one_suspect(sound):
    sound.agent("a", 9, heartbeat_timeout=0)
    for name in ("s1", "s2"):
        sound.task(name)
    sound.sweep_for_lost_jobs()
    for n in range(2):
        crash(sound, "s1", f"w{n}", "s2")
    token = sound.token()
    lease = sound.field("s1", "lease")
    first = sound.begin(lease, "w9", token).attempt
    refused = sound.begin(sound.field("s2", "lease"), "w9")
    assert (first.attempt, refused.why, sound.state("s2")) == (3, "suspect", "scheduled")
    sound.pass_time(2, "w9")
    assert sound.begin(sound.field("s2", "lease"), "w8").attempt
    sound.run(leases.finish(lease, token, DONE, worker="w9"))
    assert sound.redis.hgetall("workers:suspects") == {b"w8": sound.field("s2", "lease").encode()}


def test_a_route_job_hands_a_suspect_back(sound):
    sound.agent("a", 9, heartbeat_timeout=0)
    for name in ("s1", "s2"):
        sound.task(name)
    sound.sweep_for_lost_jobs()
    for n in range(2):
        crash(sound, "s1", f"w{n}", "s2")
    sound.begin(sound.field("s1", "lease"), "w9")
    sound.run(tasks.cancel("s2"))
    sound.run(agents.drain("a"))
    sound.pass_time(2, "w9")
    sound.run(tasks.retry("s2", "r", Requirements()))
    sound.redis.hset("task:s2", "crashes", 2)
    sound.redis.hset("agent:a", "max_concurrency", 9)
    sound.agent("b", 1, heartbeat_timeout=0)
    lease = sound.field("s2", "lease")
    assert sound.begin(lease, "w9").why == "suspect"
    sound.task("s3")
    sound.redis.hset("task:s3", "crashes", 2)
    assert sound.route("s3", "w9").why == "suspect"
    assert sound.state("s3") == "scheduled"


def test_a_suspect_that_became_a_202_does_not_free_the_next_one(sound):
    """Found by reading: its end cleared the mark of whichever suspect its worker then held."""
    sound.agent("a", 9, heartbeat_timeout=0)
    for name in ("s1", "s2"):
        sound.task(name)
    sound.sweep_for_lost_jobs()
    for n in range(2):
        crash(sound, "s1", f"w{n}", "s2")
    token = sound.token()
    lease = sound.field("s1", "lease")
    sound.begin(lease, "w9", token)
    sound.run(leases.renew(lease, token))
    assert sound.begin(sound.field("s2", "lease"), "w9").attempt
    sound.run(leases.call_back("s1", token, DONE))
    assert sound.redis.hgetall("workers:suspects") == {b"w9": sound.field("s2", "lease").encode()}


def test_many_leases_of_a_dead_worker_end_in_chunks(sound):
    sound.agent("a", 30, heartbeat_timeout=0)
    for n in range(25):
        sound.started(f"t{n}", max_attempts=1)
    sound.sweep_for_lost_jobs()
    sound.at(3)
    sound.run(workers.alive("w1"))
    for _ in range(6):
        sound.at(2)
        sound.sweep(most=4)
    assert sound.redis.zcard("tasks:failed") == 25
    assert not sound.redis.exists("leases:worker:w1")


def test_restarted_agents_are_seen_in_chunks(sound):
    sound.agent("a", 9, heartbeat_timeout=0, instance_id="1")
    for n in range(9):
        sound.started(f"t{n}").renews()
    sound.agent("a", 9, heartbeat_timeout=0, instance_id="2")
    sound.sweep(most=2)
    assert {sound.read(f"t{n}").attempts[0].error for n in range(9)} == {"agent_restarted"}
