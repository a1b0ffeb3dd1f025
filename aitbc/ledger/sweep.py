"""The sweep: the periodic repair and time-keeping, in scripts of at most 5 ms. Once a second, on one worker."""

from dataclasses import dataclass
from typing import Any

from aitbc.ledger.step import Step, grants
from aitbc.model.lease import Grant

PERIOD_SECONDS = 1.0
TURN_MILLISECONDS = 900
"""A turn ends before the period does: the worker whose turn it was may be gone."""
MOST = 50
"""Entries of each kind that one script handles; it says whether there are more."""
LONGEST_SECONDS = 0.5
"""A turn's scripts together; what is left waits for the next turn."""


@dataclass(frozen=True, slots=True)
class Swept:
    """`more`: run the same step again; `grants` need a job."""

    more: bool
    grants: list[Grant]


def turn(worker: str) -> Step[bool]:
    """Whether this worker sweeps now."""
    return Step("turn", (worker, TURN_MILLISECONDS), bool)


def steps(most: int = MOST) -> tuple[Step[Swept], ...]:
    """One sweep, in order: the clock and agents, leases, tasks, and last whatever was forgotten (`match`)."""
    verbs = [(name, (most,)) for name in ("sweep_clock", "sweep_agents", "sweep_leases", "sweep_tasks")]
    return tuple(Step(name, args, _swept) for name, args in [*verbs, ("sweep_match", ())])


def _swept(reply: list[Any]) -> Swept:
    return Swept(bool(reply[0]), grants(reply[1:]))
