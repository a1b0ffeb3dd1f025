"""Rows of the fault matrix: those that were chosen run beside one another."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.matrix import Row, SideBySide, row
from tests.integration.ledger.desk import RedisServer


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """Starts `run_row(row)` of the module for each selected test with a `name`; call it with a name to have that row's result."""
    chosen = [item.callspec.params["name"] for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]

    def run(name: str) -> None:
        with row(name, Path(tmp_path_factory.mktemp("row"))) as world:
            request.module.run_row(world, name)

    side_by_side = SideBySide(dict.fromkeys(chosen), run)
    yield side_by_side.result
    side_by_side.close()


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Row]:
    """One row by itself, named after its test."""
    with row(request.node.name.removeprefix("test_"), tmp_path) as made:
        yield made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that is the broker alone."""
    folder = tmp_path / "broker"
    folder.mkdir()
    server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


@pytest.fixture
def apart(tmp_path: Path, broker: RedisServer) -> Iterator[Row]:
    """A world whose broker is not its ledger."""
    with row("broker: away 60 s, the ledger there", tmp_path, CELERY_BROKER_URL=broker.url) as made:
        yield made
