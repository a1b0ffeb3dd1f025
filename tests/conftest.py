"""Fixtures that several rooms' tests share. A missing server fails the run; nothing is skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.agents import Agents
from tests.harness.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A Redis of its own; the test starts APIs and workers on it."""
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def agents() -> Iterator[Agents]:
    """Real HTTP agents."""
    agents = Agents()
    yield agents
    agents.close()
