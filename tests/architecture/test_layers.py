"""A room imports only from rooms below it (import-linter, contracts in setup.cfg), and no room is left out of the list."""

import ast
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from bench.sizes import ROOT

LINT = Path(sys.executable).with_name("lint-imports")


def contracts():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def lint(config, tmp_path, cwd=ROOT):
    return subprocess.run(
        [LINT, "--cache-dir", tmp_path / "cache", "--no-logo", config], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_contracts_are_kept(tmp_path):
    done = lint(ROOT / "setup.cfg", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("aitbc/model/planted.py", "import aitbc.web.answers", "A room imports only from rooms below it"),
        ("aitbc/ledger/planted.py", "import aitbc.dispatch.guard", "A room imports only from rooms below it"),
        ("aitbc/odds.py", "", "A room imports only from rooms below it"),
        ("aitbc/tasks/planted.py", "import flask", "Flask lives in web"),
        ("aitbc/web/planted.py", "import redis", "The Redis client is the ledger's alone"),
        ("aitbc/ledger/planted.py", "import kombu", "Celery and kombu live in worker and tasks"),
    ],
)
def test_a_planted_import_is_found(tmp_path, module, line, broken):
    """The contracts can fail: on a copy of the package, reduced to its docstrings and the planted module, exactly one is broken."""
    for path in (ROOT / "aitbc").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    (tmp_path / module).write_text(line + "\n")
    (tmp_path / "setup.cfg").write_text((ROOT / "setup.cfg").read_text())
    done = lint("setup.cfg", tmp_path, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert [row.removesuffix(" BROKEN") for row in done.stdout.splitlines() if row.endswith(" BROKEN")] == [broken], done.stdout


def test_every_room_is_in_a_layer():
    """What import-linter's `exhaustive` says, said of the files: a new room must take its place."""
    layers = contracts()["importlinter:contract:layers"]["layers"].replace("|", "\n").split()
    listed = {layer.removeprefix("aitbc.") for layer in layers}
    rooms = {path.stem for path in (ROOT / "aitbc").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert listed == rooms - {"__init__"}


def imports(text):
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    from_names = [f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return from_names + [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]


def test_celeryconfig_imports_settings_queues_and_worker_only():
    """import-linter cannot watch a module outside of a package."""
    allowed = ("aitbc.settings.", "aitbc.tasks.queues.", "aitbc.worker.")
    found = imports((ROOT / "celeryconfig.py").read_text())
    assert found
    assert [name for name in found if not f"{name}.".startswith(allowed)] == []
    assert [name for name in imports("import flask\nfrom aitbc.tasks import enqueue") if not f"{name}.".startswith(allowed)]
