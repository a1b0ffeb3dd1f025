"""The supervisor with harmless real processes: restarts what dies, ends all in order, kills what is stubborn, leaves nothing behind."""

import io
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from aitbc.cli import commands, main, plan
from aitbc.cli.children import Service
from aitbc.cli.supervisor import Supervisor
from aitbc.embedded import free_port

TOLD = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('[INFO] term', flush=True), sys.exit(0)));"
SLEEPS = TOLD + " print('[INFO] begun', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('[INFO] begun', flush=True); time.sleep(60)"


def service(name, code=SLEEPS, **fields):
    return Service(name, [sys.executable, "-c", code], **fields)


class Stage:
    """A supervisor in this (the main) thread; `drive` runs beside it and stops it at its end."""

    def __init__(self):
        self.said, self.lines, self.ended_at = [], [], {}

    def output(self, line, _):
        self.lines.append(line)
        if line.endswith("term"):
            self.ended_at[line.split("|")[0].strip()] = time.monotonic()

    def run(self, services, drive, **options):
        supervisor = Supervisor(services, self.said.append, self.output, **options)
        problems = []

        def beside():
            try:
                drive(supervisor)
            except BaseException as exc:  # told to the test below
                problems.append(exc)
            finally:
                supervisor.stop()

        thread = threading.Thread(target=beside)
        thread.start()
        supervisor.run()
        thread.join()
        if problems:
            raise problems[0]
        assert all(child.pid is None for child in supervisor.children)
        return supervisor

    def begun(self, name):
        return sum(1 for line in self.lines if line == f"{name:<7}| [INFO] begun")


@pytest.fixture
def stage():
    return Stage()


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ends_in_order(stage, eventually):
    services = [service("redis", ends=3), service("api", ends=1), service("worker", ends=0), service("agent", ends=2)]
    stage.run(services, lambda _: eventually(lambda: all(stage.begun(s.name) for s in services)), verbose=True)
    assert sorted(stage.ended_at, key=stage.ended_at.__getitem__) == ["worker", "api", "agent", "redis"]
    assert not stage.said


def test_starts_the_next_when_one_is_ready(stage, eventually):
    ready = threading.Event()

    def drive(_):
        eventually(lambda: stage.begun("first"))
        time.sleep(0.2)
        assert not stage.begun("second")
        ready.set()
        eventually(lambda: stage.begun("second"))

    stage.run([service("first", ready=ready.is_set), service("second")], drive, verbose=True)


def test_stops_while_something_is_not_ready(stage, eventually):
    services = [service("first", ready=lambda: False), service("second")]
    stage.run(services, lambda _: eventually(lambda: stage.begun("first")), verbose=True)
    assert not stage.begun("second")


def test_restarts_what_dies_and_says_so(stage, eventually):
    def drive(supervisor):
        eventually(lambda: stage.begun("worker"))
        first = supervisor.children[0].pid
        os.kill(first, signal.SIGKILL)
        eventually(lambda: stage.begun("worker") == 2)
        assert supervisor.children[0].pid != first

    stage.run([service("worker"), service("api")], drive, verbose=True)
    assert stage.said == ["worker ended (killed by signal 9); it is started again in 0.2 s"]
    assert stage.begun("api") == 1


def test_waits_longer_each_time(stage, eventually):
    stage.run([service("bad", "raise SystemExit(3)")], lambda _: eventually(lambda: len(stage.said) == 3))
    assert [text.rpartition(" in ")[2] for text in stage.said] == ["0.2 s", "0.4 s", "0.8 s"]
    assert all(text.startswith("bad ended (exit 3)") for text in stage.said)


def test_what_a_dead_process_leaves_of_its_group_is_killed(stage, eventually, tmp_path):
    note = tmp_path / "pid"
    code = f"import subprocess, time; p = subprocess.Popen(['sleep', '60']); open({str(note)!r}, 'w').write(str(p.pid)); time.sleep(60)"

    def drive(supervisor):
        grandchild = int(eventually(lambda: note.exists() and note.read_text()))
        os.kill(supervisor.children[0].pid, signal.SIGKILL)
        eventually(lambda: not _alive(grandchild))

    stage.run([service("api", code)], drive)


