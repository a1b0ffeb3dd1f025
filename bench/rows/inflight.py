"""Calls in flight at agents that take 5 s, in one worker process, and what each costs in memory."""

import time

from bench.apis import running
from bench.drain import rss
from bench.lab import Lab
from bench.servers import AgentServer
from bench.table import Bar, Plot, Ratios, Result, Table
from tests.harness.processes import wait_for

COUNTS = (100, 1_000, 10_000)
DELAY = 5


def run(lab: Lab) -> Result:
    """Memory of a worker that holds so many, less what it had when it was idle."""
    found = {n: [_hold(lab, n) for _ in range(1 if n == COUNTS[-1] else lab.rounds)] for n in COUNTS}
    each = {n: Ratios(kib for _, kib in values) for n, values in found.items()}
    most = {n: Ratios(held for held, _ in values) for n, values in found.items()}
    rows = [(f"{n:,}", f"{most[n].median:,.0f}", str(each[n])) for n in COUNTS]
    table = Table("In flight", ("places (`-c`)", "calls in flight at once", "KiB each"), rows, str(__doc__))
    held, kib = most[COUNTS[-1]], each[COUNTS[-1]]
    reached = f"{held.median:,.0f} held, {kib.median:.1f} KiB each"
    bar = Bar(
        "10,000 calls in flight at a 5 s agent, one process", "held, ≤ 30 KiB each", reached, held.median >= 0.99e4 and kib.median <= 30
    )
    labels = [f"{n:,}" for n in COUNTS]
    return Result([table], [bar], [Plot("inflight", "Memory of a call in flight", labels, {"": [each[n].values for n in COUNTS]}, "KiB")])


def _hold(lab: Lab, places: int) -> tuple[float, float]:
    """The most calls in flight, and KiB each."""
    with AgentServer(lab.folder, "--delay", str(DELAY)) as server, lab.redis() as redis:
        coordinator = lab.coordinator(redis, 0)
        worker = lab.worker("w", redis, AITBC_WORKER_CONCURRENCY=str(places), AITBC_SHUTDOWN_TIMEOUT="0")
        with running(worker):
            wait_for(lambda: "ready" in worker.tail() or redis.client.zcard("workers:polling"), 30, "a worker that polls")
            time.sleep(2)
            idle = rss(worker)
            coordinator.register(20, 1_000, server)
            coordinator.submit(places + places // 2)
            memory, until = 0, time.monotonic() + 3 * DELAY
            while time.monotonic() < until:
                counts = server.counts()
                if counts["now"] >= counts["peak"]:
                    memory = rss(worker)
                if counts["now"] >= places:
                    break
                time.sleep(0.1)
            peak = int(server.counts()["peak"])
    return peak, (memory - idle) / 1024 / peak
