"""The full chain of one worker process beside a bare stock Celery no-op drain, in the same run: `python -m bench.chain [ROUNDS]`.

Chain: Celery job → route (order, choice, lease, begin) → POST → finish → late ack.  Both drain a queue that was filled while no worker
ran, on one Redis with `appendonly yes, appendfsync always`; the rate is taken between 3 % and 97 % done.  Loopback only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

from aitbc.ledger import agents, tasks
from aitbc.ledger.client import Ledger
from aitbc.model.agent import AgentType, Registration
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import NewTask
from aitbc.settings import Settings
from tests.harness.processes import Process, environment, free_port, redis_binary, wait_for

N = 3000
AGENTS = 20


class Bench:
    """One Redis, four HTTP servers, and whichever worker is measured."""

    def __init__(self, directory: Path) -> None:
        """Start Redis and the agents' servers."""
        self.directory, self.port = directory, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/1"
        self.ports = [free_port() for _ in range(4)]
        options = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--bind", "127.0.0.1"]
        self.redis = Process(
            "redis", [redis_binary(), "--port", str(self.port), "--dir", str(directory), *options], directory, environment()
        )
        self.agents = Process("agents", [sys.executable, "-m", "bench.agents", *map(str, self.ports)], directory, environment())
        self.redis.start()
        self.agents.start()
        self.client = redis.Redis.from_url(self.url)
        wait_for(self._answers, 10, "Redis")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def drain(self, worker: list[str], done: Callable[[], int], env: dict[str, str]) -> float:
        """Tasks a second between 3 % and 97 % done."""
        process = Process("worker", [sys.executable, "-m", "celery", *worker, "--loglevel", "WARNING"], self.directory, environment(**env))
        process.start()
        marks: dict[float, float] = {}
        try:
            for share in (0.03, 0.97):
                wait_for(lambda share=share: done() >= share * N, 120, f"{share:.0%} of {worker}")
                marks[share] = time.perf_counter()
            wait_for(lambda: done() >= N, 30, "the rest")
        finally:
            process.stop(20)
        return 0.94 * N / (marks[0.97] - marks[0.03])

    def noop(self) -> float:
        """The stock baseline."""
        self.client.flushall()
        os.environ["BENCH_REDIS"] = self.url
        from bench.noop import app, noop

        app.conf.broker_url = self.url
        for number in range(N):
            noop.delay(number, {"x": "y" * 80})
        done = lambda: N - int(self.client.llen("celery")) - int(self.client.hlen("unacked"))  # noqa: E731
        return self.drain(["-A", "bench.noop", "worker", "-P", "prefork", "-c", "2"], done, {"BENCH_REDIS": self.url})

    def chain(self, slots: int) -> float:
        """Our chain over 20 agents with `slots` free slots each."""
        self.client.flushall()
        ledger = Ledger(Settings(redis_url=self.url))
        for n in range(AGENTS):
            url = f"http://127.0.0.1:{self.ports[n % 4]}"
            ledger.run(agents.register(Registration(f"agent-{n}", AgentType.WORKER, endpoints={"http": url}, max_concurrency=slots)))
        code = "import sys\nfrom aitbc.model.priority import Priority\nfrom aitbc.tasks import enqueue\n"
        code += f"enqueue.route([(f't{{n}}', Priority.NORMAL) for n in range({N})])"
        for n in range(N):
            data = '{"x":"' + "y" * 80 + '"}'
            ledger.run(tasks.submit(NewTask(f"t{n}", data, Priority.NORMAL, Requirements(), f"{n:064x}")))
        subprocess.run([sys.executable, "-c", code], check=True, env=environment(REDIS_URL=self.url))
        done = lambda: int(self.client.zcard("tasks:completed"))  # noqa: E731
        env = {"REDIS_URL": self.url, "AITBC_WORKER_CONCURRENCY": "256"}
        rate = self.drain(["-A", "aitbc.tasks", "worker"], done, env)
        assert int(self.client.hlen("unacked")) == 0
        assert int(self.client.zcard("leases")) == 0
        ledger.close()
        return rate

    def close(self) -> None:
        """End both."""
        self.agents.kill()
        self.redis.kill()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        try:
            rows = [(bench.noop(), bench.chain(100), bench.chain(3)) for _ in range(rounds)]
        finally:
            bench.close()
    print(
        f"| {rounds} rounds, N = {N}, appendfsync always | tasks/s (median) | ÷ stock no-op (median of per-round ratios; spread) |\n|-|-|-|"
    )
    names = ("stock Celery no-op, prefork 2", "full chain, 2,000 free slots", "full chain, 60 slots (saturated)")
    for column, name in enumerate(names):
        ratios = sorted(row[column] / row[0] for row in rows)
        rate = statistics.median(row[column] for row in rows)
        print(f"| {name} | {rate:.0f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) |")


if __name__ == "__main__":
    main()
