"""The wheel holds all that runs, and setup.cfg asks for what was tested."""

import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser

import pytest
from packaging.requirements import Requirement

from bench.sizes import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def setup_cfg():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def requirements(text):
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {found.name: found for found in map(Requirement, filter(None, lines))}


def is_closed(requirement):
    """It has a lower and an upper bound, or is pinned."""
    operators = {spec.operator for spec in requirement.specifier}
    return bool(operators & {"==", "~="}) or (bool(operators & {">=", ">"}) and bool(operators & {"<", "<="}))


def test_the_wheel_holds_everything(tmp_path):
    """Built from a copy: a build leaves its traces in the tree."""
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    shutil.copytree(ROOT / "aitbc", source / "aitbc", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "celeryconfig.py", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    wheels.mkdir()
    done = subprocess.run([sys.executable, "-c", BUILD, wheels], cwd=source, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = wheels.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = {path.relative_to(source).as_posix() for path in (source / "aitbc").rglob("*") if path.is_file()}
    assert {name.rpartition(".")[2] for name in files} >= {"py", "lua", "typed"}
    assert sorted((files | {"celeryconfig.py"}) - packed) == []
    assert sorted(name for name in packed if name.startswith(("tests/", "docs/", "bench/"))) == []


def test_the_engine_stands_on_a_closed_range():
    """The worker engine leans on the insides of kombu and Celery: a new minor version is tried before it is allowed."""
    asked = requirements(setup_cfg()["options"]["install_requires"])
    assert [name for name in ("celery", "kombu") if not is_closed(asked[name])] == []


@pytest.mark.parametrize(("text", "closed"), [("a>=1,<2", True), ("a==1.2", True), ("a>=1", False), ("a<2", False), ("a", False)])
def test_a_range_is_judged(text, closed):
    assert is_closed(Requirement(text)) is closed


def locked_in(*names):
    """Package -> version of these files."""
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines()]
    return dict(line.split(" ")[0].split("==") for line in lines if "==" in line and line[0].isalnum())


def test_a_service_gets_what_it_needs_and_no_more():
    """constraints.txt, from which deploy/install.sh and the image are made."""
    run = locked_in("constraints.txt")
    assert set(requirements(setup_cfg()["options"]["install_requires"])) <= set(run)
    assert not {"pytest", "mypy", "playwright", "aiohttp"} & set(run)


def test_every_dependency_is_locked():
    """The files that installs are made from name every dependency in a version that setup.cfg allows."""
    locked = locked_in("constraints.txt", "constraints-dev.txt", "constraints-bench.txt")
    config = setup_cfg()
    extras = "\n".join(config["options.extras_require"].values())
    asked = requirements(config["options"]["install_requires"] + "\n" + extras)
    assert [name for name, found in asked.items() if not found.specifier.contains(locked.get(name, "0"), prereleases=True)] == []
