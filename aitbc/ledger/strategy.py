"""A strategy is a score: one number an agent, lowest first. Strategies are files of strategies/; this is their list."""

from dataclasses import dataclass

from aitbc.ledger.strategies import least_connections, resource_based, round_robin

DEFAULT = "least_connections"


@dataclass(frozen=True, slots=True)
class Strategy:
    """`load`: a Lua expression over the agent's record `A` that gives its load, 0 to 16,383 (fewer is better).

    The score is load × 2^39 + the millisecond of its last grant: equal loads go to the agent used least recently.
    """

    load: str
    meaning: str


STRATEGIES: dict[str, Strategy] = {
    "least_connections": Strategy(least_connections.LOAD, least_connections.__doc__ or ""),
    "round_robin": Strategy(round_robin.LOAD, round_robin.__doc__ or ""),
    "resource_based": Strategy(resource_based.LOAD, resource_based.__doc__ or ""),
}
