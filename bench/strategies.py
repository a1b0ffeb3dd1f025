"""Every strategy on mixed fleets: `python -m bench.strategies [--write] [TASKS]`; `--write` keeps docs/bench/strategies*.

The ledger is the real one: each submit, route, finish, heartbeat and sweep runs its Lua in a Redis, under a clock that the simulation sets.
Simulated are the machines (bench/fleets.py): tasks arrive at random, a machine works on a few at full speed and slows down beyond, so
where a task goes decides how long it takes.  There is no network and no worker.  Beside the strategies, the same ledger with the choice
replaced: an agent at random, and the less loaded of two at random.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from aitbc.ledger import agents, leases, queues, scripts, sweep, tasks
from aitbc.ledger.client import Ledger
from aitbc.ledger.step import Step
from aitbc.ledger.strategy import STRATEGIES
from aitbc.model.agent import AgentType, Registration
from aitbc.model.lease import Attempt, Grant, token_hash
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.priority import Priority
from aitbc.model.task import ErrorCode, NewTask
from aitbc.settings import Settings
from bench.fleets import FLEETS, Fleet, Machine
from bench.strategies_page import Run, write
from tests.integration.ledger.desk import RedisServer, of_texts

TASKS = 3000
WARM_UP = 0.2
"""Share of the tasks that are not measured: machines are empty, response times unknown."""
TOKEN = token_hash("bench")
DONE = Outcome(Verdict.COMPLETED, result="1")
BROKEN = Outcome(Verdict.COUNTED, AgentSays.BAD, code=ErrorCode.AGENT_FAILED, message="500", http_status=500)
CLOCK = "tonumber(redis.call('GET', 'bench:now')) - clock[1] * 1000000 - clock[2]"
FAILED_AFTER = 0.002
FIRST = "call('ZRANGE', score_key(sig), 0, 0)[1]"
OTHERS = {
    "random": "call('ZRANDMEMBER', score_key(sig)) or nil",
    "power of two": """(function()
      local one, two = call('ZRANDMEMBER', score_key(sig)), call('ZRANDMEMBER', score_key(sig))
      if not one then return end
      return call('SCARD', OF_AGENT .. one) <= call('SCARD', OF_AGENT .. two) and one or two
    end)()""".replace("OF_AGENT", "'leases:agent:'"),
}
"""What stands in `pick` instead of the lowest score."""


@dataclass
class Job:
    """A call in a machine: `left` seconds of work at full speed."""

    attempt: Attempt
    left: float


class Simulation:
    """One strategy on one fleet. Times in seconds from the start."""

    def __init__(self, server: RedisServer, fleet: Fleet, strategy: str, count: int) -> None:
        self.fleet, self.count, self.run = fleet, count, Run()
        self.ledger = _ledger(server, strategy)
        self.ledger.redis.flushall()
        self.machines = {machine.name: machine for machine in fleet.machines()}
        self.jobs: dict[str, list[Job]] = {name: [] for name in self.machines}
        self.touched = dict.fromkeys(self.machines, 0.0)
        self.version = dict.fromkeys(self.machines, 0)
        self.events: list[tuple[float, int, str, Any]] = []
        self.began: dict[str, float] = {}
        self.keys: dict[str, str] = {}
        self.works: dict[str, float] = {}
        self.now, self.clock, self.number, self.left = 0.0, -1.0, 0, count
        self.chance, self.luck = random.Random(7), random.Random(8)  # the same tasks for every strategy
        for script in self.ledger._scripts.values():
            self.ledger.redis.script_load(script.text)
        for machine in self.machines.values():
            self._do(agents.register(_registration(machine)))
        self._do(queues.set_strategy(strategy if strategy in STRATEGIES else "least_connections"))

    def go(self) -> Run:
        """All tasks, until the last has ended."""
        rate = self.fleet.load * sum(machine.power for machine in self.machines.values()) / _mean(self.fleet)
        at = 0.0
        for n in range(self.count):
            at += self.chance.expovariate(rate)
            self._at(at, "submit", n)
        self._at(0.0, "beat", None)
        while self.left:
            self.now, _, kind, what = heappop(self.events)
            getattr(self, f"_{kind}")(what)
        self.ledger.close()
        return self.run

    # -- events
    def _submit(self, n: int) -> None:
        name, chance = f"t{n}", self.chance
        self.works[name] = self.fleet.work(chance)
        self.keys[name] = f"k{int(chance.random() ** 2 * self.fleet.keys)}" if self.fleet.keys else ""
        self.began[name] = self.now
        needs = self.fleet.needs(chance)
        self._do(tasks.submit(NewTask(name, f'{{"n":{n}}}', Priority.NORMAL, needs, name, affinity_key=self.keys[name])))
        self._route(name)

    def _route(self, name: str) -> None:
        begun = self._do(leases.route(name, "w", TOKEN))
        self._started(begun.attempt)
        self._granted(begun.grants)

    def _end(self, what: tuple[str, int]) -> None:
        """The first job of a machine is done, unless the machine has changed since this was foreseen."""
        name, version = what
        if version != self.version[name]:
            return
        self._advance(name)
        job = min(self.jobs[name], key=lambda job: job.left)
        self.jobs[name].remove(job)
        self._finish(job.attempt, DONE)
        self._foresee(name)

    def _break(self, attempt: Attempt) -> None:
        self._finish(attempt, BROKEN)

    def _beat(self, _: None) -> None:
        """Once a second: a sweep, and every machine's heartbeat with its load."""
        for name, machine in self.machines.items():
            busy = min(1.0, (machine.others + len(self.jobs[name])) / machine.cores)
            self._granted(self._do(agents.heartbeat(name, {"cpu": busy})).grants)
        for step in sweep.steps():
            self._granted(self._do(step).grants)
        if self.left:
            self._at(self.now + 1, "beat", None)

    # -- machines
    def _started(self, attempt: Attempt | None) -> None:
        if attempt is None:
            return
        machine = self.machines[attempt.agent_id]
        self.run.calls[machine.name] = self.run.calls.get(machine.name, 0) + 1
        if self.luck.random() < machine.failing:
            self._at(self.now + FAILED_AFTER, "break", attempt)
            return
        self._advance(machine.name)
        work, warm = machine.needs(self.works[attempt.task_id], self.keys[attempt.task_id])
        self.run.warm += warm
        self.jobs[machine.name].append(Job(attempt, work))
        self._foresee(machine.name)

    def _pace(self, name: str) -> float:
        """Seconds of work that each of its jobs gets done in a second."""
        machine, busy = self.machines[name], len(self.jobs[name])
        return machine.speed * min(1.0, (machine.cores - machine.others) / max(1, busy))

    def _advance(self, name: str) -> None:
        done = (self.now - self.touched[name]) * self._pace(name)
        for job in self.jobs[name]:
            job.left -= done
        self.touched[name] = self.now

    def _foresee(self, name: str) -> None:
        self.version[name] += 1
        if self.jobs[name]:
            first = max(0.0, min(job.left for job in self.jobs[name]))
            self._at(self.now + first / self._pace(name), "end", (name, self.version[name]))

    # -- the ledger
    def _finish(self, attempt: Attempt, outcome: Outcome) -> None:
        ended = self._do(leases.finish(attempt.lease_id, TOKEN, outcome, worker="w", spare_hash=TOKEN))
        if ended.word in {"completed", "failed"}:
            self.left -= 1
            self.run.failed += ended.word == "failed"
            began = self.began.pop(attempt.task_id)
            if int(attempt.task_id[1:]) >= WARM_UP * self.count:
                self.run.seconds.append(self.now - began)
        self._started(ended.next)
        self._granted(ended.grants)

    def _granted(self, grants: list[Grant]) -> None:
        for grant in grants:
            self._started(self._do(leases.begin(grant.lease_id, "w", TOKEN)).attempt)

    def _at(self, when: float, kind: str, what: Any) -> None:
        self.number += 1
        heappush(self.events, (when, self.number, kind, what))

    def _do(self, step: Step[Any]) -> Any:
        if self.clock != self.now:
            self.clock = self.now
            self.ledger.redis.set("bench:now", 1_800_000_000_000_000 + round(self.now * 1e6))
        return self.ledger.run(step)


