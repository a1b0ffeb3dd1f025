"""The doctor: every invariant of the ledger, checked from the outside. `aitbc doctor --ledger`, and the tests after every scenario.

Each check is a generator of violations, numbered as in docs/invariants.md.  Nothing is repaired here: that is the sweep's work.
"""

import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from aitbc.ledger.client import Ledger
from aitbc.ledger.redis_state import look
from aitbc.ledger.scripts import FIXED
from aitbc.ledger.snapshot import Snapshot
from aitbc.ledger.step import MICRO
from aitbc.model.task import TERMINAL, TaskState

SECOND_LOOK = 3.0
"""Seconds: the snapshot is not atomic, so a violation counts when a second look still shows it."""
SLACK = 5 * MICRO
STATES = tuple(TaskState)


def examine(ledger: Ledger) -> list[str]:
    """Violations that two looks 3 s apart both show. Raises LedgerAway."""
    first = violations(Snapshot(ledger))
    if not first:
        return []
    time.sleep(SECOND_LOOK)
    second = set(violations(Snapshot(ledger)))
    return [violation for violation in first if violation in second]


def warnings(ledger: Ledger) -> list[str]:
    """What about this Redis breaks a law, or would. Raises LedgerAway."""
    state = look(ledger)
    return state.problems + state.warnings


def violations(snapshot: Snapshot, *, swept: bool = True) -> list[str]:
    """Every violation in one snapshot. `swept`: False while a queued task's job may still be under way beside a free agent."""
    view = _View(snapshot, swept=swept)
    checks = (places, attempts, leases, workers, agents, scores, signatures, work, overdue, sums, hygiene)
    return [violation for check in checks for violation in check(view)]


class _View:
    """A snapshot, sorted out."""

    def __init__(self, snapshot: Snapshot, *, swept: bool) -> None:
        self.s, self.swept = snapshot, swept
        self.tasks: dict[str, dict[str, str]] = snapshot.under("task:")
        self.agents: dict[str, dict[str, str]] = snapshot.under("agent:")
        self.sigs: dict[str, dict[str, str]] = snapshot.under("sig:")
        self.waiting: dict[str, dict[str, float]] = snapshot.under("tasks:waiting:")
        self.heads: dict[int, dict[str, float]] = {p: snapshot.at(f"heads:{p}") for p in range(5)}
        self.leases = {t["lease"]: {k: v for k, v in t.items() if v} for t in self.tasks.values() if t.get("lease")}
        self.due: dict[str, float] = snapshot.at("leases")
        self.ledger: dict[str, str] = snapshot.at("ledger")
        self.stats = {name: float(n) for name, n in snapshot.at("stats").items()}
        self.grace = int(self.ledger.get("grace", 0))
        self.now = snapshot.now if swept else min(snapshot.now, int(self.ledger.get("swept", snapshot.now)))
        self.epoch = self.ledger.get("epoch", "0")

    def held(self, agent: str) -> set[str]:
        return set(self.s.at(f"leases:agent:{agent}"))

    def terms(self, agent: str) -> list[str]:
        return self.agents[agent]["_terms"].split("\n")

    def satisfied(self, agent: str) -> set[str]:
        terms, tenth = self.terms(agent), int(self.agents[agent]["_tenth"])
        return {g for g, sig in self.sigs.items() if all(t in terms for t in sig["terms"].split("\n") if t) and tenth >= int(sig["floor"])}

    def works(self, agent: str) -> bool:
        record = self.agents[agent]
        return record["status"] == "active" and record.get("breaker") != "open"

    def room(self, agent: str) -> int:
        record = self.agents[agent]
        return (1 if record.get("breaker") == "half_open" else int(record["max_concurrency"])) if self.works(agent) else 0


def places(v: _View) -> Iterator[str]:
    """1: every task is in exactly one place by state."""
    where: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for key, members in v.waiting.items():
        for task, stamp in members.items():
            where[task].append((key, stamp))
    for state in STATES:
        for task in v.s.at(f"tasks:{state}"):
            if v.tasks.get(task, {}).get("state") != state:
                yield f"1 task {task} is listed as {state} but is {v.tasks.get(task, {}).get('state')}"
    for name, task in v.tasks.items():
        state = task.get("state", "")
        if name not in v.s.at(f"tasks:{state}") or name not in v.s.at("tasks:all"):
            yield f"1 task {name} is {state} but not listed"
        runnable = state in (TaskState.QUEUED, TaskState.WAITING)
        expected = [(f"{task['sig']}:{task['priority']}", float(task["stamp"]))] if runnable else []
        if where[name] != expected:
            yield f"1 task {name} is {state} and stands in the order as {where[name]}"
        if (state == TaskState.RUNNING) != bool(task.get("lease")) and not (state == TaskState.CANCELLED and task.get("cancelling")):
            yield f"1 task {name} is {state} with lease {task.get('lease')!r}"
        if task["sig"] not in v.sigs and state not in TERMINAL:
            yield f"5 task {name} lives without its signature"
    for name in set(where) - set(v.tasks):
        yield f"1 an unknown task {name} stands in the order"


