"""Task data of 1 kB to 1 MB, beside the bare aiohttp loop with a body of the same size."""

from statistics import median

from bench import peers
from bench.drain import Drain
from bench.lab import Lab, rates, side_by_side
from bench.servers import Redis
from bench.table import Plot, Ratios, Result, Table, rate

SIZES = {"1 kB": (1_000, 8_000), "10 kB": (10_000, 4_000), "100 kB": (100_000, 1_000), "1 MB": (1_000_000, 150)}
"""Bytes, and tasks."""


def run(lab: Lab) -> Result:
    """Ours and the loop."""
    with lab.redis() as redis:
        variants = {}
        for name, (size, n) in SIZES.items():
            variants[name] = lambda size=size, n=n: _chain(lab, redis, size, n)
            variants[f"loop {name}"] = lambda size=size, n=n: peers.loop(lab, n, size)
        found = side_by_side(lab.rounds, variants)
    by = {name: rates(drains) for name, drains in found.items()}
    rows = [
        (name, rate(by[name]), f"{median(by[name]) * size / 1e6:,.1f}", str(Ratios.of(by[name], by[f"loop {name}"])))
        for name, (size, _) in SIZES.items()
    ]
    table = Table("Payload", ("task data", "tasks/s", "MB/s", "÷ aiohttp loop with the same"), rows)
    series = {"full chain": [by[name] for name in SIZES], "aiohttp loop": [by[f"loop {name}"] for name in SIZES]}
    return Result([table], [], [Plot("payload", "Task data", list(SIZES), series, log=True)])


def _chain(lab: Lab, redis: Redis, size: int, n: int) -> Drain:
    redis.client.flushall()
    coordinator = lab.coordinator(redis)
    coordinator.submit(n, size)
    return lab.chain(coordinator, n)