def _registration(machine: Machine) -> Registration:
    url = {"http": f"http://{machine.name}"}
    return Registration(machine.name, AgentType.WORKER, endpoints=url, max_concurrency=machine.slots, heartbeat_timeout=0, **machine.fields)


def _ledger(server: RedisServer, strategy: str) -> Ledger:
    ledger = Ledger(Settings(redis_url=server.url))
    ledger._scripts = _scripts(OTHERS.get(strategy, FIRST))
    return ledger


@cache
def _scripts(choice: str) -> dict[str, scripts.Script]:
    """Every step under the simulation's clock, `pick` with this choice in it."""
    texts = {name: script.text for name, script in scripts.load(Settings(), CLOCK).items()}
    assert FIRST in texts["route"]
    return of_texts({name: text.replace(FIRST, choice) for name, text in texts.items()})


def _mean(fleet: Fleet) -> float:
    """Of the fleet's tasks; keys are taken as half warm."""
    chance = random.Random(9)
    mean = sum(fleet.work(chance) for _ in range(20_000)) / 20_000
    return mean * (0.625 if fleet.keys else 1)


def measured(count: int) -> dict[str, Mapping[str, Run]]:
    """Fleet → strategy → what it did."""
    found: dict[str, Mapping[str, Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            for fleet in FLEETS:
                found[fleet.name] = {name: Simulation(server, fleet, name, count).go() for name in [*STRATEGIES, *OTHERS]}
                print(fleet.name, {name: len(run.seconds) for name, run in found[fleet.name].items()}, file=sys.stderr)
        finally:
            server.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.strategies", description=__doc__)
    parser.add_argument("tasks", nargs="?", type=int, default=TASKS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    print(write(measured(options.tasks), options.tasks, keep=options.write))


if __name__ == "__main__":
    main()