def attempts(v: _View) -> Iterator[str]:
    """2: attempts are numbered without gaps (up to those trimmed from the middle)."""
    for name, task in v.tasks.items():
        numbers = sorted(int(line.split("|")[0]) for field, line in task.items() if re.fullmatch(r"L\d+", field))
        last = int(task.get("attempt") or 0)
        full = list(range(1, last + 1))
        expected = full if last <= 20 else full[:5] + full[-15:]
        if numbers != expected:
            yield f"2 task {name} shows attempts {numbers} of {last}"


def leases(v: _View) -> Iterator[str]:
    """2, 8: each live lease is in every place that it must be in, and not too old."""
    for lease in set(v.due) ^ set(v.leases):
        yield f"2 lease {lease} is in `leases` or in its task's record, not in both"
    for lease, task in v.leases.items():
        if task["agent"] not in v.agents or lease not in v.held(task["agent"]):
            yield f"2 lease {lease} is not among those of agent {task['agent']}"
        if v.now > max(v.due.get(lease, 0), v.grace) + SLACK:
            yield f"8 lease {lease} is overdue"
        yield from _begun(v, lease, task) if "token" in task else _granted(v, lease, task)


def _begun(v: _View, lease: str, task: dict[str, str]) -> Iterator[str]:
    if int(task["expires"]) > int(task["deadline"]):
        yield f"2 lease {lease} expires after its deadline"
    if ("async" in task) == (lease in v.s.at(f"leases:worker:{task['worker']}")):
        yield f"2 lease {lease} is neither its worker's nor a 202"
    if v.now > int(task["deadline"]) + 35 * MICRO:
        yield f"8 lease {lease} is older than its deadline + 35 s"
    if "async" not in task and task["worker"] not in v.s.at("workers:deadlines"):
        yield f"8 lease {lease} was begun by a worker that nobody watches"


def _granted(v: _View, lease: str, task: dict[str, str]) -> Iterator[str]:
    if v.now > max(int(task["granted_at"]) + 125 * MICRO, v.grace + SLACK):
        yield f"8 lease {lease} was granted too long ago"


def workers(v: _View) -> Iterator[str]:
    """2, 8: workers hold what the tasks say, and dead ones hold nothing."""
    for worker, members in v.s.under("leases:worker:").items():
        for lease in members:
            if v.leases.get(lease, {}).get("worker") != worker:
                yield f"2 worker {worker} does not hold {lease}"
    for worker, until in v.s.at("workers:deadlines").items():
        if v.now > max(until, v.grace + FIXED["WORKER_TTL"]) + SLACK:
            yield f"8 dead worker {worker}"


def agents(v: _View) -> Iterator[str]:
    """3, 4: slots add up; agents:active is who may get work."""
    for agent, record in v.agents.items():
        for lease in v.held(agent):
            if v.leases.get(lease, {}).get("agent") != agent:
                yield f"3 agent {agent} does not hold {lease}"
        if v.works(agent) != (agent in v.s.at("agents:active")):
            yield f"4 agents:active is wrong of {agent} ({record['status']}, {record.get('breaker')})"
        if record["status"] == "active" and int(record["_timeout"]):
            until = v.s.at("agents:deadlines").get(agent, 0)
            if v.now > max(until, v.grace + int(record["_timeout"])) + SLACK:
                yield f"4 agent {agent} is active but silent"
        drifted = 1 - (1 - float(record.get("health_score") or 1)) * math.exp(
            -max(0.0, v.now - float(record.get("_health_at") or v.now)) / FIXED["DRIFT_TIME"]
        )
        if int(drifted * 10 + 0.5) != int(record["_tenth"]) and v.now > max(v.grace, v.s.at("agents:drift").get(agent, 0)) + SLACK:
            yield f"4 agent {agent}'s health has moved"
        if f"status:{record['status']}" not in {f"status:{s}" for s in _statuses(v, agent)}:
            yield f"4 agent {agent} is not indexed under its status"
    for agent in set(v.s.at("agents:active")) - set(v.agents):
        yield f"4 unknown agent {agent} in agents:active"


def over_capacity(snapshot: Snapshot) -> list[str]:
    """3: agents with more live leases than slots; right only when a max_concurrency was lowered."""
    v = _View(snapshot, swept=True)
    return [a for a, record in v.agents.items() if len(v.held(a)) > int(record["max_concurrency"])]


def _statuses(v: _View, agent: str) -> list[str]:
    return [status for status, members in v.s.under("agents:with:status:").items() if agent in members]


