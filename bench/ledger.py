"""What the ledger's steps cost in Redis: µs a script, its `redis.call`s, and bytes a task: `python -m bench.ledger [AGENTS ...]`.

It starts a redis-server of its own. Saturated = 20 agents of 10 slots, all full; the payload is 200 bytes; 20,000 other tasks wait.
A cell is µs / calls: the median over fifty batches, so that a neighbour's burst is not counted. Steps are sent one by one, which is a
little dearer than pipelined. The last column: an agent that has free slots moves in every signature it satisfies.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

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

WORKER = "worker@host:0123456789abcdef"
FULL, SLOTS, WAITING, ROUNDS, BATCHES = 20, 10, 20_000, 2000, 50
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
        self.row: dict[str, str] = {}
        self.redis.flushall(asynchronous=True)
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
        return NewTask(name, '"' + "v" * 200 + '"', priority, needs, name)

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
        """µs and `redis.call`s of the scripts that a round runs, by Redis's own clock and counts."""
        found, spent, calls = [], [], []
        batch = max(1, rounds // BATCHES)
        for start in range(0, rounds, batch):
            self.redis.config_resetstat()
            found += [work(n) for n in range(start, start + batch)]
            stats: Any = self.redis.info("commandstats")
            spent.append(stats["cmdstat_evalsha"]["usec"] / batch)
            others = set(stats) - {"cmdstat_evalsha", "cmdstat_config", "cmdstat_config|resetstat"}
            calls.append(sum(stats[command]["calls"] for command in others) / batch)
        self.row[name] = f"{median(spent):.0f} / {median(calls):.0f}"
        return found

    def route(self, task: str) -> Attempt | None:
        return self.ledger.run(leases.route(task, "w", TOKEN)).attempt

    def finish(self, attempt: Attempt | None) -> Attempt | None:
        assert attempt is not None
        return self.ledger.run(leases.finish(attempt.lease_id, TOKEN, DONE, worker="w", spare_hash=TOKEN)).next

    def run(self) -> dict[str, str]:
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


def memory(server: RedisServer, count: int = WAITING) -> tuple[float, float]:
    """Bytes of `used_memory` that a waiting task takes, and a completed one, its places in listings and the order included.

    The server must be empty.
    """
    ledger = Ledger(Settings(redis_url=server.url))

    def used() -> int:
        found: Any = ledger.redis.info("memory")
        return int(found["used_memory"])

    names, before = [str(uuid4()) for _ in range(count)], used()
    for name in names:
        ledger.run(tasks.submit(Bench.task(name, Requirements(), Priority.NORMAL)))
        ledger.run(leases.route(name, WORKER, TOKEN))
    waiting = used()
    one = Registration("agent", AgentType.WORKER, endpoints={"http": "http://x"}, max_concurrency=1, heartbeat_timeout=0)
    first = ledger.run(agents.register(one)).grants[0]
    attempt = ledger.run(leases.begin(first.lease_id, WORKER, TOKEN)).attempt
    while attempt:
        attempt = ledger.run(leases.finish(attempt.lease_id, TOKEN, DONE, worker=WORKER, spare_hash=TOKEN)).next
    ended = used()
    ledger.close()
    return (waiting - before) / count, (ended - before) / count


def main(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            print("bytes of Redis a task, waiting: {:,.0f}, completed: {:,.0f}\n".format(*memory(server)))
            print("| agents, signatures of each full one |", " | ".join(COLUMNS), "|")
            print("|" + "-|" * (len(COLUMNS) + 1))
            for count, signatures in [*((count, 1) for count in counts), (min(counts), 256)]:
                row = Bench(server, count, signatures).run()
                print(f"| {count:,}, {signatures} |", " | ".join(row[name] for name in COLUMNS), "|", flush=True)
        finally:
            server.close()


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [FULL, 100_000])
