"""Steps as values: what they send, and how replies are read."""

import base64
import re

import pytest

from aitbc.errors import Conflict, Full, Invalid, NotFound
from aitbc.ledger import agents, leases, queues, scripts, step, sweep, tasks, workers
from aitbc.ledger.keys import BY_NAME, KEYS, lua_names
from aitbc.ledger.strategy import DEFAULT, STRATEGIES
from aitbc.ledger.tasks import TaskFilter
from aitbc.model.agent import AgentQuery, AgentType, Registration
from aitbc.model.job import Job
from aitbc.model.lease import Grant
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import ErrorCode, NewTask, TaskState
from aitbc.settings import Settings


def test_texts():
    assert step.text(b"\xc3\xa4") == "ä"
    assert step.text(b"\xff") == "�"
    assert (step.text(None), step.text(5), step.text("x")) == ("", "5", "x")
    assert step.texts([b"a", 1]) == ["a", "1"]


def test_times():
    assert step.micros(1.2345678) == 1234568
    assert step.iso(b"1500000") == "1970-01-01T00:00:01.500000+00:00"
    assert step.iso("1.5e6") == step.iso(1500000)
    assert [step.iso_or_none(value) for value in (None, b"", "", b"0", "0")] == [None] * 5
    assert step.iso_or_none(b"1000000") == "1970-01-01T00:00:01.000000+00:00"


@pytest.mark.parametrize("rank", range(5))
def test_grants(rank):
    [grant] = step.grants([f"t-1~x:{rank} {rank} 2".encode()])
    assert (grant.lease_id, grant.priority.rank, grant.task_id, grant.retries) == (f"t-1~x:{rank}", rank, "t-1~x", 2)


def test_a_submit():
    task = NewTask("t", "{}", Priority.HIGH, Requirements(), "d", run_timeout=1.5, delay=2, idempotent=True)
    sent = tasks.submit(task)
    assert sent.script == "submit"
    assert sent.args == ("t", "d", 2, "any", "", 0, "{}", "{}", 3, 1500000, 0, 2000000, 0, "", "1", "", "", "", "", "", "", "")
    assert sent.parse([b"created", b"t", 1000000, 1]) == tasks.Submitted(
        "t", "1970-01-01T00:00:01.000000+00:00", created=True, publish=True
    )


def test_a_submit_with_its_job_and_many():
    task = NewTask("t", "{}", Priority.HIGH, Requirements(), "d")
    assert tasks.submit(task, Job("high", b"{}")).args[-2:] == ("high", b"{}")
    sent = tasks.submit_many([(task, Job("high", b"{}")), (task, None)])
    assert sent.args == tasks.submit(task, Job("high", b"{}")).args + tasks.submit(task).args
    created, conflict, full = sent.parse([b"created", b"t", 1, 0, b"conflict", b"t", 1, 0, b"full", b"t", 1, 0])
    assert (created.publish, type(conflict), type(full)) == (False, Conflict, Full)


def test_an_agents_terms():
    agent = Registration("a", AgentType.WORKER, ("y", "x"), ("s",), {"http": "u"}, tags=("t",), heartbeat_timeout=2, weight=2.0)
    sent = agents.register(agent)
    assert sent.args[:5] == ("a", "\nany\ncap:x\ncap:y\nsvc:s\ntag:t\ntype:worker\n", 2000000, "", "1")
    record = dict(zip(sent.args[5::2], sent.args[6::2], strict=True))
    assert (record["_kind"], record["_url"], record["max_concurrency"]) == ("http", "u", 10)


@pytest.mark.parametrize(
    ("metrics", "load"),
    [({}, 0), ({"cpu": 0.5}, 500), ({"cpu": 2.0, "memory": -1.0}, 500), ({"cpu": 1, "memory": 1, "queue": 1, "x": 9}, 1000), ({"x": 1}, 0)],
)
def test_load(metrics, load):
    assert agents.load_of(metrics) == load


def test_a_heartbeat_without_metrics_changes_none():
    assert agents.heartbeat("a", None, ["t:1"]).args == ("a", "", "", "t:1")
    assert agents.heartbeat("a", {}).args == ("a", "{}", 0)
    with pytest.raises(NotFound, match="Agent a not found"):
        agents.heartbeat("a").parse([])


def test_discover_asks_the_index():
    query = AgentQuery(status="active", agent_type="worker", capabilities=("x",), services=("s",), tags=("t",), min_health_score=0.75)
    assert agents.discover(query).args == (1000, 8, "cap:x", "status:active", "svc:s", "tag:t", "type:worker")
    assert agents.discover(AgentQuery()).args == (1000, 0, "any")


def test_agent_cursors():
    assert agents.page(5).args == (5, "", "")
    assert agents.page(5, "a:x").args == (5, "x", "")
    assert agents.page(5).parse([0]).next_cursor is None
    with pytest.raises(Invalid):
        agents.page(5, "x")


