"""A strategy is a score: one number an agent, lowest first. Strategies are files of strategies/; this is their list."""

from dataclasses import dataclass
from types import ModuleType

from aitbc.ledger.strategies import (
    capability_based,
    consistent_hash,
    least_connections,
    least_response_time,
    predictive,
    resource_based,
    round_robin,
    weighted_round_robin,
)

DEFAULT = "least_connections"


@dataclass(frozen=True, slots=True)
class Strategy:
    """`load`: a Lua expression over the agent's record `A` that gives its load, 0 to 16,383 (fewer is better).

    The score is load × 2^39 + the millisecond of its last grant: equal loads go to the agent used least recently.
    A strategy without a load gives the whole `score`, a whole number below 2^53, over `A` and the agent's id `a`.
    """

    meaning: str
    load: str = ""
    score: str = ""


def _of(module: ModuleType) -> Strategy:
    return Strategy(module.__doc__ or "", getattr(module, "LOAD", ""), getattr(module, "SCORE", ""))


STRATEGIES: dict[str, Strategy] = {
    "least_connections": _of(least_connections),
    "round_robin": _of(round_robin),
    "weighted_round_robin": _of(weighted_round_robin),
    "least_response_time": _of(least_response_time),
    "resource_based": _of(resource_based),
    "capability_based": _of(capability_based),
    "predictive": _of(predictive),
    "consistent_hash": _of(consistent_hash),
}
