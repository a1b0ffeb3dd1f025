"""An API is killed with -9 at each step of a call; its client repeats the call at another node (tests/harness/api_steps.py)."""

from collections.abc import Callable

import pytest

from tests.harness.api_steps import STEPS, strike_at
from tests.harness.matrix import Row

BY_NAME = {step.name: step for step in STEPS}


def run_row(world: Row, name: str) -> None:
    world.name = f"API, kill -9: {name}"
    strike_at(world, BY_NAME[name], "kill")


@pytest.mark.parametrize("name", BY_NAME)
def test_api(rows: Callable[[str], None], name: str) -> None:
    rows(name)
