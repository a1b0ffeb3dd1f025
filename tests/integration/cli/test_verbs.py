"""Each verb of the command line against a stand-in of the API: what it asks, prints, and exits with."""

import json

import pytest
from click.testing import CliRunner

from aitbc.cli import main

AGENT = {
    "agent_id": "a1",
    "agent_type": "worker",
    "status": "active",
    "capabilities": ["x", "y"],
    "endpoints": {"http": "http://h"},
    "active": 0,
}


@pytest.fixture
def run(coordinator):
    def invoke(*args, stdin=None):
        return CliRunner(env={"AITBC_URL": coordinator.url}).invoke(main, args, input=stdin)

    return invoke


def test_agents_list(coordinator, run):
    coordinator.on("GET", "/agents", (200, {"agents": [AGENT], "count": 1, "next_cursor": "c2"}))
    result = run("agents", "list")
    assert result.exit_code == 0
    head, line = result.stdout.splitlines()
    assert head.split() == ["AGENT", "TYPE", "STATUS", "BREAKER", "ACTIVE", "SLOTS", "HEALTH", "CAPABILITIES", "ENDPOINT"]
    assert line.split() == ["a1", "worker", "active", "-", "0", "-", "-", "x,", "y", "http://h"]
    assert result.stderr == "there is more: --cursor c2\n"


def test_agents_list_by_filter_is_a_discovery(coordinator, run):
    coordinator.on("POST", "/agents/discover", (200, {"agents": [], "count": 0}))
    result = run("agents", "list", "--capability", "x", "--status", "active", "--limit", "5")
    assert result.stdout == "no agents\n"
    assert coordinator.calls[0][2] == {"status": "active", "capabilities": ["x"], "limit": 5}
    assert run("agents", "list", "--capability", "x", "--cursor", "c").exit_code == 2


def test_json_is_the_answer_alone_on_stdout(coordinator, run):
    answer = {"agents": [AGENT], "count": 1, "next_cursor": "c2"}
    coordinator.on("GET", "/agents", (200, answer))
    result = run("--json", "agents", "list")
    assert json.loads(result.stdout) == answer
    assert not result.stderr


def test_agents_show(coordinator, run):
    coordinator.on("GET", "/agents/a1", (200, {"agent": AGENT}))
    assert "capabilities  x, y\n" in run("agents", "show", "a1").stdout
    assert json.loads(run("agents", "show", "a1", "--json").stdout) == AGENT


def test_agents_register(coordinator, run):
    coordinator.on("POST", "/agents/register", (200, {"status": "success", "message": "Agent a1 registered successfully"}))
    result = run("agents", "register", "a1", "http://h", "--capability", "x", "--max-concurrency", "3")
    assert result.stdout == "Agent a1 registered successfully\n"
    body = coordinator.calls[0][2]
    assert body["endpoints"] == {"http": "http://h"}
    assert (body["capabilities"], body["max_concurrency"], body["heartbeat_timeout"]) == (["x"], 3, 0)


@pytest.mark.parametrize(
    ("args", "method", "path", "text"),
    [
        (("agents", "drain", "a1"), "POST", "/agents/a1/drain", "no new work"),
        (("agents", "resume", "a1"), "POST", "/agents/a1/resume", "works again"),
        (("agents", "remove", "a1"), "DELETE", "/agents/a1", "goes with its last task"),
        (("tasks", "cancel", "t1"), "POST", "/tasks/t1/cancel", "is cancelled"),
        (("tasks", "retry", "t1"), "POST", "/tasks/t1/retry", "runs again"),
        (("queues", "pause", "HIGH"), "POST", "/tasks/queues/high/pause", "is paused"),
        (("queues", "resume", "high"), "POST", "/tasks/queues/high/resume", "is served again"),
        (("queues", "clear", "high", "--yes"), "POST", "/tasks/queues/high/clear", "7 tasks were cancelled"),
    ],
)
def test_verbs_that_change_one_thing(coordinator, run, args, method, path, text):
    coordinator.on(method, path, (200, {"status": "success", "cleared_count": 7}))
    assert text in run(*args).stdout
    assert json.loads(run(*args, "--json").stdout)["status"] == "success"
    assert [call[:2] for call in coordinator.calls] == [(method, path)] * 2


