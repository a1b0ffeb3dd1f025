"""Redis's memory for a task that waits for a free agent, 200 bytes of data, its job acknowledged."""

import time

from bench.apis import running
from bench.fill import QUEUE
from bench.lab import Lab
from bench.table import Bar, Ratios, Result, Table
from tests.harness.processes import wait_for

N, WARM, SIZE = 5_000, 100, 200


def run(lab: Lab) -> Result:
    """What Redis says that it uses, before and after."""
    found = Ratios(_bytes(lab) for _ in range(lab.rounds))
    text = f"{found.median:,.0f} ({found.values[0]:,.0f}–{found.values[-1]:,.0f})"
    bar = Bar("Redis bytes a waiting task of 200 bytes payload, its job acknowledged", "≤ 1,500", text, found.median <= 1500)
    return Result([Table("Storage", (str(__doc__).strip(), "bytes"), [(f"a task, of {N:,}", text)])], [bar])


def _bytes(lab: Lab) -> float:
    with lab.redis() as redis:
        coordinator = lab.coordinator(redis, 0)

        def looked_at(n: int) -> int:
            """Redis's memory when a worker has looked at n more, and has gone."""
            coordinator.submit(n, SIZE)
            with running(lab.worker("w", redis)):
                wait_for(lambda: not redis.client.llen(QUEUE) and not redis.client.hlen("unacked"), 120, "acknowledged jobs")
            time.sleep(0.5)
            return redis.used_memory()

        before = looked_at(WARM)
        return (looked_at(N) - before) / N
