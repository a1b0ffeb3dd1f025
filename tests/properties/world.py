"""The world of a walk: a real ledger, and around it clients, workers, agents and a broker that fail in every way they may.

The world keeps its own small record of what it did (calls, POSTs, jobs on their way); what must hold is checked by the doctor's invariants
after every event, by the checker inside every grant, and by the world itself where only it can know: repeats, POSTs, work in hand.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aitbc.errors import AitbcError
from aitbc.ledger import agents, callbacks, leases, queues, sweep, workers
from aitbc.ledger.callbacks import Callback
from aitbc.ledger.client import Ledger
from aitbc.ledger.doctor import violations
from aitbc.ledger.snapshot import Snapshot
from aitbc.ledger.step import Step, text
from aitbc.ledger.strategy import STRATEGIES
from aitbc.model.agent import AgentType
from aitbc.model.lease import Attempt, Grant, token_hash
from aitbc.model.outcome import Outcome
from aitbc.model.requirements import Requirements
from aitbc.settings import Settings
from tests.integration.ledger.desk import FINAL, MICRO, NOT_SENT, OFFSET, STOPPED, registration
from tests.properties.checker import BAD, checked
from tests.properties.repeats import same_answer, short

AGENTS = ("A", "B", "C")
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "plain": ({}, {}),
    "few grants": ({}, {"GRANTS": 2, "BUILD_PAGE": 1, "MAX_CRASHES": 3, "SIGNATURE_IDLE": 5 * MICRO}),
    "few signatures": ({"max_signatures": 3, "max_dispatches": 6}, {"MAX_CRASHES": 3, "BUILD_PAGE": 1, "SIGNATURE_IDLE": 5 * MICRO}),
    "ageing": ({"ageing": 30.0}, {"BUILD_PAGE": 1}),
    "small": (
        {"keep_dead": 2, "keep_bytes": 8_400, "keep_tasks": 60.0, "max_live_tasks": 12, "max_task_age": 100.0},
        {"GRANTS": 3, "SIGNATURE_IDLE": 5 * MICRO, "BUILD_PAGE": 1},
    ),
}
"""Name → settings and fixed constants under which to walk."""
FEW_GRANTS = ("few grants", "small")
"""Variants in which a script leaves work to the sweep at its limit of grants, and a sweep's script takes few entries."""
LATE = re.compile("overdue|older than|too long ago|silent|dead worker|has moved")
"""Violations that a sweep which was cut off may leave to the next."""


@dataclass
class Worker:
    name: str
    alive: bool = True
    frozen_until: float = float("-inf")


@dataclass
class Profile:
    """An agent as the world plays it."""

    slots: int
    mood: str = "ok"
    beats: bool = True


@dataclass(eq=False)
class Call:
    worker: str
    token: str
    attempt: Attempt
    phase: str = "begun"

    @property
    def lease(self) -> str:
        return self.attempt.lease_id


@dataclass(eq=False)
class Late:
    """A finish whose reply was lost: its worker repeats it later."""

    worker: str
    step: Step[leases.Ended]
    spare: str


