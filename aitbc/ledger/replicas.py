"""AITBC_LEDGER_REPLICAS: some steps count only when so many replicas have what they wrote, so that a failover cannot undo them.

WAIT belongs to its connection: it is sent right behind the steps, in the same write.  A repeated step may write nothing, and newer Redis
lets WAIT wait for the connection's own writes only: the PUBLISH that nobody hears is one.
"""

from typing import Any

from aitbc.ledger.keys import REPLICAS_CHANNEL
from aitbc.telemetry.once import OutageLog

REFUSED = frozenset({"submit"})
"""Steps that are refused (503, safe to repeat) when too few replicas have them."""
FENCED = REFUSED | {"route", "begin", "finish"}
"""Steps that wait for replicas. Those that are not refused go on without them, counted."""
PATIENCE, IMPATIENCE = 1000, 10
"""Milliseconds that are waited for replicas; and when they were too few the last time, so that their absence does not stall a worker."""


class Fence:
    """The replicas of one client's Redis. `missed`: how often they were too few."""

    def __init__(self, replicas: int) -> None:
        """`replicas`: 0 waits for nothing."""
        self.replicas, self.missed = replicas, 0
        self._outage = OutageLog("a replica of the ledger (AITBC_LEDGER_REPLICAS)")

    def holds(self, script: str) -> bool:
        """This step waits for replicas."""
        return self.replicas > 0 and script in FENCED

    def commands(self, *, patient: bool = False) -> list[tuple[Any, ...]]:
        """What is sent behind the steps; the last one's reply is for `enough`. `patient`: wait the full time whatever happened last."""
        patience = IMPATIENCE if self._outage.away and not patient else PATIENCE
        return [("PUBLISH", REPLICAS_CHANNEL, ""), ("WAIT", self.replicas, patience)]

    def enough(self, copies: Any) -> bool:
        """Whether so many replicas have it: WAIT's reply, or its error."""
        if isinstance(copies, int) and copies >= self.replicas:
            self._outage.up()
            return True
        self.missed += 1
        self._outage.down(RuntimeError(f"{copies} of {self.replicas} replicas have the last writes"))
        return False
