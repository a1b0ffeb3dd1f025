"""Steps of a worker: the sign of life that it gives every 2 s."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aitbc.ledger.step import Step, text, texts

NOTHING: Mapping[str, int] = {}
ALIVE_SECONDS = 10.0
"""A worker that has not been heard for this long is gone: its synchronous leases end as `worker_lost`."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """How the ledger sees a worker.

    `known`: False when it had been declared dead (its leases have ended: it takes a new id). `cancelled`: begun leases whose task the
    client cancelled; `begun`: every begun lease it holds.
    """

    known: bool
    cancelled: list[str]
    begun: list[str]


def alive(
    worker: str, *, first: bool = False, polls: bool = True, room: int | None = None, totals: Mapping[str, int] = NOTHING
) -> Step[WorkerView]:
    """I live, for 10 s more. `first`: this worker has just started; `polls`: it takes jobs from its broker.

    `room`: calls that it could take now; `totals`: its histograms since it took this id (`telemetry.histogram`). Both are for /metrics.
    """

    def parse(reply: list[Any]) -> WorkerView:
        return WorkerView(bool(reply[0]), texts(reply[1]), texts(reply[2]))

    told = [item for pair in totals.items() for item in pair]
    return Step("worker", (worker, "1" if first else "", "1" if polls else "", "" if room is None else room, *told), parse)


def leave(worker: str) -> Step[int]:
    """Forget a worker that stops in order and holds nothing. Returns the leases it still holds (then it is not forgotten)."""
    return Step("leave", (worker,), int)


def full(agents: int) -> Step[str]:
    """Why work that has its agent waits: no worker has room for the call; empty when that is not so. Looks at so many agents at most."""

    def parse(reply: list[Any]) -> str:
        if not reply:
            return ""
        waiting, places, largest, slots = int(reply[0]), int(reply[1]), text(reply[2]), int(reply[3])
        said = f"workers_full: tasks that have their agent wait ({waiting}), for the {places} places of all workers are taken"
        if 4 * slots > places:
            said += f"; agent {largest} alone has {slots} slots"
        return f"{said}: start another worker, or raise AITBC_WORKER_CONCURRENCY"

    return Step("workers_full", (agents,), parse)


def count() -> Step[int]:
    """Workers that take jobs: they said so less than 10 s ago."""
    return Step("workers", (), int)
