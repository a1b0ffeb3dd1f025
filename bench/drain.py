"""The method of every rate: the queue is filled while no worker runs; the worker starts; the rate is taken between 3 % and 97 % done.

A worker that would take longer than `longest` seconds for that is measured over these seconds.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from bench.servers import Redis
from tests.harness.processes import Process, wait_for


@dataclass(frozen=True, slots=True)
class Drain:
    """`rate`: tasks a second; µs of processor time a task in Redis and in the worker's processes; their memory together in MiB."""

    rate: float
    redis_us: float
    worker_us: float
    rss: float


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    done: int
    redis: float
    worker: float


def drain(
    workers: Sequence[Process], done: Callable[[], int], n: int, redis: Redis, longest: float, *, end: Callable[[Process], None]
) -> Drain:
    """Start the workers, measure, `end` them."""

    def mark() -> _Mark:
        return _Mark(time.perf_counter(), done(), redis.cpu(), sum(map(cpu, workers)))

    for worker in workers:
        worker.start()
    try:
        wait_for(lambda: done() >= 0.03 * n, 60, f"3 % of {n} by {workers[0].name}:\n{workers[0].tail()}")
        first = mark()
        while done() < 0.97 * n and time.perf_counter() < first.at + longest:
            time.sleep(0.01)
        last = mark()
        memory = sum(map(rss, workers))
    finally:
        for worker in workers:
            end(worker)
    tasks = last.done - first.done
    return Drain(
        tasks / (last.at - first.at), 1e6 * (last.redis - first.redis) / tasks, 1e6 * (last.worker - first.worker) / tasks, memory / 2**20
    )


def warm(process: Process) -> None:
    """SIGTERM: what it holds ends well."""
    process.terminate()
    process.end_within(20)


def tree(process: Process) -> list[psutil.Process]:
    """A process and its children."""
    leader = psutil.Process(process.pid)
    return [leader, *leader.children(recursive=True)]


def cpu(process: Process) -> float:
    """Seconds of processor time of it and its children."""
    total = 0.0
    for one in tree(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = one.cpu_times()
            total += used.user + used.system
    return total


def rss(process: Process) -> int:
    """Resident bytes of it and its children (shared pages count in each)."""
    total = 0
    for one in tree(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total
