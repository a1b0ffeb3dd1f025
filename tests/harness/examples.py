"""The files of deploy/examples, changed as a user changes them: each place that is to be changed must be there."""

from collections.abc import Mapping
from pathlib import Path

from tests.harness.processes import ROOT

EXAMPLES = ROOT / "deploy/examples"


def example(name: str, changes: Mapping[str, object]) -> str:
    """The file's text with every key replaced by its value."""
    text = (EXAMPLES / name).read_text()
    for old, new in changes.items():
        assert old in text, f"deploy/examples/{name} has no {old!r}"
        text = text.replace(old, str(new))
    return text


def settings(name: str, changes: Mapping[str, object]) -> dict[str, str]:
    """A file of NAME=value lines, as an environment."""
    lines = [line for line in example(name, changes).splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def written(folder: Path, name: str, changes: Mapping[str, object]) -> Path:
    """The changed file in this folder, under its own name."""
    path = folder / Path(name).name
    path.write_text(example(name, changes))
    return path
