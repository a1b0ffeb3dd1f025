"""What the ledger's steps cost in Redis, in microseconds a script: `python -m bench.ledger [AGENTS ...]` prints a table.

It starts a redis-server of its own. Saturated = 20 agents of 10 slots, all full; the payload is 200 bytes; 20,000 other tasks wait.
The last column: an agent that has free slots moves in every signature it satisfies.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aitbc.ledger import agents, leases, queues, sweep, tasks
from aitbc.ledger.client import Ledger
from aitbc.ledger.step import Step
from aitbc.model.agent import AgentType, Registration
from aitbc.model.lease import Attempt, token_hash
from aitbc.model.outcome import Outcome, Verdict
from aitbc.model.priority import PRIORITIES, Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import NewTask
from aitbc.settings import Settings
from tests.integration.ledger.desk import RedisServer

FULL, SLOTS, WAITING, ROUNDS = 20, 10, 20_000, 2000
TOKEN = token_hash("bench")
DONE = Outcome(Verdict.COMPLETED, result='"' + "r" * 100 + '"')
COLUMNS = (
    "submit",
    "route + begin",
    "route, none free",
    "finish, none waits",
    "finish + grant begun",
    "heartbeat",
    "cancel waiting",
    "sweep (5 scripts)",
    "finish, slots free",
)


class Bench:
    """One ledger with so many agents, the full ones in so many signatures."""

    def __init__(self, server: RedisServer, count: int, signatures: int) -> None:
        self.ledger = Ledger(Settings(redis_url=server.url, max_signatures=300))
        self.redis, self.number = self.ledger.redis, 0
        self.row: dict[str, float] = {}
        self.redis.flushall()
        for script in self.ledger._scripts.values():
            self.redis.script_load(script.text)
        self.needs = [Requirements(capabilities=("z", f"c{n}")) for n in range(signatures)]
        self.free = Requirements(tags=("free",))
        for needs in [*self.needs, self.free]:
            self.submit(needs)
        self.many(agents.register(self.agent(f"a{n}", n < FULL, signatures)) for n in range(max(FULL + 1, count)))
        self.sweep()
        for n in range(self.number):
            self.ledger.run(tasks.cancel(f"t{n}"))

    @staticmethod
    def agent(name: str, full: bool, signatures: int) -> Registration:
        capabilities = ("z", *(f"c{n}" for n in range(signatures))) if full else ("y",)
        more: dict[str, Any] = {} if full else {"tags": ("free",)}
        slots = SLOTS if full else 10_000
        return Registration(name, AgentType.WORKER, capabilities, endpoints={"http": "http://x"}, max_concurrency=slots, **more)

    def submit(self, needs: Requirements, priority: Priority = Priority.NORMAL) -> str:
        name = f"t{self.number}"
        self.number += 1
        self.ledger.run(tasks.submit(self.task(name, needs, priority)))
        return name

    @staticmethod
    def task(name: str, needs: Requirements, priority: Priority) -> NewTask:
        return NewTask(name, '"' + "v" * 200 + '"', priority, priority.value, needs, name)

    def many(self, steps: Iterable[Step[Any]]) -> None:
        """Run steps without waiting for each reply."""
        pipe = self.redis.pipeline(transaction=False)
        for n, step in enumerate(steps):
            pipe.evalsha(self.ledger._scripts[step.script].sha, 0, *step.args)
            if n % 500 == 499:
                pipe.execute()
        pipe.execute()

    def sweep(self) -> None:
        for step in sweep.steps():
            while self.ledger.run(step).more:
                pass

    def measure(self, name: str, work: Callable[[int], Any], rounds: int = ROUNDS) -> list[Any]:
        """Mean µs of the scripts that a round runs, by Redis's own clock."""
        self.redis.config_resetstat()
        found = [work(n) for n in range(rounds)]
        stats: Any = self.redis.info("commandstats")
        self.row[name] = stats["cmdstat_evalsha"]["usec"] / rounds
        return found

    def route(self, task: str) -> Attempt | None:
        return self.ledger.run(leases.route(task, "w", TOKEN)).attempt

    def finish(self, attempt: Attempt | None) -> Attempt | None:
        assert attempt is not None
        return self.ledger.run(leases.finish(attempt.lease_id, TOKEN, DONE, worker="w", spare_hash=TOKEN)).next

    def run(self) -> dict[str, float]:
        """Every column."""
        names = self.measure("submit", lambda _: self.submit(self.free))
        attempts = self.measure("route + begin", lambda n: self.route(names[n]))
        self.measure("finish, none waits", lambda n: self.finish(attempts[n]))
        live = [self.route(self.submit(self.needs[n % len(self.needs)])) for n in range(FULL * SLOTS)]
        first = self.number
        self.number += WAITING
        self.many(tasks.submit(self.task(f"t{first + n}", self.needs[n % len(self.needs)], PRIORITIES[n % 5])) for n in range(WAITING))
        self.measure("route, none free", lambda n: self.route(f"t{first + WAITING - 1 - n}"))

        def chain(n: int) -> None:
            live[n % len(live)] = self.finish(live[n % len(live)])

        self.measure("finish + grant begun", chain)
        self.measure("heartbeat", lambda n: self.ledger.run(agents.heartbeat(f"a{n % FULL}")))
        self.measure("cancel waiting", lambda n: self.ledger.run(tasks.cancel(f"t{first + WAITING - 1 - n}")), 500)
        self.measure("sweep (5 scripts)", lambda _: self.sweep(), 100)
        for priority in PRIORITIES:
            while self.ledger.run(queues.clear(priority))[2]:
                pass
        self.measure("finish, slots free", lambda n: self.finish(live[n]), 150)
        self.ledger.close()
        return self.row


def main(counts: list[int]) -> None:
    print("| agents, signatures of each full one |", " | ".join(COLUMNS), "|")
    print("|" + "-|" * (len(COLUMNS) + 1))
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            for count, signatures in [*((count, 1) for count in counts), (min(counts), 256)]:
                row = Bench(server, count, signatures).run()
                print(f"| {count:,}, {signatures} |", " | ".join(f"{row[name]:.0f}" for name in COLUMNS), "|", flush=True)
        finally:
            server.close()


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [FULL, 100_000])
