"""The laboratory that every scenario gets: where to work, how often, how much, and the measured worker."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aitbc.ledger.keys import BY_NAME
from bench.drain import Drain, drain, warm
from bench.fill import Coordinator, Template
from bench.servers import AgentServer, Redis
from tests.harness.processes import Process, environment

CONCURRENCY = 256
AGENTS = 20
FREE, SATURATED = 100, 3
"""Slots of each of the 20 agents: more than the worker can hold calls, and far fewer."""


@dataclass
class Lab:
    """`quick`: fewer tasks; `full`: a million where the default is scaled down. `longest`: seconds that one rate may take."""

    folder: Path
    rounds: int = 3
    quick: bool = False
    full: bool = False

    @property
    def longest(self) -> float:
        return 3.0 if self.quick else 4.0

    @property
    def tasks(self) -> int:
        """In the queue of a full chain."""
        return 10_000 if self.quick else 20_000

    @cached_property
    def agents(self) -> AgentServer:
        """Answers at once. Ended by `close`."""
        return AgentServer(self.folder)

    @cached_property
    def template(self) -> Template:
        return Template(self.folder)

    def close(self) -> None:
        if "agents" in self.__dict__:
            self.agents.__exit__(None, None, None)

    def redis(self, fsync: str = "always") -> Redis:
        return Redis(self.folder, fsync)

    def coordinator(self, redis: Redis, agents: int = AGENTS, slots: int = FREE) -> Coordinator:
        """With agents that answer at once."""
        made = Coordinator(redis, self.template)
        made.register(agents, slots, self.agents)
        return made

    def worker(self, name: str, redis: Redis, *options: str, **env: str) -> Process:
        """Ours, not started."""
        settings = {
            "REDIS_URL": redis.url,
            "AITBC_WORKER_CONCURRENCY": str(CONCURRENCY),
            "AITBC_SHUTDOWN_TIMEOUT": "2",
            "AITBC_MAX_LIVE_TASKS": "5000000",
        }
        arguments = ["celery", "-A", "aitbc.tasks", "worker", "--loglevel", "WARNING", "-n", f"{name}@bench", *options]
        return self.process(name, redis.folder, *arguments, **{**settings, **env})

    def process(self, name: str, folder: Path, *module: str, **env: str) -> Process:
        return Process(name, [sys.executable, "-m", *module], folder, environment(**env))

    def chain(
        self, coordinator: Coordinator, n: int, *options: str, processes: int = 1, held: int = 0, broker: str = "", longest: float = 0.0
    ) -> Drain:
        """Drain `n` tasks of a coordinator whose queues are filled.

        Checked: every POST is a completed task, and no more than `held` are leased. `longest`: other than the laboratory's.
        """
        redis, before, posts = coordinator.redis, completed(coordinator.redis), self.agents.counts()["posts"]
        workers = [self.worker(f"w{k}", redis, *options, **({"CELERY_BROKER_URL": broker} if broker else {})) for k in range(processes)]
        found = drain(workers, lambda: completed(redis) - before, n, redis, longest or self.longest, end=warm)
        sent, ended = self.agents.counts()["posts"] - posts, completed(redis) - before
        leased = 0 if ended < n else int(redis.client.zcard(BY_NAME["LEASES"]))
        if sent != ended or leased > held or redis.client.hlen("unacked"):
            raise AssertionError(f"{sent} POSTs, {ended} completed, {leased} leases, or unacked jobs:\n{workers[0].tail()}")
        return found


def completed(redis: Redis) -> int:
    """Ever: the oldest of many are not kept."""
    return int(redis.client.hget(BY_NAME["STATS"], "completed") or 0)


def side_by_side(rounds: int, variants: dict[str, Callable[[], Drain]]) -> dict[str, list[Drain]]:
    """Every variant once a round."""
    found: dict[str, list[Drain]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, measure in variants.items():
            found[name].append(measure())
            print(f"  round {number + 1}: {name}: {found[name][-1].rate:,.0f}/s", file=sys.stderr, flush=True)
    return found


def rates(drains: Sequence[Drain]) -> list[float]:
    return [one.rate for one in drains]
