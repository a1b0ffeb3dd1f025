"""The doctor: every invariant of the ledger, checked from the outside. `aitbc doctor --ledger`, and the tests after every scenario.

The checks are in task_invariants.py and agent_invariants.py, over the view of view.py.  Nothing is repaired here: that is the sweep's work.
"""

import time

from aitbc.ledger import agent_invariants, task_invariants
from aitbc.ledger.client import Ledger
from aitbc.ledger.redis_state import look
from aitbc.ledger.snapshot import Snapshot
from aitbc.ledger.view import View

SECOND_LOOK = 3.0
"""Seconds: the snapshot is not atomic, so a violation counts when a second look still shows it."""


def examine(ledger: Ledger) -> list[str]:
    """Violations that two looks 3 s apart both show. Raises LedgerAway."""
    first = violations(Snapshot(ledger))
    if not first:
        return []
    time.sleep(SECOND_LOOK)
    second = set(violations(Snapshot(ledger)))
    return [violation for violation in first if violation in second]


def warnings(ledger: Ledger) -> list[str]:
    """What about this Redis breaks a law, or would. Raises LedgerAway."""
    state = look(ledger)
    return state.problems + state.warnings


def violations(snapshot: Snapshot, *, swept: bool = True) -> list[str]:
    """Every violation in one snapshot, numbered as in docs/invariants.md.

    `swept`: False while a queued task's job may still be under way beside a free agent.
    """
    view = View(snapshot, swept=swept)
    checks = (*task_invariants.CHECKS, *agent_invariants.CHECKS)
    return [violation for check in checks for violation in check(view)]


def over_capacity(snapshot: Snapshot) -> list[str]:
    """3: agents with more live leases than slots; right only when a max_concurrency was lowered."""
    view = View(snapshot, swept=True)
    return [name for name, record in view.agents.items() if len(view.held(name)) > int(record["max_concurrency"])]