@dataclass
class World:
    url: str
    seed: int
    trace: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    jobs: list[tuple[str, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    held: list[Call] = field(default_factory=list)  # 202 work
    late: list[Late] = field(default_factory=list)
    telling: list[Callback] = field(default_factory=list)  # taken from the outbox
    told: set[str] = field(default_factory=set)  # ends that were written down as told
    posts: Counter[tuple[str, int]] = field(default_factory=Counter)
    accepted: dict[str, Requirements] = field(default_factory=dict)
    agents: dict[str, Profile] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    lowered: set[str] = field(default_factory=set)
    paused: set[int] = field(default_factory=set)
    offset: float = 0.0
    set_back: float = 0.0  # by how much in all the clock was set back
    ends: Counter[str] = field(default_factory=Counter)
    swept: bool = True
    cut_off: bool = False
    faulty: bool = True  # until faults stop

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.variant = self.random.choice(list(VARIANTS))
        settings, constants = VARIANTS[self.variant]
        self.settings = Settings(redis_url=self.url, **settings)
        self.ledger = Ledger(self.settings, offset=OFFSET)
        self.ledger._scripts = checked(self.settings, constants)
        self.redis = self.ledger.redis
        self.redis.flushdb()
        self.at(0)
        for _ in range(2):
            self.new_worker()
        for name in AGENTS:
            self.register(name)
        self.run(queues.set_strategy(self.random.choice(list(STRATEGIES))))
        self.sweep()

    # -- the trace
    def log(self, *words: Any) -> None:
        self.trace.append(" ".join(map(str, words))[:400])

    def violation(self, what: str) -> None:
        self.log("!!", what)
        self.bad.append(what)

    # -- time
    def at(self, seconds: float) -> None:
        self.offset += seconds
        self.set_back -= min(seconds, 0)
        self.redis.set("test:offset", round(self.offset * MICRO))

    def now(self) -> float:
        return self.offset

    # -- the ledger, whose replies may be lost: then the same step is run again
    def run(self, step: Step[Any]) -> Any:
        """The step's reply, or the error that it means."""
        try:
            return self.ledger.run(step)
        except AitbcError as refusal:
            return refusal

    def do(self, step: Step[Any], *, lossy: bool = True) -> Any:
        self.log(step.script, *[arg for arg in step.args[:9] if arg != ""])
        reply = self.run(step)
        self.log("   ->", short(reply))
        if lossy and self.random.random() < 0.1:
            repeated = self.run(step)
            if not same_answer(step.script, reply, repeated):
                self.violation(f"L7 {step.script} answers {short(reply)}, then {short(repeated)}")
        return reply

    def token(self) -> str:
        return token_hash(str(self.random.getrandbits(64)))

    # -- the broker
    def publish(self, kind: str, ids: list[Any]) -> None:
        """Jobs: some are lost, some come twice; they are taken in any order."""
        for item in ids:
            name, luck = item.lease_id if isinstance(item, Grant) else item, self.random.random()
            if luck < 0.05:
                self.log("job lost:", kind, name)
                continue
            self.jobs += [(kind, name)] * (2 if luck > 0.93 else 1)

    def granted(self, reply: Any) -> None:
        """Publish what a reply's grants ask for."""
        grants = reply if isinstance(reply, list) else getattr(reply, "grants", [])
        self.publish("dispatch", grants)

    # -- workers
    def new_worker(self) -> None:
        name = f"w{len(self.workers)}"
        self.workers[name] = Worker(name)
        self.run(workers.alive(name, first=True))

    def up(self) -> list[str]:
        return [w.name for w in self.workers.values() if w.alive and w.frozen_until <= self.now()]

    def took(self, worker: str, token: str, attempt: Attempt, *, late: bool = False) -> None:
        """A worker has a begun lease in hand."""
        status, breaker = self.redis.hmget(f"agent:{attempt.agent_id}", "status", "breaker")
        if not late and (status != b"active" or breaker == b"open"):
            self.violation(f"begun at an agent that is {status!r} {breaker!r}: {attempt.lease_id}")
        self.calls.append(Call(worker, token, attempt))

    def end(self, call: Call, outcome: Outcome, *, callback: bool = False) -> None:
        """Finish a call; now and then its reply is lost, and the repeat comes later or never."""
        spare = "" if callback or self.random.random() < 0.3 else self.token()
        worker = "" if callback else call.worker
        step = leases.finish(call.lease, call.token, outcome, worker=worker, spare_hash=spare)
        if self.random.random() < 0.1:
            self.log("(reply lost)")
            self.do(step, lossy=False)
            if self.random.random() < 0.7:
                self.late.append(Late(call.worker, step, spare))
            return
        self.ended(call.worker, spare, self.do(step))

    def ended(self, worker: str, spare: str, reply: leases.Ended, *, late: bool = False) -> None:
        self.granted(reply)
        if reply.next and not any(call.lease == reply.next.lease_id for call in self.calls + self.held):
            self.took(worker, spare, reply.next, late=late)

    def beat(self) -> None:
        """Signs of life of whoever is up, and what they hear in return."""
        for worker in self.up():
            self._worker_beats(worker)
        for name, agent in self.agents.items():
            if agent.beats:
                self._agent_beats(name)

    def _worker_beats(self, worker: str) -> None:
        view = self.run(workers.alive(worker))
        if not view.known:
            self.log(worker, "hears that it was declared dead")
            self.calls = [call for call in self.calls if call.worker != worker]
            self.late = [item for item in self.late if item.worker != worker]
            self.workers[worker].alive = False
            self.new_worker()
            return
        mine = {call.lease for call in self.calls + self.held if call.worker == worker}
        if not any(item.worker == worker for item in self.late):
            for lease in sorted(set(view.begun) - mine):
                self.granted(self.do(leases.disown(lease, worker)))
        for call in [c for c in self.calls if c.worker == worker and c.lease in view.cancelled]:
            self.calls.remove(call)
            self.end(call, NOT_SENT if call.phase == "begun" else STOPPED)

    def _agent_beats(self, name: str) -> None:
        mine = [call.lease for call in self.held if call.attempt.agent_id == name]
        reply = self.run(agents.heartbeat(name, {"cpu": 0.5} if self.random.random() < 0.3 else None, mine))
        if isinstance(reply, AitbcError):
            return
        self.granted(reply)
        for call in [c for c in self.held if c.lease in reply.cancel]:
            self.held.remove(call)
            self.end(call, FINAL, callback=True)

    # -- agents
    def register(self, name: str, *, whole: bool = False) -> None:
        """Register with a profile of chance; `whole`: one that satisfies everything."""
        chance, old = self.random, self.agents.get(name)
        slots = max(2, old.slots if old else 1) if whole else chance.randint(1, 3)
        if old and slots < old.slots:
            self.lowered.add(name)
        self.agents[name] = Profile(slots, "ok" if whole or not old else old.mood)
        step = agents.register(
            registration(
                name,
                slots,
                agent_type=AgentType.WORKER if whole or chance.random() < 0.7 else AgentType.MONITOR,
                capabilities=tuple("xy" if whole else chance.choice(["", "x", "y", "xy"])),
                tags=("z",) if whole or chance.random() < 0.3 else (),
                endpoints={"http": f"http://{name}"} if whole or chance.random() < 0.9 else {},
                heartbeat_timeout=0 if chance.random() < 0.2 else 30,
                instance_id=chance.choice(["", "1", "2"]),
                weight=chance.choice([1.0, 1.0, 0.3, 4.0]),
            )
        )
        self.granted(self.do(step, lossy=False))

    # -- the sweep and the checks
    def sweep(self) -> None:
        """A turn; now and then its time is over before everything is done."""
        self.swept, self.cut_off = True, self.faulty and self.random.random() < 0.2
        while found := self.run(callbacks.due()):
            self.telling += found
        for step in sweep.steps(3 if self.variant in FEW_GRANTS else 50):
            for _ in range(1 if self.cut_off else 60):
                reply = self.run(step)
                self.granted(reply)
                if reply.grants:
                    self.log("   sweep", step.script, reply.grants)
                if not reply.more:
                    break
            else:
                self.swept = False
                if not self.cut_off:
                    self.violation(f"{step.script} always wants more")

    def check(self) -> None:
        snapshot = Snapshot(self.ledger, round(self.offset * MICRO))
        for found in violations(snapshot, swept=self.swept):
            left_to_do = found.startswith("6 ") and self.variant in FEW_GRANTS and not self.swept
            if not left_to_do and not (self.cut_off and LATE.search(found)):
                self.violation(found)
        for raw in self.redis.lrange(BAD, 0, -1):
            self.violation(text(raw))
        self.redis.delete(BAD)

    def state(self, task: str) -> str:
        """A task's state; `trimmed` when the ledger has forgotten it."""
        value = self.redis.hget(f"task:{task}", "state")
        return text(value) or "trimmed"
