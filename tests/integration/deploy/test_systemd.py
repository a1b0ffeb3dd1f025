"""deploy/install.sh into a tree, and the tree's units: sound, confined, run as they are written, ended in time, upgraded under load."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aitbc.cli import commands
from aitbc.model.access import key_id_of
from aitbc.settings import Settings, catalogue
from tests.harness.agents import Agents, hang
from tests.harness.cluster import Api, Cluster
from tests.harness.load import Load
from tests.harness.processes import ROOT, environment, free_port, wait_for
from tests.harness.units import Service, Unit

API, WORKER, FLOWER = (f"aitbc-agent-coordinator{part}.service" for part in ("", "-worker@1", "-flower"))
UNITS = [API, WORKER, FLOWER]
NEXT = "9.9.9"


def run_install(source: Path, tree: Path) -> subprocess.CompletedProcess[str]:
    """Debian's Python: the service's user could not enter root's own."""
    command = ["bash", str(source / "deploy/install.sh"), "--root", str(tree)]
    return subprocess.run(command, cwd="/", env=environment(PYTHON="/usr/bin/python3"), capture_output=True, text=True)


def install(source: Path, tree: Path) -> str:
    done = run_install(source, tree)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """What install.sh makes of an empty directory. (Not under pytest's: those are closed to the service's user.)"""
    tree = Path(tempfile.mkdtemp(prefix="aitbc-tree-"))
    tree.chmod(0o755)
    assert "aitbc 0" in install(ROOT, tree)
    yield tree
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def with_systemd(tree: Path) -> Path:
    """The tree, with systemd's own units in it."""
    shutil.copytree("/usr/lib/systemd/system", tree / "usr/lib/systemd/system", symlinks=True)
    return tree


def modes(tree: Path, *names: str) -> list[tuple[str, bool]]:
    """Permissions, and whether the service's group (or user) has it."""
    uid, gid = Unit(tree, API).ids
    stats = [(tree / name).stat() for name in names]
    return [(f"{stat.st_mode & 0o7777:o}", stat.st_gid == gid and stat.st_uid in (0, uid)) for stat in stats]


def test_a_user_a_release_settings_and_units(tree: Path) -> None:
    assert "aitbc:x:" in (tree / "etc/passwd").read_text()
    assert modes(tree, "etc/aitbc", "etc/aitbc/.env", "var/lib/aitbc") == [("750", True), ("640", True), ("700", True)]
    lines = (tree / "etc/aitbc/.env").read_text().splitlines()
    made = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    assert len(base64.b64decode(made["AITBC_SECRET_KEY"])) == 32
    assert (key_id_of(made["AITBC_ADMIN_KEY"]), len(made["AITBC_ADMIN_KEY"])) == ("admin", 12 + 43)
    assert {f"#{env}={default}" for env, default, _ in catalogue()} - set(lines) == {f"#{env}=" for env in made}
    wanted = {path.name for path in (tree / "etc/systemd/system/multi-user.target.wants").iterdir()}
    assert wanted == {API, WORKER}
    said = subprocess.run([tree / "opt/aitbc/bin/aitbc", "--version"], cwd="/", capture_output=True, text=True)
    assert said.stdout.startswith("aitbc, version "), said
    assert (tree / "opt/aitbc/current/bin/celery").read_text().startswith("#!/opt/aitbc/releases/")
    names = {path.name.partition("-")[0] for path in (tree / "opt/aitbc/current/lib").glob("python*/site-packages/*.dist-info")}
    assert {"aitbc", "celery"} <= names
    assert not names & {"pytest", "mypy", "playwright"}


def test_again_changes_nothing(tree: Path) -> None:
    def state() -> dict[str, tuple[str, float]]:
        kept = [tree / "etc/aitbc/.env", tree / "opt/aitbc/current/bin/python", tree / "opt/aitbc/current/pyvenv.cfg"]
        return {path.name: (path.read_bytes().hex(), path.stat().st_mtime) for path in kept}

    before = state()
    install(ROOT, tree)
    assert state() == before
    assert len(list((tree / "opt/aitbc/releases").iterdir())) == 1


