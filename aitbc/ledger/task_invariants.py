"""The invariants of tasks, their leases and the workers that hold them. Each check yields violations, numbered as in docs/invariants.md."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from aitbc.ledger.scripts import FIXED, RECORD_BYTES
from aitbc.ledger.step import MICRO
from aitbc.ledger.view import Record, View
from aitbc.model.task import TERMINAL, TaskState

RUNNABLE = (TaskState.QUEUED, TaskState.WAITING)
FIRST, LAST = 5, 15
"""Attempts of a task that are kept."""


def listings(v: View) -> Iterator[str]:
    """1: every task is in exactly the listing of its state."""
    listed = {state.value: v.members(f"tasks:{state}") for state in TaskState}
    for state, names in listed.items():
        for name in names:
            if v.tasks.get(name, {}).get("state") != state:
                yield f"1 task {name} is listed as {state} but is {v.tasks.get(name, {}).get('state')}"
    for name, task in v.tasks.items():
        if name not in listed[task["state"]]:
            yield f"1 task {name} is {task['state']} but not listed so"
    for name in v.members("tasks:all") ^ set(v.tasks):
        yield f"1 task {name} is in tasks:all or has a record, not both"


def owners(v: View) -> Iterator[str]:
    """1, 4: the lists of an API key hold what belongs to it, and nothing else."""
    for kind, records, field in (("task", v.tasks, "owner"), ("agent", v.agents, "_owner")):
        owned = {(record[field], name) for name, record in records.items() if record.get(field)}
        listed = {(owner, name) for owner, names in v.sets(f"owner:{kind}s:").items() for name in names}
        for owner, name in owned ^ listed:
            yield f"1 {kind} {name} belongs to API key {owner} or is listed so, not both"


def order(v: View) -> Iterator[str]:
    """1: a task stands in the order exactly while it is runnable."""
    where: dict[str, dict[str, float]] = defaultdict(dict)
    for key, members in v.waiting.items():
        for name, stamp in members.items():
            where[name][key] = stamp
    for name, task in v.tasks.items():
        place = {f"{task['sig']}:{task['priority']}": float(task["stamp"])} if task["state"] in RUNNABLE else {}
        if where[name] != place:
            yield f"1 task {name} is {task['state']} and stands in the order as {where[name]}"
    for name in set(where) - set(v.tasks):
        yield f"1 an unknown task {name} stands in the order"


def running(v: View) -> Iterator[str]:
    """1: running is having a lease; only a cancelled call may keep one beyond its task's end."""
    for name, task in v.tasks.items():
        cancelling = task["state"] == TaskState.CANCELLED and task.get("cancelling")
        if (task["state"] == TaskState.RUNNING) != bool(task.get("lease")) and not cancelling:
            yield f"1 task {name} is {task['state']} with lease {task.get('lease')!r}"
        if task["sig"] not in v.sigs and task["state"] not in TERMINAL:
            yield f"5 task {name} lives without its signature"


def attempts(v: View) -> Iterator[str]:
    """2: attempts are numbered without gaps, up to those trimmed from the middle."""
    for name, task in v.tasks.items():
        lines = {field: line for field, line in task.items() if re.fullmatch(r"L\d+", field)}
        numbers = sorted(int(line.split("|")[0]) for line in lines.values())
        every = list(range(1, int(task.get("attempt") or 0) + 1))
        if numbers != (every if len(every) <= FIRST + LAST else every[:FIRST] + every[-LAST:]):
            yield f"2 task {name} shows attempts {numbers} of {len(every)}"
        if sorted(lines) != sorted(f"L{number}" for number in task.get("lines", "").split()):
            yield f"2 task {name} lists the attempts {task.get('lines')!r} and has {sorted(lines)}"


def leases(v: View) -> Iterator[str]:
    """2, 8: each live lease is in every place that it must be in, and not too old."""
    due = v.scores("leases")
    for lease in set(due) ^ set(v.leases):
        yield f"2 lease {lease} is in `leases` or in its task's record, not in both"
    for lease, task in v.leases.items():
        if task["agent"] not in v.agents or lease not in v.held(task["agent"]):
            yield f"2 lease {lease} is not among those of agent {task['agent']}"
        if v.late(due.get(lease, 0)):
            yield f"8 lease {lease} is overdue"
        yield from _begun(v, lease, task) if "token" in task else _granted(v, lease, task)


def _granted(v: View, lease: str, task: Record) -> Iterator[str]:
    if v.late(int(task["granted_at"]) + 120 * MICRO):
        yield f"8 lease {lease} was granted too long ago"
    if any(field in task for field in ("worker", "async", "cancelling")):
        yield f"2 lease {lease} is not begun and has a worker"


def _begun(v: View, lease: str, task: Record) -> Iterator[str]:
    if int(task.get("expires", 0)) > int(task["deadline"]):
        yield f"2 lease {lease} expires after its deadline"
    if ("async" in task) == (lease in v.members(f"leases:worker:{task['worker']}")):
        yield f"2 lease {lease} is neither its worker's nor a 202"
    if v.now > int(task["deadline"]) + 35 * MICRO:
        yield f"8 lease {lease} is older than its deadline + 35 s"
    if "async" not in task and task["worker"] not in v.members("workers:deadlines"):
        yield f"8 lease {lease} was begun by a worker that nobody watches"
    if not re.fullmatch("[0-9a-f]{32}", task["token"]):
        yield f"10 lease {lease} holds a token that is no hash"


