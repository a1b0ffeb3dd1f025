"""A snapshot of the ledger, sorted out by noun for the doctor's checks."""

import hashlib
import math

from aitbc.ledger.scripts import FIXED
from aitbc.ledger.snapshot import Snapshot
from aitbc.ledger.step import MICRO
from aitbc.ledger.strategy import DEFAULT
from aitbc.model.agent import AgentStatus, Breaker

OVERDUE = 5 * MICRO
"""What was due this long ago should have been done."""
Record = dict[str, str]


class View:
    """`tasks`, `agents`, `sigs`: records by id; `leases`: live lease → its task's record, empty fields left out."""

    def __init__(self, snapshot: Snapshot, *, swept: bool) -> None:
        """`swept`: see doctor.violations; times are then judged by the last sweep."""
        self.snapshot, self.swept = snapshot, swept
        self.tasks: dict[str, Record] = snapshot.under("task:")
        self.agents: dict[str, Record] = snapshot.under("agent:")
        self.sigs: dict[str, Record] = snapshot.under("sig:")
        self.waiting: dict[str, dict[str, float]] = snapshot.under("tasks:waiting:")
        self.heads: dict[int, dict[str, float]] = {rank: {} for rank in range(5)}
        for head, score in self.scores("heads").items():
            sig, rank = head.rsplit(":", 1)
            self.heads[int(rank)][sig] = score - int(rank) * FIXED["RANK"] + FIXED["ERA"]
        self.leases = {task["lease"]: {k: v for k, v in task.items() if v} for task in self.tasks.values() if task.get("lease")}
        self.ledger: Record = snapshot.at("ledger")
        self.grace = int(self.ledger.get("grace", 0))
        self.now = snapshot.now if swept else min(snapshot.now, int(self.ledger.get("swept", snapshot.now)))

    def scores(self, key: str) -> dict[str, float]:
        """A sorted set: member → score."""
        found: dict[str, float] = self.snapshot.at(key)
        return found

    def members(self, key: str) -> set[str]:
        """A set's or a sorted set's members."""
        return set(self.snapshot.at(key))

    def sets(self, prefix: str) -> dict[str, set[str]]:
        """Sets and sorted sets under a prefix: rest of the name → members."""
        return {name: set(content) for name, content in self.snapshot.under(prefix).items()}

    def late(self, at: float, silence: float = 0) -> bool:
        """Whether what was due then is overdue. `silence`: µs that nobody is blamed for after an absence of the coordinator."""
        return bool(self.now > max(at, self.grace + silence) + OVERDUE)

    # -- agents
    def held(self, agent: str) -> set[str]:
        """Live leases of an agent."""
        return self.members(f"leases:agent:{agent}")

    def terms(self, agent: str) -> set[str]:
        """What it is indexed under, its status apart."""
        return {term for term in self.agents[agent]["_terms"].split("\n") if term}

    def satisfied(self, agent: str) -> set[str]:
        """Signatures whose terms and health floor it meets."""
        terms, tenth = self.terms(agent), int(self.agents[agent]["_tenth"])

        def meets(sig: Record) -> bool:
            return terms.issuperset(filter(None, sig["terms"].split("\n"))) and tenth >= int(sig["floor"])

        return {name for name, sig in self.sigs.items() if meets(sig)}

    def works(self, agent: str) -> bool:
        """Whether it may get work."""
        record = self.agents[agent]
        return record["status"] == AgentStatus.ACTIVE and record.get("breaker") != Breaker.OPEN

    def free(self, agent: str) -> bool:
        """Whether it stands in score sets: it works, can be called and has a slot."""
        record = self.agents[agent]
        slots = 1 if record.get("breaker") == Breaker.HALF_OPEN else int(record["max_concurrency"])
        return self.works(agent) and bool(record.get("_url")) and len(self.held(agent)) < slots

    def tenth(self, agent: str) -> int:
        """Its health now, drifted back towards 1, in rounded tenths."""
        record = self.agents[agent]
        age = max(0.0, self.now - float(record.get("_health_at") or self.now))
        return int(10 * (1 - (1 - float(record.get("health_score") or 1)) * math.exp(-age / FIXED["DRIFT_TIME"])) + 0.5)

    # -- strategies
    @property
    def epochs(self) -> dict[str, str]:
        """Epoch → strategy: the one that decides, and the next one while a switch is under way."""
        epochs = {self.ledger.get("epoch", "0"): self.ledger.get("strategy", DEFAULT)}
        if "next_epoch" in self.ledger:
            epochs[self.ledger["next_epoch"]] = self.ledger["next_strategy"]
        return epochs

    @property
    def epoch(self) -> str:
        """The epoch that decides."""
        return self.ledger.get("epoch", "0")

    def score(self, agent: str, strategy: str) -> float:
        """What strategies/ say in Lua; an unknown strategy has no score."""
        record, active = self.agents[agent], len(self.held(agent))
        slots, took = int(record["max_concurrency"]), float(record.get("_rt") or 1_000_000 * active)
        soon = took / 1000 * (active + 1)
        loads: dict[str, float] = {
            "least_connections": active,
            "round_robin": 0,
            "least_response_time": math.floor(500 * math.log(1 + soon)),
            "resource_based": min(16383, math.floor(4 * float(record.get("_load") or 0) + 4096 * active / slots)),
            "capability_based": min(255, record["_terms"].count("\ncap:")) * 64 + math.floor(63 * active / slots),
            "predictive": math.floor(500 * math.log(1 + soon / slots * 10 / max(1, int(record["_tenth"])))),
        }
        wholes = {
            "weighted_round_robin": float(record.get("_turn", 0)),
            "consistent_hash": float(int(hashlib.sha1(agent.encode(), usedforsecurity=False).hexdigest()[:12], 16)),
        }
        return wholes.get(strategy, loads.get(strategy, math.nan) * 2**39 + float(record.get("_seq", 0)))
