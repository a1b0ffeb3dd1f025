"""Run the baselines: fill a queue through its own API, start its workers, measure."""

import subprocess
import sys

from kombu import Connection

from bench.drain import Drain, drain
from bench.lab import AGENTS, Lab
from bench.servers import AgentServer, Redis
from tests.harness.processes import ROOT, Process, environment

CELERY = ("worker", "--loglevel", "WARNING", "-P", "prefork", "-c", "2")
HAND = ("celery", "-A", "bench.baselines.celery_chain", *CELERY, "--without-gossip", "--without-mingle")
DRAMATIQ = ("dramatiq", "bench.baselines.dramatiq_chain", "-p", "2", "-t", "8")
TASKIQ = ("taskiq", "worker", "bench.baselines.taskiq_chain:broker", "-w", "2", "--max-async-tasks", "256", "--no-parse")


def fill(redis: Redis, module: str, n: int, **env: str) -> None:
    """In a process of its own: a baseline reads its Redis when it is imported."""
    code = f"from bench.baselines import {module}; {module}.fill({n})"
    with redis.filling():
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(**env), check=True)


def noop(lab: Lab, redis: Redis, broker: str = "", n: int = 2_400) -> Drain:
    """Bare stock Celery on this Redis."""
    redis.client.flushall()
    fill(redis, "noop", n, BENCH_BROKER=broker or redis.url)
    worker = lab.process("noop", redis.folder, "celery", "-A", "bench.baselines.noop", *CELERY, BENCH_BROKER=broker or redis.url)
    left = (lambda: waiting(broker)) if broker else lambda: int(redis.client.llen("celery")) + int(redis.client.hlen("unacked"))
    return drain([worker], lambda: n - left(), n, redis, lab.longest, end=Process.kill)


def waiting(broker: str) -> int:
    """Messages that RabbitMQ has not delivered yet; its no-op worker takes 8 at a time."""
    with Connection(broker) as connection:
        return int(connection.default_channel.queue_declare("celery", passive=True).message_count)


def agents(redis: Redis, server: AgentServer) -> None:
    """The same 20 agents."""
    redis.client.flushall()
    redis.client.zadd("agents", {f"agent-{n}": 0 for n in range(AGENTS)})
    redis.client.hset("urls", mapping={f"agent-{n}": server.url(n) for n in range(AGENTS)})


def done(redis: Redis) -> int:
    return int(redis.client.get("done") or 0)


def chain(lab: Lab, redis: Redis, module: str, command: tuple[str, ...], n: int, in_flight: int) -> Drain:
    """A chain on another queue. Checked: every POST is done, but for those in flight when its worker is killed."""
    agents(redis, lab.agents)
    fill(redis, module, n, BENCH_REDIS=redis.url)
    posts = lab.agents.counts()["posts"]
    worker: Process = lab.process(module, redis.folder, *command, BENCH_REDIS=redis.url)
    found = drain([worker], lambda: done(redis), n, redis, lab.longest, end=Process.kill)
    sent = lab.agents.counts()["posts"] - posts
    if not 0 <= sent - done(redis) <= in_flight:
        raise AssertionError(f"{module}: {sent} POSTs, {done(redis)} done:\n{worker.tail()}")
    return found


def hand(lab: Lab, redis: Redis) -> Drain:
    return chain(lab, redis, "celery_chain", HAND, 1_800, 2)


def dramatiq(lab: Lab, redis: Redis) -> Drain:
    return chain(lab, redis, "dramatiq_chain", DRAMATIQ, 5_000, 16)


def taskiq(lab: Lab, redis: Redis) -> Drain:
    return chain(lab, redis, "taskiq_chain", TASKIQ, 10_000, 512)


def loop(lab: Lab, n: int = 20_000, size: int = 90) -> Drain:
    """The bare aiohttp loop; no Redis."""
    command = [sys.executable, "-m", "bench.baselines.loop", str(n), str(size), *(lab.agents.url(k) for k in range(4))]
    told = subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True)
    return Drain(float(told.stdout), 0.0, 0.0, 0.0)