def workers(v: View) -> Iterator[str]:
    """2, 8: workers hold what the tasks say, and dead ones hold nothing."""
    for worker, members in v.sets("leases:worker:").items():
        for lease in members:
            if v.leases.get(lease, {}).get("worker") != worker:
                yield f"2 worker {worker} does not hold {lease}"
    for worker, until in v.scores("workers:deadlines").items():
        if v.late(until, FIXED["WORKER_TTL"]):
            yield f"8 dead worker {worker}"
    for worker in {*v.snapshot.at("workers:room"), *v.snapshot.under("workers:told:")} - v.members("workers:deadlines"):
        yield f"8 worker {worker} is gone and its figures are not"
    accepted = {lease for lease, task in v.leases.items() if "async" in task}
    for lease in accepted ^ v.members("leases:async"):
        yield f"2 lease {lease} is a 202 or listed so, not both"


def suspects(v: View) -> Iterator[str]:
    """A worker holds at most one suspect, the one that `workers:suspects` names; it may have been cleared since it began."""
    held = {
        lease: task["worker"]
        for lease, task in v.leases.items()
        if int(task.get("crashes", 0)) >= 2 and "token" in task and "async" not in task
    }
    named: Record = v.snapshot.at("workers:suspects")
    found = v.snapshot.at("ledger").get("poisons", "0")
    sure = {
        lease: worker for lease, worker in held.items() if v.leases[lease].get("poisons", "0") == found
    }  # the others were cleared meanwhile
    by_name = {lease: worker for worker, lease in named.items()}
    if not sure.items() <= by_name.items() <= held.items():
        yield f"2 suspects are {held}, named {named}"


def cancelling(v: View) -> Iterator[str]:
    """2: cancelled calls are told to their agent, and to their worker while it holds them."""
    ending = {lease: task for lease, task in v.leases.items() if "cancelling" in task}
    to_agents = {(task["agent"], lease) for lease, task in ending.items()}
    to_workers = {(task["worker"], lease) for lease, task in ending.items() if "async" not in task}
    for place, known in (("cancelling:agent:", to_agents), ("cancelling:worker:", to_workers)):
        told = {(holder, lease) for holder, members in v.sets(place).items() for lease in members}
        for holder, lease in told ^ known:
            yield f"2 lease {lease} of {holder} is being cancelled or told so, not both"


def timeouts(v: View) -> Iterator[str]:
    """8: only live tasks with a queue_timeout have one to pass."""
    for name in v.members("tasks:timeouts"):
        task = v.tasks.get(name, {})
        if "queue_timeout" not in task or task["state"] in TERMINAL:
            yield f"8 task {name} has a queue timeout to pass and is {task.get('state')}"


def sums(v: View) -> Iterator[str]:
    """9: what was submitted and retried is live or has ended; counters are the sizes of the listings."""
    sizes = {state: len(v.members(f"tasks:{state}")) for state in TaskState}
    count: Counter[str] = Counter({name: int(n) for name, n in v.snapshot.at("stats").items()})
    for state in TERMINAL:
        here = count[state] - count[f"trimmed_{state}"] - count[f"reopened_{state}"]
        if here != sizes[state]:
            yield f"9 {state}: counted {here}, listed {sizes[state]}"
    live = sum(size for state, size in sizes.items() if state not in TERMINAL)
    if count["submitted"] + count["retried"] != live + sum(count[state] for state in TERMINAL):
        yield "9 submitted + retried is not live + ended"
    if wrong := [name for name, task in v.tasks.items() if int(task.get("told", 0)) != len(task.get("progress", "").encode())]:
        yield f"9 told is not the length of progress: {wrong}"
    size = sum(_kept_bytes(task) for task in v.tasks.values() if task["state"] in TERMINAL)
    if count["kept_bytes"] != size:
        yield f"9 kept_bytes: counted {count['kept_bytes']}, kept {size}"
    if live > v.snapshot.settings.max_live_tasks + count["retried"]:
        yield f"10 {live} live tasks are over AITBC_MAX_LIVE_TASKS"


def _kept_bytes(task: Record) -> int:
    return RECORD_BYTES + sum(len(task.get(field, "").encode()) for field in ("task_data", "progress", "result"))


def idempotency(v: View) -> Iterator[str]:
    """10: an entry names an existing task and lives as long as it."""
    entries: Record = v.snapshot.under("idempotency:")
    for key, task in entries.items():
        if v.tasks.get(task, {}).get("idempotency_key") != key:
            yield f"10 idempotency entry {key} is of no task"
    for name, record in v.tasks.items():
        if record.get("idempotency_key") and entries.get(record["idempotency_key"]) != name:
            yield f"10 task {name} lost its idempotency entry"


def lifetimes(v: View) -> Iterator[str]:
    """10: the ledger ends things itself: no key has a Redis TTL but those of rate limits."""
    for key in v.snapshot.ttls:
        if not key.startswith("limit:"):
            yield f"10 {key} has a TTL"


def outbox(v: View) -> Iterator[str]:
    """11: an entry is of a task that is kept, has ended and has a callback_url; such a task is an entry until it was told or given up."""
    due = v.members("callbacks:due")
    open_ends = {name for name, task in v.tasks.items() if "callback" in task and task["state"] in TERMINAL and "callback_end" not in task}
    for name in due ^ open_ends:
        yield f"11 task {name} is in the outbox or has an end to be told of, not both"


def overdue(v: View) -> Iterator[str]:
    """8: nothing is due for long."""
    for key in ("tasks:scheduled", "tasks:timeouts", "agents:cooldown", "agents:drift", "callbacks:due"):
        for member, at in v.scores(key).items():
            if v.late(at):
                yield f"8 {member} is overdue in {key}"


CHECKS = (
    listings,
    owners,
    order,
    running,
    attempts,
    leases,
    workers,
    suspects,
    cancelling,
    timeouts,
    sums,
    idempotency,
    lifetimes,
    outbox,
    overdue,
)