@pytest.mark.parametrize(("words", "said"), [(["--root", "/nowhere"], "needs a directory"), (["--user"], "only --root")])
def test_what_it_does_not_understand_it_refuses(words: list[str], said: str) -> None:
    done = subprocess.run(["bash", ROOT / "deploy/install.sh", *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr


def verify(tree: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "verify", f"--root={tree}", "--man=no", "--recursive-errors=no", name]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("name", UNITS)
def test_units_are_sound(with_systemd: Path, name: str) -> None:
    done = verify(with_systemd, name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_an_unsound_unit_is_found(with_systemd: Path) -> None:
    units = with_systemd / "etc/systemd/system"
    text = (units / API).read_text()
    (units / "planted.service").write_text(text.replace("/opt/aitbc/bin/aitbc", "/opt/aitbc/bin/nothing"))
    assert "not executable" in verify(with_systemd, "planted.service").stderr
    (units / "planted.service").write_text(text.replace("PrivateTmp=yes", "PrivateTemp=yes"))
    assert "PrivateTemp" in verify(with_systemd, "planted.service").stderr


@pytest.mark.parametrize("name", UNITS)
def test_units_are_confined(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = ROOT / "deploy" / name.replace("@1", "@")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    with capsys.disabled():
        print("\n" + done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_units_agree(tree: Path) -> None:
    """The same limits for all three; enough time to end."""
    hardening = [(ROOT / "deploy" / name.replace("@1", "@")).read_text().partition("# What it may not do.")[2] for name in UNITS]
    assert len({text.partition("[Install]")[0] for text in hardening}) == 1
    assert Unit(tree, WORKER).seconds("TimeoutStopSec") >= Settings().shutdown_timeout + 15
    assert [Unit(tree, name).get("RestartPreventExitStatus") for name in UNITS] == ["2"] * 3


class Machine:
    """The tree's services, run on a real Redis."""

    def __init__(self, tree: Path, cluster: Cluster) -> None:
        self.tree, self.cluster, self.port, self.flower_port = tree, cluster, free_port(), free_port()
        self.settings = tree / "etc/aitbc/.env"
        self.logs = Path(tempfile.mkdtemp(prefix="aitbc-logs-"))
        self.logs.chmod(0o755)
        self.change(REDIS_URL=cluster.redis_url, AITBC_PORT=self.port, AITBC_FLOWER_PORT=self.flower_port, AITBC_SHUTDOWN_TIMEOUT=2)
        self.change(FLOWER_BASIC_AUTH="me:secret", AITBC_API_WORKERS=1)
        self.services = {name: Service(Unit(tree, name), self.logs) for name in UNITS}
        self.api = Api(self.services[API], self.port)
        self.api.key = re.findall(r"^AITBC_ADMIN_KEY=(.*)$", self.settings.read_text(), re.MULTILINE)[0]

    def change(self, **settings: object) -> None:
        """As an operator edits the file."""
        text = self.settings.read_text()
        self.settings.write_text(text + "".join(f"{name}={value}\n" for name, value in settings.items()))

    def start(self, name: str) -> None:
        self.services[name].unit = Unit(self.tree, name)
        self.services[name].start()

    def ready(self) -> bool:
        return self.api.call("GET", "/ready")[0] == 200

    def rows(self) -> Any:
        url = f"http://127.0.0.1:{self.flower_port}/flower/api/tasks"
        request = urllib.request.Request(url, headers={"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def close(self) -> None:
        for service in self.services.values():
            service.kill()
        shutil.rmtree(self.logs)


@pytest.fixture
def machine(tree: Path, cluster: Cluster) -> Iterator[Machine]:
    machine = Machine(tree, cluster)
    yield machine
    machine.close()


def released(source: Path) -> Path:
    """A next release."""
    ignored = shutil.ignore_patterns("__pycache__", "examples")
    for name in ("aitbc", "deploy"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("celeryconfig.py", "constraints.txt", "constraints-dev.txt", "pyproject.toml", "README.md", "LICENSE", ".env.example"):
        shutil.copy(ROOT / name, source)
    text = (ROOT / "setup.cfg").read_text()
    (source / "setup.cfg").write_text(re.sub(r"^version = .*", f"version = {NEXT}", text, flags=re.MULTILINE))
    return source


def test_the_units_run_are_upgraded_under_load_and_end_in_time(machine: Machine, agents: Agents, tree: Path) -> None:
    """One flow: three services from the tree, work, an upgrade with a restart of each, a call that outlasts its worker's end."""
    api, services = machine.api, machine.services
    for name in UNITS:
        machine.start(name)
    wait_for(machine.ready, 20, "/ready")
    for service in services.values():
        status = Path(f"/proc/{service.pid}/status").read_text()
        uid, _ = service.unit.ids
        assert re.search(rf"^Uid:\s+{uid}\s.*^CapEff:\s+0+$.*^NoNewPrivs:\s+1$.*^Seccomp:\s+2$", status, re.MULTILINE | re.DOTALL)
    old = api.ok("GET", "/health")["version"]
    worker_agent = agents.start("a", delay=0.05)
    api.register("a", worker_agent.url, capabilities=["work"], secret="under the key of .env")
    assert api.task(api.submit(), wait=10)["state"] == "completed"
    wait_for(lambda: api.submit() and machine.rows(), 20, "Flower, which hears what happens once it is up,")
    seen = set(machine.rows())

    load = Load(lambda: api, pause=0.02)
    load.start()
    settings = machine.settings.read_bytes()
    assert f"aitbc {NEXT}" in install(released(tree / "next"), tree)
    before = len(load.accepted)
    wait_for(lambda: len(load.accepted) > before + 20, 10, "work to go on with the old release")
    assert api.ok("GET", "/health")["version"] == old
    for name in (WORKER, API, FLOWER):  # as `systemctl try-restart` does
        assert services[name].stop() == 0, services[name].tail()
        machine.start(name)
    before = len(load.accepted)
    wait_for(lambda: len(load.accepted) > before + 20, 20, "work to go on with the new one")
    accepted = load.end()
    assert {task["state"] for task in api.ended(accepted, 20).values()} == {"completed"}
    assert api.ok("GET", "/health")["version"] == NEXT
    assert machine.settings.read_bytes() == settings
    assert api.ok("GET", "/agents/a")["agent"]["has_secret"]
    assert len(list((tree / "opt/aitbc/releases").iterdir())) == 2  # the one before, to go back to
    wait_for(lambda: seen <= set(machine.rows()), 20, "Flower's rows of before its restart")
    machine.cluster.healthy()

    stuck = agents.start("stuck", hang)
    api.register("stuck", stuck.url, capabilities=["hang"])
    task_id = api.submit(requirements={"capabilities": ["hang"]})
    wait_for(lambda: stuck.working, 10, "the call")
    began = time.monotonic()
    assert services[WORKER].stop() == 0
    assert 2 <= time.monotonic() - began < services[WORKER].unit.seconds("TimeoutStopSec")
    assert [attempt["outcome"] for attempt in api.task(task_id)["attempts"]] == ["stopped"]
    assert services[API].stop() == services[FLOWER].stop() == 0


def test_a_package_that_is_not_the_pinned_one_is_refused_and_nothing_changes(tree: Path) -> None:
    source, before = released(tree / "tampered"), (tree / "opt/aitbc/current").readlink()
    text = (source / "constraints.txt").read_text()
    (source / "constraints.txt").write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", text))
    done = run_install(source, tree)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert (tree / "opt/aitbc/current").readlink() == before
    assert (tree / "opt/aitbc/current/bin/python").exists()


def test_a_wrong_setting_ends_a_service_for_good(machine: Machine) -> None:
    """Exit 2, which the units do not restart."""
    machine.change(AITBC_PORT="x")
    service = machine.services[WORKER]
    service.start()
    assert service.child is not None
    assert service.child.wait(10) == 2
    assert service.tail() == "aitbc: AITBC_PORT='x': a whole number is needed"


def test_commands_of_units_are_commands_of_ours(tree: Path) -> None:
    """What `aitbc worker` adds to a line and what the unit adds do not contradict each other: the last name counts."""
    assert Unit(tree, WORKER).command[1:] == ["worker", "-n", "aitbc-1@%h"]
    assert commands.worker()[-4:-2] == ["-n", "aitbc@%h"]
