"""A worker is killed with -9, or told to end with SIGTERM, at each step of its work (tests/harness/worker_steps.py).

The victim is the only worker until it stands at the step; then another takes over.
"""

from collections.abc import Callable

import pytest

from tests.harness.matrix import Row
from tests.harness.worker_steps import STEPS, strike_at

BY_NAME = {f"{step.name}, {how}": (step, how) for how in ("kill", "term") for step in STEPS}


def run_row(world: Row, name: str) -> None:
    step, how = BY_NAME[name]
    world.name = f"worker, {'kill -9' if how == 'kill' else 'SIGTERM'}: {step.name}"
    strike_at(world, step, how)


@pytest.mark.parametrize("name", BY_NAME)
def test_worker(rows: Callable[[str], None], name: str) -> None:
    rows(name)