def test_kills_the_stubborn(stage, eventually):
    begin = []

    def drive(_):
        eventually(lambda: stage.begun("worker") and stage.begun("api"))
        begin.append(time.monotonic())

    stage.run([service("worker", STUBBORN, grace=0.5), service("api", ends=1)], drive, verbose=True)
    assert 0.5 <= time.monotonic() - begin[0] < 3
    assert stage.said[0].startswith("worker is killed: it has not ended in 0.")
    assert "api" in stage.ended_at


def test_the_end_is_over_in_time_whatever_the_graces_add_up_to(stage, eventually):
    begin = []
    services = [service(name, STUBBORN, grace=60, ends=n) for n, name in enumerate(("worker", "api"))]

    def drive(_):
        eventually(lambda: stage.begun("worker") and stage.begun("api"))
        begin.append(time.monotonic())

    stage.run(services, drive, verbose=True, within=1.5)
    assert 1.5 <= time.monotonic() - begin[0] < 3
    assert [text.partition(" in ")[0] for text in stage.said] == [f"{s.name} is killed: it has not ended" for s in services]


def test_a_second_stop_kills_at_once(stage, eventually):
    begin = []

    def drive(supervisor):
        eventually(lambda: stage.begun("worker") and stage.begun("api"))
        begin.append(time.monotonic())
        supervisor.stop()
        time.sleep(0.1)
        supervisor.stop()

    stage.run([service("worker", STUBBORN, grace=60), service("api", STUBBORN, ends=1, grace=60)], drive, verbose=True)
    assert time.monotonic() - begin[0] < 3
    assert stage.said == ["worker is killed", "api is killed"]


def test_output_has_the_name_and_is_quiet_by_default(stage, eventually):
    code = (
        "import sys, time; print('banner'); print('[INFO] x'); print('[WARNING] hot', flush=True);"
        "print('boom', file=sys.stderr); time.sleep(60)"
    )
    stage.run([service("api", code)], lambda _: eventually(lambda: len(stage.lines) >= 2))
    assert sorted(stage.lines) == ["api    | [WARNING] hot", "api    | boom"]


SCRIPT = """
import signal, sys
from aitbc.cli.children import Service
from aitbc.cli.supervisor import Supervisor

def say(line, *_):
    print(line, flush=True)

CHILD = "import os, time; print('[ERROR]', os.getpid(), flush=True); time.sleep(60)"
supervisor = Supervisor([Service("child", [sys.executable, "-c", CHILD])], say, say)
signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
supervisor.run()
print("over", flush=True)
"""


def _child_of(process):
    return int(process.stdout.readline().split()[-1])


def test_a_signal_ends_it(spawn, python):
    process = spawn(python, "-c", SCRIPT)
    child = _child_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stdout.read() == "over\n"
    assert not _alive(child)


def test_nothing_outlives_a_supervisor_that_was_killed(spawn, python, eventually):
    process = spawn(python, "-c", SCRIPT)
    child = _child_of(process)
    assert _alive(child)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    eventually(lambda: not _alive(child))


@pytest.fixture
def harmless(monkeypatch, coordinator):
    """`aitbc up` whose services sleep, and whose API is the stand-in that runs already."""
    for name in ("api", "worker", "flower"):
        monkeypatch.setattr(commands, name, lambda *_: [sys.executable, "-c", SLEEPS])
    monkeypatch.setattr(plan, "check_port", lambda *_: None)
    monkeypatch.setattr(plan, "ask", lambda host, port: "" if port == 6379 else plan_ask(host, port))
    return coordinator


plan_ask = plan.ask


