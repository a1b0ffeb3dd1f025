"""Callers beyond their quota, remembered by a process so that refusing them costs no trip to Redis (limits.py counts)."""

import time

from aitbc.bounded import Bounded

MAX_REFUSED = 10_000
"""Callers that are remembered; beyond, the first goes."""


class Refused:
    """Callers that are beyond their quota, and until when."""

    def __init__(self) -> None:
        self._until: Bounded[str, float] = Bounded(MAX_REFUSED)

    def left(self, who: str) -> float:
        """Seconds for which the caller is still to be refused; 0 when it is not."""
        left = self._until.get(who, 0.0) - time.monotonic()
        if left <= 0:
            self._until.pop(who, None)
        return max(0.0, left)

    def add(self, who: str, seconds: float) -> None:
        """Refuse it for so long."""
        self._until[who] = time.monotonic() + seconds
