"""Switch strategies round and round under load: `python -m tests.conformance.switching [ROUNDS [CHOICES]]`.

Threads submit, route and finish on a real ledger; another switches in steps of a few agents, sweeps, and sends heartbeats with loads.
Every choice is judged inside its script (judge.py). A miss is a task that found no agent while slots were free all the time.
"""

import random
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue

from aitbc.ledger import agents, leases, queues, tasks
from aitbc.ledger.step import text
from aitbc.ledger.strategy import STRATEGIES
from aitbc.model.lease import Grant
from aitbc.model.requirements import Requirements
from tests.conformance.judge import CHOSEN, WRONG, judged
from tests.integration.ledger.desk import COUNTED, DONE, Desk, RedisServer, new_task

FLEET, THREADS, HELD, STEP = 140, 3, 20, 20
"""Agents (more than a set that Redis would read at once), loading threads, calls each holds, agents a step of a switch."""
NEEDS = (Requirements(), Requirements(capabilities=("x",)), Requirements(tags=("few",)))


@dataclass
class Report:
    """`chosen`: strategy → choices; `wrong` and `violations`: must be empty, as `misses` must be 0; `stepwise`: switches seen under way."""

    chosen: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    tasks: int = 0
    misses: int = 0
    switches: int = 0
    stepwise: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.wrong or self.violations or self.misses or self.errors)


class Load:
    """Threads on one ledger until every strategy has had its turn `rounds` times, each for so many choices."""

    def __init__(self, url: str, rounds: int, choices: int, turns: Sequence[str] = tuple(STRATEGIES)) -> None:
        self.url, self.turns, self.choices = url, [*turns] * rounds, choices
        self.report, self.names, self.lock, self.over = Report(), count(), threading.Lock(), threading.Event()
        self.given: SimpleQueue[str] = SimpleQueue()
        desk = self.desk()
        desk.redis.flushall()
        desk.at(0)
        for n in range(FLEET):
            few = ("few",) if n % 16 == 0 else ()
            skills = ("x", "y", "z")[: 1 + n % 3]
            desk.agent(f"a{n}", 10 + n % 30, weight=1.0 + n % 4, capabilities=skills, tags=few, heartbeat_timeout=0)
        desk.close()

    def desk(self) -> Desk:
        desk = Desk(self.url)
        desk.ledger._scripts = judged(desk.settings, {"BUILD_PAGE": STEP})
        return desk

    def run(self) -> Report:
        threads = [threading.Thread(target=self.guarded, args=(work,)) for work in [self.switch, *[self.work] * THREADS]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        desk = self.desk()
        desk.sweep()
        self.report.violations = desk.violations(swept=False)
        self.report.chosen = self.chosen(desk)
        self.report.wrong = [text(line) for line in desk.redis.lrange(WRONG, 0, 9)]
        desk.close()
        return self.report

    def guarded(self, work: Callable[[Desk], None]) -> None:
        desk = self.desk()
        try:
            work(desk)
        except Exception as exc:  # a broken script is a finding like another
            self.report.errors.append(f"{type(exc).__name__}: {exc}"[:300])
            self.over.set()
        finally:
            desk.close()

    def switch(self, desk: Desk) -> None:
        """The next strategy once the one before has decided often enough; loads are reported meanwhile."""
        chance = random.Random(1)
        for name in self.turns:
            enough = self.chosen(desk).get(name, 0) + self.choices
            decides = desk.run(queues.set_strategy(name))
            self.report.switches += 1
            self.report.stepwise += decides != name
            while self.chosen(desk).get(name, 0) < enough and not self.over.is_set():
                self.give(
                    desk.run(agents.heartbeat(f"a{chance.randrange(FLEET)}", {"cpu": chance.random(), "memory": chance.random()})).grants
                )
                self.give(desk.sweep())
                if desk.redis.exists(WRONG):
                    self.over.set()
        self.over.set()

    @staticmethod
    def chosen(desk: Desk) -> dict[str, int]:
        return {text(name): int(n) for name, n in desk.redis.hgetall(CHOSEN).items()}

    def work(self, desk: Desk) -> None:
        """Hold some calls; each new one ends an old one, a few of them badly."""
        with self.lock:
            chance = random.Random(next(self.names))
        held: list[tuple[str, str]] = []
        while not self.over.is_set():
            with self.lock:
                name = f"t{next(self.names)}"
            desk.run(tasks.submit(new_task(name, needs=chance.choice(NEEDS), affinity_key=chance.choice(["", f"k{chance.randrange(50)}"]))))
            token = desk.token()
            begun = desk.run(leases.route(name, "w1", token))
            with self.lock:
                self.report.tasks += 1
                self.report.misses += begun.why == "waiting"
            self.take(desk, begun, token, held)
            while len(held) > HELD:
                lease, proof = held.pop(chance.randrange(len(held)))
                self.give(desk.run(leases.finish(lease, proof, DONE if chance.random() < 0.97 else COUNTED, worker="w1")).grants)

    def give(self, grants: list[Grant]) -> None:
        """Leases that any step granted: a thread begins them, or their slots would be held for nothing until none is left."""
        for grant in grants:
            self.given.put(grant.lease_id)

    def take(self, desk: Desk, begun: leases.Begun, token: str, held: list[tuple[str, str]]) -> None:
        """Keep what was begun, and begin what others granted."""
        while True:
            self.give(begun.grants)
            if begun.attempt:
                held.append((begun.attempt.lease_id, token))
            try:
                lease = self.given.get_nowait()
            except Empty:
                return
            token = desk.token()
            begun = desk.run(leases.begin(lease, "w1", token))


def main(rounds: int = 3, choices: int = 200) -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            report = Load(server.url, rounds, choices).run()
        finally:
            server.close()
    print(
        f"{report.tasks} tasks, {report.switches} switches ({report.stepwise} in steps), misses {report.misses}\n\n| strategy | choices |"
    )
    print("|-|-|", *(f"| {name} | {report.chosen.get(name, 0):,} |" for name in STRATEGIES), sep="\n")
    print(*report.wrong, *report.violations, *report.errors, sep="\n")
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