def scores(v: _View) -> Iterator[str]:
    """4, 5: who stands in which score set, and with what score."""
    for agent, record in v.agents.items():
        fits, mine = v.satisfied(agent), set(v.s.at(f"agents:sigs:{agent}"))
        free = bool(record.get("_url")) and len(v.held(agent)) < v.room(agent)
        for g, sig in v.sigs.items():
            if g in mine and g not in fits:
                yield f"5 agent {agent} is listed for {g} and does not satisfy it"
            if g in fits and g not in mine and "building" not in sig:
                yield f"5 agent {agent} satisfies {g} and is not listed"
            score = v.s.at(f"agents:score:{v.epoch}:{g}").get(agent)
            if (score is not None) != (free and g in mine):
                yield f"4 agent {agent} stands in the scores of {g}: {score is not None}, free: {free}"
            if score is not None and v.ledger.get("strategy", "least_connections") != "resource_based":
                load = 0 if v.ledger.get("strategy") == "round_robin" else len(v.held(agent))
                if score != load * 2**39 + float(record.get("_seq", 0)):
                    yield f"4 agent {agent} has a wrong score for {g}"
    for key, members in v.s.under(f"agents:score:{v.epoch}:").items():
        if key not in v.sigs or set(members) - set(v.agents):
            yield f"4 score set {key} is of nothing"


def signatures(v: _View) -> Iterator[str]:
    """5: heads are the oldest; signatures count their live tasks."""
    for key, members in v.waiting.items():
        g, rank = key.rsplit(":", 1)
        if v.heads[int(rank)].get(g) != min(members.values()):
            yield f"5 the head of {key} is {v.heads[int(rank)].get(g)}, its oldest {min(members.values())}"
    for rank, heads in v.heads.items():
        for g in heads:
            if f"{g}:{rank}" not in v.waiting:
                yield f"5 head {g} of rank {rank} has no tasks"
    for g in set(v.s.at("sigs")) ^ set(v.sigs):
        yield f"5 signature {g} is half there"
    live = Counter(task["sig"] for task in v.tasks.values() if task["state"] not in TERMINAL)
    for g, sig in v.sigs.items():
        if int(sig["live"]) != live[g]:
            yield f"5 signature {g} counts {sig['live']} live tasks, there are {live[g]}"


def work(v: _View) -> Iterator[str]:
    """6 (L4): no runnable head beside a free agent."""
    for rank, heads in v.heads.items():
        for g in heads:
            looked = v.swept or any(v.tasks[t]["state"] == "waiting" for t in v.waiting.get(f"{g}:{rank}", ()) if t in v.tasks)
            if looked and str(rank) not in v.ledger and v.s.at(f"agents:score:{v.epoch}:{g}"):
                yield f"6 signature {g} of rank {rank} waits beside a free agent"


def overdue(v: _View) -> Iterator[str]:
    """8: nothing is due for long."""
    for key in ("tasks:scheduled", "agents:cooldown", "agents:drift", "tasks:timeouts"):
        for member, at in v.s.at(key).items():
            if v.now > max(at, v.grace) + SLACK:
                yield f"8 {member} is overdue in {key}"


def sums(v: _View) -> Iterator[str]:
    """9: what was submitted and retried is live or has ended; counters are the sizes of the listings."""
    sizes = {state: len(v.s.at(f"tasks:{state}")) for state in STATES}
    count = defaultdict(float, v.stats)
    for state in TERMINAL:
        here = count[state] - count[f"trimmed_{state}"] - count[f"reopened_{state}"]
        if here != sizes[state]:
            yield f"9 {state}: counted {here:g}, listed {sizes[state]}"
    live = sum(size for state, size in sizes.items() if state not in TERMINAL)
    if count["submitted"] + count["retried"] != live + sum(count[state] for state in TERMINAL):
        yield "9 submitted + retried is not live + ended"
    size = sum(len(task.get("result", "").encode()) for task in v.tasks.values())
    if count["result_bytes"] != size:
        yield f"9 result_bytes: counted {count['result_bytes']:g}, kept {size}"


def hygiene(v: _View) -> Iterator[str]:
    """10: idempotency entries live with their task; no TTLs; no secret in clear."""
    entries = v.s.under("idempotency:")
    for key, task in entries.items():
        if v.tasks.get(task, {}).get("idempotency_key") != key:
            yield f"10 idempotency entry {key} is of no task"
    for name, task in v.tasks.items():
        if task.get("idempotency_key") and entries.get(task["idempotency_key"]) != name:
            yield f"10 task {name} lost its idempotency entry"
        if task.get("token") and not re.fullmatch("[0-9a-f]{64}", task["token"]):
            yield f"10 task {name} holds a token that is no hash"
    for key in v.s.ttls:
        if key != "sweep:turn":
            yield f"10 {key} has a TTL"
    for agent, record in v.agents.items():
        if record.get("_secret") and not _sealed(record["_secret"]):
            yield f"10 agent {agent}'s secret is not sealed"


def _sealed(secret: Any) -> bool:
    return str(secret).startswith("v1.")
