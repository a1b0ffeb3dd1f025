"""A random soak: load on two nodes while something is killed with -9 every 2 to 4 s. `python -m tests.faults.soak MINUTES [SEED]`.

Victims: the APIs, the workers, Redis, and the broker (all its queues flushed: broker and ledger share one Redis here).  At the end faults
stop, everything accepted must end, and the figures are printed: accepted, completed, lost, double winners, violations, sends per task.
"""

import collections
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from aitbc.ledger.doctor import examine
from aitbc.tasks.queues import names
from tests.harness.agents import Agents, HttpAgent, status, succeed
from tests.harness.cluster import Api, Cluster

PRIORITIES = ("urgent", "critical", "high", "normal", "low")
RATE = 40
"""Submits a second, both clients together."""


class Client(threading.Thread):
    """Submits to whichever API answers; a submit that was not answered 200 is repeated under the same id."""

    def __init__(self, soak: "Soak", name: str, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.soak, self.chance, self.accepted = soak, random.Random(seed), list[str]()

    def run(self) -> None:
        number = 0
        while not self.soak.over.is_set():
            body = {
                "task_id": f"{self.name}-{number}",
                "task_data": {"n": number},
                "priority": self.chance.choice(PRIORITIES),
                "delay": self.chance.choice([0, 0, 0, 0.5]),
                "max_attempts": 50,
            }
            try:
                code, _ = self.chance.choice(self.soak.apis).call("POST", "/tasks/submit", body, timeout=10)
            except (OSError, ValueError):
                code = 0
            if code == 200:
                self.accepted.append(str(body["task_id"]))
                number += 1
            time.sleep(2 / RATE if code == 200 else 0.1)


class Soak:
    """Two nodes, five agents (one of which fails now and then), and what happens to them."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.chance, self.over = random.Random(seed), threading.Event()
        self.cluster, self.agents = Cluster(directory), Agents()
        self.apis: list[Api] = [self.cluster.api(f"api-{n}") for n in range(2)]
        self.workers = [self.cluster.worker(f"worker-{n}") for n in range(2)]
        for n in range(5):
            agent = self.agents.start(f"agent-{n}", delay=0.02 * (n + 1))
            self.apis[0].register(agent.name, agent.url, max_concurrency=8, heartbeat_timeout=0)
        self.agents.all[0].answer = _moody(random.Random(seed))
        self.faults: collections.Counter[str] = collections.Counter()

    def strike(self) -> None:
        """Kill one thing, and start it again after a moment."""
        victim = self.chance.choice(["api", "worker", "worker", "redis", "broker"])
        self.faults[victim] += 1
        pause = self.chance.uniform(0, 1.5)
        if victim == "broker":
            self._flush()
        elif victim == "redis":
            self.cluster.redis.kill()
            time.sleep(pause)
            self.cluster.start_redis()
        else:
            process = self.chance.choice(self.apis).process if victim == "api" else self.chance.choice(self.workers)
            process.kill()
            time.sleep(pause)
            process.start()

    def _flush(self) -> None:
        client = redis.Redis.from_url(self.cluster.redis_url)
        try:
            client.delete(*names())
        finally:
            client.close()

    def run(self, minutes: float) -> list[str]:
        """Everything accepted."""
        clients = [Client(self, f"client-{n}", self.chance.getrandbits(32)) for n in range(2)]
        for client in clients:
            client.start()
        end = time.monotonic() + minutes * 60
        told = time.monotonic()
        while time.monotonic() < end:
            time.sleep(self.chance.uniform(2, 4))
            self.strike()
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(
                    f"{(end - told) / 60:5.1f} min left, {sum(len(c.accepted) for c in clients)} accepted, {dict(self.faults)}", flush=True
                )
        self.over.set()
        for client in clients:
            client.join(30)
        return [task_id for client in clients for task_id in client.accepted]

    def settle(self, ids: list[str]) -> tuple[list[dict[str, Any]], float]:
        """Wait for every end (at most 5 minutes); the tasks, and how long it took."""
        began = time.monotonic()
        pending, found = set(ids), list[dict[str, Any]]()
        while pending and time.monotonic() < began + 300:
            for task_id in list(pending):
                task = self._read(task_id)
                if task and task["state"] in ("completed", "failed", "cancelled"):
                    found.append(task)
                    pending.discard(task_id)
            time.sleep(0.2)
        return found, time.monotonic() - began

    def _read(self, task_id: str) -> Any:
        try:
            code, answer = self.apis[0].call("GET", f"/tasks/{task_id}", timeout=10)
        except (OSError, ValueError):
            return None
        return answer["task"] if code == 200 else None

    def close(self) -> None:
        """End everything."""
        self.agents.close()
        self.cluster.close()


def _moody(chance: random.Random) -> Callable[..., Any]:
    """An agent that answers 500 now and then."""
    fails = status(500)

    async def answer(agent: HttpAgent, request: Any, body: Any) -> Any:
        return await (fails if chance.random() < 0.05 else succeed)(agent, request, body)

    return answer


def report(soak: Soak, ids: list[str], tasks: list[dict[str, Any]], seconds: float) -> bool:
    """Print the figures; whether every promise held."""
    states = collections.Counter(task["state"] for task in tasks)
    winners = [task["task_id"] for task in tasks if sum(a["outcome"] == "completed" for a in task["attempts"]) > 1]
    violations = examine(soak.cluster.ledger)
    sends = soak.agents.sends
    times = collections.Counter(sends[task_id] for task_id in ids)
    print(f"accepted {len(ids)}, ended {dict(states)}, lost {len(ids) - len(tasks)}, settled in {seconds:.1f} s")
    print(f"double winners {len(winners)}, invariant violations {len(violations)} {violations[:5]}")
    print(
        f"faults {dict(soak.faults)}; sends per task {sum(sends.values()) / max(1, len(ids)):.4f}, by count {dict(sorted(times.items()))}"
    )
    return len(tasks) == len(ids) and not winners and not violations and set(states) == {"completed"}


def main() -> None:
    """Run, print, exit 1 if a promise broke."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 31)
    print(f"soak of {minutes:g} minutes, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        soak = Soak(Path(directory), seed)
        try:
            ids = soak.run(minutes)
            tasks, seconds = soak.settle(ids)
            held = report(soak, ids, tasks, seconds)
        finally:
            soak.close()
    sys.exit(not held)


if __name__ == "__main__":
    main()