@pytest.fixture
def up(harmless, tmp_path):
    """Run `aitbc up` in this thread; `until` runs beside it, then it gets SIGTERM."""

    def run(*args, until):
        env = {"AITBC_PORT": str(harmless.port), "AITBC_VAR": str(tmp_path / "var"), "AITBC_FLOWER_PORT": "0", "REDIS_URL": None}
        problems = []

        def beside():
            try:
                until()
            except BaseException as exc:
                problems.append(exc)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        thread = threading.Thread(target=beside)
        thread.start()
        result = CliRunner(env=env).invoke(main, ["up", *args])
        thread.join()
        signal.signal(signal.SIGTERM, before)
        assert not problems, result.output
        return result

    return run


def test_up_says_where_everything_is(harmless, up, eventually, tmp_path):
    harmless.on("GET", "/ready", harmless.problem(503, "no worker polls"), (200, {"status": "ready"}))

    def until():
        eventually(lambda: harmless.count("GET", "/ready") == 2)
        time.sleep(0.3)

    result = up(until=until)
    assert result.exit_code == 0, result.output
    assert f"\n  API       {harmless.url}\n" in result.stdout
    assert f"embedded; data in {tmp_path}/var/redis" in result.stdout
    assert result.stderr.splitlines()[-1] == "aitbc  | everything has ended"
    assert list((tmp_path / "var" / "redis").glob("appendonly*"))  # a file; a folder from Redis 7 on
    assert not (tmp_path / "var" / "redis" / "url").exists()


def test_up_with_the_demo(harmless, up, eventually, monkeypatch):
    ports = {f"demo-{n}": free_port() for n in (1, 2, 3)}
    monkeypatch.setattr(plan, "DEMO_AGENTS", ports)
    harmless.on("GET", "/ready", (200, {"status": "ready"}))
    harmless.on("POST", "/agents/register", (200, {"status": "success"}))
    harmless.on("GET", "/agents/.*", harmless.problem(404, "not found"), (200, {"agent": {"status": "active"}}))
    harmless.on("POST", "/tasks/submit", (200, {"task_id": "t1"}))
    harmless.on("GET", "/tasks/t1", harmless.task("completed", agent_id="demo-2", result={"words": 10}))

    def until():
        eventually(lambda: harmless.count("GET", "/tasks/t1"))
        eventually(lambda: harmless.count("POST", "/agents/register") >= 3)
        time.sleep(0.3)

    result = up("--demo", "--json", until=until)
    where, task = (json.loads(line) for line in result.stdout.splitlines())
    assert where["api"] == harmless.url
    assert f"demo-3 http://127.0.0.1:{ports['demo-3']}" in where["agents"]
    assert (task["agent_id"], task["result"]) == ("demo-2", {"words": 10})
    submitted = next(body for method, path, body in harmless.calls if path == "/tasks/submit")
    assert submitted["requirements"] == {"capabilities": ["data-processing"], "services": ["task-execution"]}


def test_a_demo_that_does_not_work_is_told_and_up_goes_on(harmless, up, eventually, monkeypatch):
    monkeypatch.setattr(plan, "DEMO_AGENTS", {"demo-1": free_port()})
    harmless.on("GET", "/ready", (200, {"status": "ready"}))
    harmless.on("POST", "/agents/register", (200, {"status": "success"}))
    harmless.on("GET", "/agents/.*", (200, {"agent": {"status": "active"}}))
    harmless.on("POST", "/tasks/submit", harmless.problem(429, "1000000 tasks live"))

    def until():
        eventually(lambda: harmless.count("POST", "/tasks/submit"))
        time.sleep(0.3)

    result = up("--demo", until=until)
    assert result.exit_code == 0
    assert "the demo did not work: 1000000 tasks live" in result.stderr


def test_a_port_that_is_taken_exits_2():
    env = {"AITBC_PORT": "0", "AITBC_FLOWER_PORT": "0"}
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner(env={**env, "AITBC_PORT": str(port)}).invoke(main, ["up"])
    assert result.exit_code == 2
    assert result.stderr == f"aitbc: 127.0.0.1 port {port}, which the API needs, is taken: AITBC_HOST and AITBC_PORT name another\n"


def test_a_terminal_that_has_gone_is_no_reason_to_end():
    from aitbc.cli.up import _print

    gone = io.StringIO()
    gone.close()
    _print("x", gone)
