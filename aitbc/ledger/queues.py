"""Steps of the five queues and of the balancer: pause, resume, clear; dead letters in chunks; the strategy."""

from typing import Any

from aitbc.errors import BadRequest
from aitbc.ledger.step import Step, grants, text
from aitbc.ledger.strategy import STRATEGIES
from aitbc.model.lease import Grant
from aitbc.model.priority import Priority

CLEAR_CHUNK = 200
"""Tasks that one call of `clear` cancels: 200 stay below 5 ms in Redis."""


def pause(priority: Priority) -> Step[list[Grant]]:
    """No new grants from this queue; what is granted goes on."""
    return Step("pause", (priority.rank, 1), grants)


def resume(priority: Priority) -> Step[list[Grant]]:
    """Grants again, at once."""
    return Step("pause", (priority.rank, 0), grants)


def clear(priority: Priority, limit: int = 0) -> Step[tuple[int, int, bool]]:
    """Cancel what is queued or waiting there, a chunk a call, up to the stamp of the first call (`limit` 0).

    Returns how many were cancelled, the limit to pass to the next call, and whether one is needed.
    """

    def parse(reply: list[Any]) -> tuple[int, int, bool]:
        return int(reply[0]), int(reply[1]), bool(reply[2])

    return Step("clear", (priority.rank, limit, CLEAR_CHUNK), parse)


def set_strategy(name: str) -> Step[str]:
    """Score agents by another strategy: sets are filled beside the old ones, then flipped. Raises BadRequest `Invalid strategy: x`."""
    if name not in STRATEGIES:
        raise BadRequest(f"Invalid strategy: {name}")
    return Step("set_strategy", (name,), text)
