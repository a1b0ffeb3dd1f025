"""docs/bounds.md says what is so: each setting with a limit is there, each test that it names exists."""

import re

import pytest

from aitbc.settings import catalogue
from bench.sizes import ROOT

PAGE = (ROOT / "docs" / "bounds.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| what", "| -"))]
LIMITS = [env for env, *_ in catalogue() if re.match(r"AITBC_(MAX|KEEP)_", env)] + ["AITBC_HELD_REQUESTS", "AITBC_WORKER_CONCURRENCY"]


@pytest.mark.parametrize("env", LIMITS)
def test_each_limit_that_can_be_set_is_on_the_page(env):
    assert any(f"| `{env}` |" in row for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[2:40] for row in ROWS])
def test_each_bound_names_a_test(row):
    cells = row.strip("| ").split(" | ")
    assert len(cells) == 5
    if cells[4] == "the same":
        return
    links = re.findall(r"\]\(\.\./([^)]+)\)((?:,? `test_\w+`)+)", cells[4])
    assert links
    for path, tests in links:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert [name for name in re.findall(r"test_\w+", tests) if f"def {name}(" not in text] == []
