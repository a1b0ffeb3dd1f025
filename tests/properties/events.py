"""What may happen in a walk: one function an event, with how often it is chosen."""

from collections.abc import Callable

from aitbc.errors import AitbcError
from aitbc.ledger import agents, callbacks, events, leases, queues, tasks
from aitbc.ledger.callbacks import Told
from aitbc.ledger.strategy import STRATEGIES
from aitbc.model.agent import AgentStatus
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.priority import PRIORITIES
from aitbc.model.requirements import Requirements
from aitbc.model.task import ErrorCode
from tests.integration.ledger.desk import COUNTED, DONE, FINAL, FORBIDDEN, LEFT, NOT_SENT, REFUSED, STOPPED, new_task
from tests.properties.world import AGENTS, Call, World

NEEDS = [
    *[Requirements()] * 3,
    Requirements(capabilities=("x",)),
    Requirements(capabilities=("y",)),
    Requirements(capabilities=("x", "y")),
    Requirements(agent_type="worker"),
    Requirements(min_health_score=0.8),
    Requirements(capabilities=("x",), min_health_score=0.9),
    Requirements(tags=("z",)),
]
BUSY = Outcome(Verdict.UNSTARTED, AgentSays.BAD, code=ErrorCode.AGENT_REFUSED, message="429", http_status=429, pause=20.0)
ANSWERS = {"ok": DONE, "500": COUNTED, "refuse": REFUSED, "failed": FINAL, "429": BUSY, "401": FORBIDDEN, "410": LEFT}


def submit(w: World) -> None:
    chance, name = w.random, f"T{len(w.trace)}"
    task = new_task(
        name,
        priority=chance.choice(PRIORITIES),
        needs=chance.choice(NEEDS),
        max_attempts=chance.choice([1, 2, 3]),
        run_timeout=chance.choice([20, 60, 300]),
        queue_timeout=chance.choice([0, 0, 0, 0, 15]),
        delay=chance.choice([0, 0, 0, 5]),
        idempotency_key=chance.choice(["", "", f"k{name}"]),
        affinity_key=chance.choice(["", "", "one", "two"]),
        callback_url=chance.choice(["", "", f"http://{name}/"]),
    )
    reply = w.do(tasks.submit(task))
    if isinstance(reply, AitbcError):
        return
    w.accepted[name] = task.requirements
    if not reply.publish:
        return
    if chance.random() < 0.9:
        w.publish("route", [name])
    else:
        w.log("the API died before publishing")


def job(w: World) -> None:
    """A worker takes a job, in any order."""
    up = w.up()
    if not w.jobs or not up:
        return
    worker, (kind, name), token = w.random.choice(up), w.jobs.pop(w.random.randrange(len(w.jobs))), w.token()
    reply = w.do(leases.route(name, worker, token) if kind == "route" else leases.begin(name, worker, token))
    w.granted(reply)
    if reply.attempt:
        w.took(worker, token, reply.attempt)


def call(w: World) -> None:
    """A call goes on: its POST leaves, or its answer comes."""
    up = set(w.up())
    mine = [c for c in w.calls if c.worker in up]
    if mine:
        one = w.random.choice(mine)
        (post if one.phase == "begun" else answer)(w, one)


def post(w: World, one: Call) -> None:
    attempt, one.phase = one.attempt, "sent"
    w.posts[attempt.task_id, attempt.attempt] += 1
    w.log("POST", one.lease, "attempt", attempt.attempt, "->", attempt.agent_id)
    if w.posts[attempt.task_id, attempt.attempt] > 1:
        w.violation(f"L2 attempt POSTed twice: {one.lease}")
    busy = [c for c in w.calls if c.phase == "sent" and c.attempt.agent_id == attempt.agent_id and _live(w, c)]
    if len(busy) > w.agents[attempt.agent_id].slots and attempt.agent_id not in w.lowered:
        w.violation(f"L3 agent {attempt.agent_id} works on {len(busy)}")


def _live(w: World, one: Call) -> bool:
    return bool(w.redis.hget(f"task:{one.attempt.task_id}", "lease") == one.lease.encode())


def answer(w: World, one: Call, mood: str = "") -> None:
    mood = mood or w.agents[one.attempt.agent_id].mood
    if mood == "hang":
        return
    w.calls.remove(one)
    if mood == "mixed":
        mood = w.random.choice([*ANSWERS, "202"])
    if mood != "202":
        w.end(one, ANSWERS[mood])
        return
    reply = w.do(leases.renew(one.lease, one.token))
    if not isinstance(reply, AitbcError) and not reply.cancel:
        w.held.append(one)


def callback(w: World) -> None:
    """202 work reports progress, ends, or dies in silence."""
    if not w.held:
        return
    one, luck = w.random.choice(w.held), w.random.random()
    if luck < 0.3:
        w.do(leases.renew(one.attempt.task_id, one.token, '{"percent":50}'))
        return
    w.held.remove(one)
    if luck < 0.9:
        w.end(one, w.random.choice([DONE, DONE, COUNTED, FINAL]), callback=True)
    else:
        w.log("the 202 work of", one.lease, "dies")


def late(w: World) -> None:
    """A worker repeats the finish whose reply it lost."""
    up = w.up()
    mine = [item for item in w.late if item.worker in up]
    if mine:
        item = w.random.choice(mine)
        w.late.remove(item)
        w.log("late repeat")
        w.ended(item.worker, item.spare, w.do(item.step), late=True)