def test_task_cursors():
    assert tasks.page(TaskFilter(), 5).args == ("all", "", "", 5, "+inf", "", "")
    cursor = base64.urlsafe_b64encode(b"17.5 t1").decode()
    where = TaskFilter(TaskState.FAILED, Priority.LOW, "a")
    assert tasks.page(where, 5, cursor).args == ("failed", 4, "a", 5, "17.5", "t1", "")
    for wrong in ("", "!", "x", base64.urlsafe_b64encode(b"x y").decode(), "é", base64.urlsafe_b64encode(b"\xff").decode()):
        with pytest.raises(Invalid):
            tasks.page(TaskFilter(), 5, wrong)


def test_an_outcome_and_its_digest():
    done = Outcome(Verdict.COMPLETED, result="[1]")
    failed = Outcome(Verdict.COUNTED, AgentSays.BAD, code=ErrorCode.AGENT_FAILED, message="m", http_status=500, pause=1.5)
    sent = leases.finish("t:1", "hash", done, worker="w", spare_hash="spare")
    assert sent.args[:9] == ("t:1", "w", "hash", "completed", "[1]", "", "", "ok", 0)
    assert sent.args[10] == "spare"
    assert leases.finish("t:1", "hash", failed).args[:9] == ("t:1", "", "hash", "counted", "m", "agent_failed", 500, "bad", 1500000)
    digests = {leases.finish("t:1", "h", outcome).args[9] for outcome in (done, failed, Outcome(Verdict.COMPLETED, result="[2]"))}
    assert len(digests) == 3


def test_refusals_of_begin_and_finish():
    assert leases.begin("t:1", "w", "h").parse([b"gone"]) == leases.Begun(None, "gone", [])
    assert leases.finish("t:1", "h", Outcome(Verdict.FINAL)).parse([b"gone"]) == leases.Ended("gone", None, [])
    returned = leases.route("t", "w", "h").parse([b"returned", b"", b"u:2 3 0"])
    assert returned.grants == [Grant("u:2", Priority.NORMAL)]


def test_a_renewal():
    assert leases.renew("t:1", "h").parse([b"cancel", 2500000]) == leases.Renewed(cancel=True, expires=2.5)
    for lease in ("t:1", "t"):
        with pytest.raises(NotFound, match="Task t not found"):
            leases.renew(lease, "h").parse([b"unknown"])


def test_other_steps():
    assert queues.pause(Priority.LOW).args == (4, 1)
    assert queues.clear(Priority.URGENT).parse([2, 99, 1]) == (2, 99, True)
    assert workers.alive("w", first=True).args == ("w", "1", "1", "")
    assert [one.script for one in sweep.steps()] == ["sweep_clock", "sweep_agents", "sweep_leases", "sweep_tasks", "sweep_match"]
    assert sweep.turn("w").args == ("w", 900)


# -- scripts


def test_every_step_names_a_script_that_is_there():
    loaded = scripts.load(Settings())
    assert set(scripts.names()) == set(loaded)
    assert not set(scripts.PARTS) & set(loaded)
    for script in loaded.values():
        assert script.text.count("local call = redis.call") == 1
        assert len(script.sha) == 40


def test_settings_and_offset_are_compiled_in():
    loaded = scripts.load(Settings(max_live_tasks=7, ageing=1.5, keep_tasks=2), "12", {**scripts.FIXED, "GRANTS": 3})
    assert "(n.cancelled or 0) < 7\n" in loaded["submit"].text
    assert "clock[2] + 12\n" in loaded["submit"].text
    assert "now - 2000000)" in loaded["sweep_tasks"].text
    assert "while #grants < 3 do" in loaded["route"].text
    assert "- p * (1125899906842624 - 1500000)" in loaded["route"].text


def test_a_script_holds_what_its_verb_reaches():
    loaded = scripts.load(Settings())
    for script in loaded.values():
        functions = re.findall(r"^local function (\w+)", script.text, re.MULTILINE)
        assert len(functions) == len(set(functions))
        code = re.sub(r"--.*|'[^'\n]*'", "", script.text)
        assert not [name for name in functions if len(re.findall(rf"\b{name}\b", code)) < 2]
        assert not [word for word in re.findall(r"\b[A-Z][A-Z_]+\b", code) if word in scripts.FIXED or word in BY_NAME]
    assert "local function sweep" not in loaded["read_task"].text


def test_keys():
    assert BY_NAME["TASK"] == "task:"
    assert len({key.prefix for key in KEYS}) == len(KEYS)
    assert lua_names()["TASK"] == "'task:'"


def test_strategies():
    assert DEFAULT in STRATEGIES
    assert all(strategy.meaning and bool(strategy.load) != bool(strategy.score) for strategy in STRATEGIES.values())
