"""A worker's memory over a long run: after 50,000 tasks and after 1,000,000 (`--full`); by default after 5,000 and 30,000."""

import time

from bench.apis import running
from bench.drain import rss
from bench.lab import Lab, completed
from bench.table import Bar, Plot, Ratios, Result, Table

CHUNK = 3_000
POINTS = 11


def run(lab: Lab) -> Result:
    """One run; more would measure the same."""
    early, late = (50_000, 1_000_000) if lab.full else (5_000, 30_000)
    wanted = [early + k * (late - early) // (POINTS - 1) for k in range(POINTS)]
    seen = []
    with lab.redis() as redis:
        coordinator, worker = lab.coordinator(redis), lab.worker("w", redis)
        with running(worker):
            for n in wanted:
                while (done := completed(redis)) < n:
                    if coordinator.submitted - done < CHUNK:
                        coordinator.submit(CHUNK)
                    time.sleep(0.05)
                seen.append(rss(worker) / 2**20)
    grown = Ratios([seen[-1] / seen[0]])
    rows = [(f"{n:,}", f"{mib:.1f}") for n, mib in zip(wanted, seen, strict=True)]
    note = "" if lab.full else "Scaled down: `python -m bench memory --full` runs 1,000,000 tasks."
    table = Table("Memory of a worker", ("tasks done", "MiB"), rows, note)
    bar = Bar.most(f"memory after {late:,} tasks ÷ after {early:,}", 1.1, grown)
    labels = [f"{n // 1000:,}k" for n in wanted]
    return Result([table], [bar], [Plot("memory", "Memory of a worker", labels, {"": [[mib] for mib in seen]}, "MiB")])
