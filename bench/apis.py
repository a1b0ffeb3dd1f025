"""The two APIs that are compared: ours, and the hand-written Flask one, each with its worker."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench import peers
from bench.lab import Lab
from bench.servers import AgentServer, Gunicorn, Redis, api
from tests.harness.processes import Process

GEVENT = ("-k", "gevent", "-w", "2")
THREADS = ("-k", "gthread", "-w", "2", "--threads", "8")
BODY = b'{"task_data":{"x":"' + b"y" * 82 + b'"}}'


def flask(redis: Redis, *how: str) -> Gunicorn:
    """The hand-written one."""
    return Gunicorn(redis.folder, *how, "--keep-alive", "30", "bench.baselines.flask_app:app", BENCH_REDIS=redis.url)


@contextmanager
def ours_live(lab: Lab, server: AgentServer) -> Iterator[tuple[Redis, Gunicorn]]:
    """Redis, agents, API and a worker, all ready."""
    with lab.redis() as redis:
        coordinator = lab.coordinator(redis, 0)
        coordinator.register(20, 100, server)
        with api(lab.folder, redis.url, AITBC_MAX_LIVE_TASKS="5000000") as gunicorn, running(lab.worker("w", redis)):
            yield redis, gunicorn


@contextmanager
def hand_live(lab: Lab, server: AgentServer) -> Iterator[tuple[Redis, Gunicorn]]:
    """The same of the hand-written one."""
    with lab.redis() as redis:
        peers.agents(redis, server)
        with flask(redis, *GEVENT) as gunicorn, running(lab.process("hand", redis.folder, *peers.HAND, BENCH_REDIS=redis.url)):
            yield redis, gunicorn


@contextmanager
def running(worker: Process) -> Iterator[Process]:
    """A worker that is killed at the end."""
    worker.start()
    try:
        yield worker
    finally:
        worker.kill()