def worker(w: World) -> None:
    """A worker dies, freezes, stops in order; or somebody guesses a token."""
    up = w.up()
    if not up:
        return
    name, what = w.random.choice(up), w.random.choice(["die", "die", "freeze", "stop", "guess"])
    w.log("worker", name, what)
    if what == "guess":
        guess(w)
        return
    if what == "freeze":
        w.workers[name].frozen_until = w.now() + w.random.choice([5, 15])
        return
    if what == "stop":
        for one in [c for c in w.calls if c.worker == name]:
            w.calls.remove(one)
            w.granted(w.do(leases.finish(one.lease, one.token, STOPPED if one.phase == "sent" else NOT_SENT, worker=name)))
    w.workers[name].alive = False
    w.calls = [c for c in w.calls if c.worker != name]
    w.late = [item for item in w.late if item.worker != name]
    if len(w.up()) < 2:
        w.new_worker()


def guess(w: World) -> None:
    if not w.calls:
        return
    reply = w.do(leases.finish(w.random.choice(w.calls).lease, w.token(), DONE, worker="w9"), lossy=False)
    if reply.word != "unknown":
        w.violation(f"L2 a foreign token was taken: {reply}")


def operator(w: World) -> None:
    name = w.random.choice(AGENTS)
    what = w.random.choice(
        ["drain", "resume", "busy", "maintenance", "active", "register", "register", "remove", "mood", "mood", "beats", "strategy"]
    )
    if what in {"busy", "maintenance", "active"}:
        w.granted(w.do(agents.set_status(name, AgentStatus(what), {"cpu": 0.2})))
    elif what in {"drain", "resume", "remove"}:
        w.granted(w.do(getattr(agents, what)(name)))
    elif what == "register":
        w.register(name)
    elif what == "mood":
        w.agents[name].mood = w.random.choice(["ok", "ok", "mixed", "mixed", "500", "refuse", "hang", "202"])
        w.log("mood of", name, w.agents[name].mood)
    elif what == "beats":
        w.agents[name].beats = not w.agents[name].beats
        w.log(name, "beats", w.agents[name].beats)
    else:
        w.do(queues.set_strategy(w.random.choice(list(STRATEGIES))))


def client(w: World) -> None:
    what, known = w.random.choice(["cancel", "cancel", "retry", "retry", "pause", "clear", "drop"]), list(w.accepted)
    name = w.random.choice(known or ["nobody"])
    if what == "pause":
        pause(w, w.random.randrange(5))
    elif what == "clear":
        w.do(queues.clear(w.random.choice(PRIORITIES)), lossy=False)
    elif not known:
        w.do(tasks.cancel(name))
    elif what == "cancel":
        w.granted(w.do(tasks.cancel(name)))
    elif what == "drop":
        w.do(tasks.drop(name))
    else:
        w.granted(w.do(tasks.retry(name, w.token()[:8], w.accepted[name])))


def outbox(w: World) -> None:
    """A worker looks at what is due, and ends some of its tries; others end late, or never: it died with them."""
    for _ in range(3):
        w.telling += w.do(callbacks.due(), lossy=False)
    for one in [one for one in w.telling if w.random.random() < 0.8]:
        w.telling.remove(one)
        if w.random.random() < 0.1:
            w.log("the worker died with", one.message_id)
            continue
        told = w.random.choice([Told.DELIVERED, Told.DELIVERED, Told.FAILED, Told.FAILED, Told.GONE, Told.LATER])
        word = w.do(callbacks.done(one, told, wrong="no", pause=1.0))
        if word == "delivered":
            w.told.add(one.message_id)
    counted = int(w.redis.hget("stats", "callbacks_delivered") or 0)
    if counted != len(w.told):
        w.violation(f"11 {counted} deliveries are counted of {len(w.told)}")


def watch(w: World) -> None:
    """Somebody listens to a task."""
    if w.accepted:
        w.do(events.watch(w.random.choice(list(w.accepted))))


def pause(w: World, rank: int) -> None:
    verb = queues.resume if rank in w.paused else queues.pause
    w.paused ^= {rank}
    w.granted(w.do(verb(PRIORITIES[rank])))


def tick(w: World) -> None:
    seconds = w.random.choice([0.2, 1, 1, 3, 4])
    w.at(seconds)
    w.log("time +", seconds)
    if w.random.random() < 0.9:
        w.beat()
    if w.random.random() < 0.9:
        w.sweep()


def away(w: World) -> None:
    """The coordinator was away, or the clock was moved."""
    seconds = w.random.choice([7, 20, 45, 130, 400, -2, -2, -3600, 3600])
    w.at(seconds)
    w.log("the clock jumps", seconds)
    w.sweep()


def long_time(w: World) -> None:
    w.log("a long time")
    for _ in range(w.random.choice([4, 12, 40])):
        w.at(4)
        w.beat()
        w.sweep()


EVENTS: dict[Callable[[World], None], float] = {
    submit: 5,
    job: 8,
    call: 12,
    late: 1,
    callback: 2,
    outbox: 1,
    watch: 0.5,
    worker: 0.5,
    operator: 1.5,
    client: 1.2,
    tick: 3,
    away: 0.15,
    long_time: 0.15,
}
"""Event → weight."""
