"""A worker or an API is frozen for 15 s (SIGSTOP, SIGCONT) at each step, longer than a sign of life is waited for; then it goes on.

Whatever it goes on to do is late: it may cost one send more, and changes nothing that has ended.
"""

from collections.abc import Callable

import pytest

from tests.harness import api_steps, worker_steps
from tests.harness.matrix import Row

WORKER = {f"worker, frozen 15 s: {step.name}": step for step in worker_steps.STEPS}
API = {f"API, frozen 15 s: {step.name}": step for step in api_steps.STEPS}


def run_row(world: Row, name: str) -> None:
    world.name = name
    if name in WORKER:
        worker_steps.strike_at(world, WORKER[name], "freeze")
    else:
        api_steps.strike_at(world, API[name], "freeze")


@pytest.mark.parametrize("name", [*WORKER, *API])
def test_frozen(rows: Callable[[str], None], name: str) -> None:
    rows(name)