def test_clear_wants_to_be_sure(coordinator, run):
    result = run("queues", "clear", "low")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert not coordinator.calls


def test_clear_goes_on_while_there_is_more(coordinator, run):
    answers = [(200, {"cleared_count": 1000, "more": True}), (200, {"cleared_count": 5, "more": False})]
    coordinator.on("POST", "/tasks/queues/low/clear", *answers)
    assert run("queues", "clear", "low", "-y").stdout == "1005 tasks were cancelled\n"


def test_queues_list(coordinator, run):
    coordinator.on("GET", "/tasks/queues/stats", (200, {"queue_sizes": {"urgent": 0, "normal": 12}, "paused": ["low"]}))
    lines = run("queues", "list").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["urgent", "0"],
        ["critical", "0"],
        ["high", "0"],
        ["normal", "12"],
        ["low", "0", "paused"],
    ]


def test_tasks_list(coordinator, run):
    failed = {"task_id": "t1", "state": "failed", "priority": "low", "error": {"code": "poison", "message": "m"}}
    coordinator.on("GET", "/tasks.*", (200, {"tasks": [failed], "count": 1, "next_cursor": None}))
    result = run("tasks", "list", "--state", "failed", "--agent", "a1", "--limit", "3")
    assert result.stdout.splitlines()[1].split() == ["t1", "failed", "low", "-", "-", "poison"]
    assert coordinator.calls[0][1] == "/tasks?state=failed&agent_id=a1&limit=3"


def test_tasks_submit(coordinator, run):
    coordinator.on("POST", "/tasks/submit", (200, {"status": "success", "task_id": "t1"}))
    result = run("tasks", "submit", '{"n": 1}', "--priority", "HIGH", "--capability", "x", "--agent-type", "worker", "--max-attempts", "1")
    assert result.stdout == "t1\n"
    body = coordinator.calls[0][2]
    assert body == {
        "task_data": {"n": 1},
        "priority": "high",
        "requirements": {"agent_type": "worker", "capabilities": ["x"]},
        "max_attempts": 1,
    }


def test_tasks_submit_from_stdin(coordinator, run):
    coordinator.on("POST", "/tasks/submit", (200, {"task_id": "t1"}))
    run("tasks", "submit", "-", stdin='{"n": 2}')
    assert coordinator.calls[0][2] == {"task_data": {"n": 2}, "priority": "normal"}


def test_tasks_submit_batch(coordinator, run):
    accepted, refused = {"status": "success", "task_id": "t1"}, {"status": 400, "detail": "Invalid priority: soon"}
    coordinator.on("POST", "/tasks/submit/batch", (200, {"results": [accepted, refused]}))
    result = run("tasks", "submit-batch", "-", stdin='{"task_data": {}}\n\n{"task_data": {}, "priority": "soon"}\n')
    assert coordinator.calls[0][2] == {"tasks": [{"task_data": {}}, {"task_data": {}, "priority": "soon"}]}
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["t1", "success", "-"],
        ["-", "400", "Invalid", "priority:", "soon"],
    ]
    assert result.exit_code == 1


def test_a_batch_of_more_than_a_thousand_lines_goes_in_several_calls(coordinator, run):
    coordinator.on("POST", "/tasks/submit/batch", (200, {"results": [{"status": "success", "task_id": "t"}]}))
    assert run("tasks", "submit-batch", "-", stdin='{"task_data": {}}\n' * 1001).exit_code == 0
    assert [len(body["tasks"]) for _, _, body in coordinator.calls] == [1000, 1]


@pytest.mark.parametrize("wait", ["--wait", "--wait=5"])
def test_submit_and_wait(coordinator, run, wait):
    coordinator.on("POST", "/tasks/submit", (200, {"task_id": "t1"}))
    coordinator.on("GET", "/tasks/t1.*", coordinator.task("running"), coordinator.task("completed", result={"words": 2}))
    result = run("tasks", "submit", "{}", wait)
    assert (result.exit_code, result.stdout, result.stderr) == (0, '{"words": 2}\n', "task t1 is submitted\n")


def test_a_failed_task_exits_1(coordinator, run):
    coordinator.on("GET", "/tasks/t1", coordinator.task("failed", error={"code": "agent_failed", "message": "no paper"}))
    result = run("tasks", "wait", "t1")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "failed\n", "aitbc: task t1 failed: no paper\n")
    assert json.loads(run("tasks", "wait", "t1", "--json").stdout)["error"]["code"] == "agent_failed"


def test_a_wait_that_is_over_exits_124(coordinator, run):
    coordinator.on("GET", "/tasks/t1.*", coordinator.task("waiting"))
    result = run("tasks", "wait", "t1", "--timeout", "0.1")
    assert (result.exit_code, result.stdout) == (124, "")
    assert result.stderr == "aitbc: Task t1 is still waiting after 0.1 s\n"


@pytest.mark.parametrize(("status", "code"), [(404, 3), (401, 4), (422, 2), (409, 5), (429, 75), (500, 70)])
def test_a_refusal_is_one_line_and_an_exit_code(coordinator, run, status, code):
    coordinator.on("GET", "/tasks/t1", coordinator.problem(status, "Task t1 is odd"))
    result = run("tasks", "show", "t1", "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "aitbc: Task t1 is odd\n")


def test_unreachable_exits_69(coordinator, run):
    coordinator.down()
    result = run("queues", "list")
    assert (result.exit_code, result.stdout) == (69, "")
    assert "cannot be reached: Connection refused" in result.stderr


@pytest.fixture
def ledger(monkeypatch):
    """The ledger's examination is the ledger's own business: here it says what the test wants."""
    said = {"warnings": [], "violations": []}
    monkeypatch.setattr("aitbc.cli.doctor.redis_warnings", lambda _: said["warnings"])
    monkeypatch.setattr("aitbc.cli.doctor.ledger_violations", lambda _: said["violations"])
    return said


def test_doctor(coordinator, run, ledger):
    coordinator.on("GET", "/health", (200, {"status": "healthy", "version": "1"}))
    coordinator.on("GET", "/ready", (200, {"status": "ready"}))
    result = run("doctor", "--ledger")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["ok", "api"], ["ok", "ready"], ["ok", "redis"], ["ok", "ledger"]]
    ledger["warnings"].append("L1 does not hold: appendfsync is everysec")
    assert run("doctor").exit_code == 0
    ledger["violations"].append("task t1 is in two places")
    result = run("doctor", "--ledger", "--json")
    assert result.exit_code == 1
    assert [f["state"] for f in json.loads(result.stdout)["findings"]] == ["ok", "ok", "warning", "failed"]


def test_doctor_names_what_is_missing(coordinator, run, ledger):
    coordinator.on("GET", "/health", (200, {"status": "healthy", "version": "1"}))
    coordinator.on("GET", "/ready", coordinator.problem(503, "no worker polls"))
    result = run("doctor")
    assert (result.exit_code, "no worker polls" in result.stdout) == (1, True)
    coordinator.down()
    result = run("doctor")
    assert result.exit_code == 69
    assert "`aitbc up`" in result.stdout


@pytest.mark.parametrize(("given", "used"), [({}, "redis://127.0.0.1:5/1"), ({"REDIS_URL": "redis://h/1"}, "redis://h/1")])
def test_doctor_looks_at_the_embedded_redis_of_this_directory(monkeypatch, given, used):
    from aitbc.cli import base

    monkeypatch.setattr("aitbc.embedded.running_url", lambda _: "redis://127.0.0.1:5/1")
    monkeypatch.delenv("REDIS_URL", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert base.node_settings().redis_url == used


def test_doctor_tells_of_a_redis_that_is_away(coordinator, run, monkeypatch):
    from aitbc.errors import LedgerAway

    def away(_):
        raise LedgerAway("the ledger (Redis) does not answer")

    monkeypatch.setattr("aitbc.cli.doctor.redis_warnings", away)
    coordinator.on("GET", "/.*", (200, {"status": "ready", "warnings": ["L1 does not hold: appendonly is off"]}))
    result = run("doctor")
    assert result.exit_code == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()][1:] == [["ok", "ready"], ["warning", "ready"], ["failed", "redis"]]
