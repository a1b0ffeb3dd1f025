"""`aitbc keys` on a real Redis; who sends which key; what does not start without one."""

import json
import re
import stat
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from aitbc.agent import Agent
from aitbc.cli import main, services
from aitbc.client import ApiError, Client
from aitbc.errors import Invalid, Misconfigured
from aitbc.model.access import key_id_of

ADMIN_KEY = "aitbc_admin_" + "s" * 43


@pytest.fixture
def run(cluster, monkeypatch):
    """A command on a Redis of its own: exit code, stdout, stderr."""
    monkeypatch.delenv("AITBC_API_KEY", raising=False)

    def invoke(*args, **env):
        return CliRunner(env={"REDIS_URL": cluster.redis_url, **env}).invoke(main, args)

    return invoke


def listed(run):
    return json.loads(run("keys", "list", "--json").stdout)["keys"]


def test_a_keys_life(run):
    made = run("keys", "create", "ci", "--scope", "submit", "--expires", "90d")
    text = made.stdout.strip()
    assert re.fullmatch(r"aitbc_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text), "the key alone is on stdout"
    key_id = key_id_of(text)
    assert text not in made.stderr
    (key,) = listed(run)
    assert (key["key_id"], key["name"], key["scopes"], key["state"]) == (key_id, "ci", ["submit"], "good")
    assert key["expires_at"][:4] > key["created_at"][:4] or key["expires_at"] > key["created_at"]
    new = json.loads(run("keys", "rotate", key_id, "--overlap", "10m", "--json").stdout)["api_key"]
    assert (key_id_of(new), new != text, listed(run)[0]["state"]) == (key_id, True, "rotating")
    assert run("keys", "rotate", key_id, "--overlap", "0s").exit_code == 0
    assert listed(run)[0]["state"] == "good"
    assert "within 5 s" in run("keys", "revoke", key_id).stdout
    assert run("keys", "list").stdout == "no keys\n"
    rows = json.loads(run("keys", "audit", "--json").stdout)["entries"]
    assert [(row["what"], row["target"]) for row in rows] == [
        ("revoke", key_id),
        ("rotate", key_id),
        ("rotate", key_id),
        ("create", key_id),
    ]
    assert all("@" in row["who"] for row in rows)
    assert run("keys", "audit", "--key", "nobody").stdout == "no entries\n"
    assert text not in run("keys", "audit").stdout


def test_what_is_not_there_or_cannot_be(run, cluster):
    for verb in ("rotate", "revoke"):
        gone = run("keys", verb, "0123")
        assert (gone.exit_code, gone.stderr) == (3, "aitbc: API key 0123 not found\n")
    assert run("keys", "create", "x", "--scope", "root").exit_code == 2
    assert "such as 90d" in run("keys", "create", "x", "--expires", "soon").stderr
    assert run("keys", "create", "x", "--expires", "4000d").exit_code == 2
    assert run("keys", "create", "").exit_code == run("keys", "create", "a\nb").exit_code == 2
    default = json.loads(run("keys", "create", "x", "--json").stdout)
    assert (default["scopes"], default["expires_at"]) == (["read", "submit"], None)
    cluster.redis.kill()
    assert run("keys", "list").exit_code == 69


def test_the_api_does_not_start_for_others_without_a_key(run, monkeypatch):
    started = []
    monkeypatch.setattr(services, "_become", lambda command, _env: started.append(command))
    refused = run("api", AITBC_HOST="0.0.0.0")
    assert (refused.exit_code, started) == (2, [])
    for way in ("aitbc keys create NAME --scope admin", "AITBC_ADMIN_KEY", "AITBC_AUTH=off"):
        assert way in refused.stderr
    assert [run("api", **env).exit_code for env in ({}, {"AITBC_HOST": "0.0.0.0", "AITBC_AUTH": "off"})] == [0, 0]
    assert run("api", AITBC_HOST="0.0.0.0", AITBC_ADMIN_KEY=ADMIN_KEY).exit_code == 0
    assert run("api", AITBC_HOST="0.0.0.0", REDIS_URL="redis://127.0.0.1:1/1").exit_code == 0, "it cannot know, and lets nobody in"
    run("keys", "create", "ops", "--scope", "admin")
    assert run("api", AITBC_HOST="0.0.0.0").exit_code == 0
    assert len(started) == 5


@pytest.mark.parametrize("text", ["secret", "aitbc_admin_short", "aitbc_0123_" + "s" * 43, ADMIN_KEY + "!"])
def test_an_admin_key_that_is_none_is_refused_and_not_repeated(run, text):
    refused = run("api", AITBC_ADMIN_KEY=text)
    assert refused.exit_code == 2
    assert "AITBC_ADMIN_KEY" in refused.stderr
    assert text not in refused.stderr


def test_the_client_sends_the_key_of_the_environment_or_its_own(coordinator, monkeypatch, tmp_path):
    coordinator.on("GET", "/tasks/t", coordinator.task("completed", "t"))
    coordinator.on("POST", "/tasks/submit", (200, {"task_id": "t"}))

    def sent(**options):
        client = Client(coordinator.url, **options)
        client.tasks.submit({})
        client.tasks.show("t")
        return coordinator.headers.get("Authorization")

    monkeypatch.delenv("AITBC_API_KEY", raising=False)
    assert sent() is None
    (tmp_path / "key").write_text("from-the-file\n")
    monkeypatch.setenv("AITBC_API_KEY_FILE", str(tmp_path / "key"))
    assert sent() == "Bearer from-the-file"
    monkeypatch.setenv("AITBC_API_KEY", "from-the-environment")
    assert sent() == "Bearer from-the-environment"
    assert sent(api_key="mine") == "Bearer mine"
    assert sent(api_key="") is None
    monkeypatch.delenv("AITBC_API_KEY")
    monkeypatch.setenv("AITBC_API_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(Misconfigured, match="AITBC_API_KEY_FILE"):
        Client(coordinator.url)
    with pytest.raises(Invalid, match="characters that no key has"):
        Client(coordinator.url, api_key="two\nlines")


def test_the_nodes_own_key_goes_to_its_own_api_alone(coordinator, monkeypatch):
    from aitbc.cli import base

    monkeypatch.setattr(base, "_DEFAULT_URL", coordinator.url)
    coordinator.on("GET", "/tasks/queues/stats", (200, {"queue_sizes": {}}))

    def sent(*args, **env):
        assert CliRunner(env={"AITBC_ADMIN_KEY": ADMIN_KEY, **env}).invoke(main, [*args, "queues", "list"]).exit_code == 0
        return coordinator.headers.get("Authorization")

    assert sent() == f"Bearer {ADMIN_KEY}"
    assert sent(AITBC_API_KEY="mine") == "Bearer mine"
    assert sent("--url", coordinator.url) is None
    assert sent(AITBC_URL=coordinator.url) is None
    assert sent("--url", coordinator.url, AITBC_API_KEY="mine") == "Bearer mine"


@pytest.mark.parametrize("status", [401, 403])
def test_not_allowed_is_exit_code_4(coordinator, status):
    coordinator.on("GET", "/tasks/queues/stats", coordinator.problem(status, "this call needs an API key with the scope read"))
    result = CliRunner(env={"AITBC_URL": coordinator.url}).invoke(main, ["queues", "list"])
    assert (result.exit_code, result.stderr) == (4, "aitbc: this call needs an API key with the scope read\n")
    with pytest.raises(ApiError, match="scope read"):
        Client(coordinator.url).queues.stats()


def test_an_agent_sends_its_key_with_every_call_and_stops_when_it_is_refused(coordinator, eventually, monkeypatch):
    monkeypatch.setenv("AITBC_API_KEY", "of-the-environment")
    seen, find = [], coordinator.find
    coordinator.find = lambda method, path, headers: (seen.append((method, headers.get("Authorization"))), find(method, path, headers))[1]
    coordinator.on("POST", "/agents/register", (200, {"status": "success"}))
    coordinator.on("POST", "/agents/a/heartbeat", (200, {"status": "success"}))
    coordinator.on("DELETE", "/agents/a", (200, {"status": "success"}))
    agent = Agent("a", coordinator.url, lambda data: data, heartbeat_timeout=0.3)
    agent.start(wait=5)
    eventually(lambda: coordinator.count("POST", "/agents/a/heartbeat"))
    agent.stop()
    assert {key for _, key in seen} == {"Bearer of-the-environment"}
    assert {method for method, _ in seen} == {"POST", "DELETE"}
    coordinator.on("POST", "/agents/register", coordinator.problem(403, "this call needs an API key with the scope agent"))
    with pytest.raises(Misconfigured, match="scope agent"):
        Agent("b", coordinator.url, lambda data: data, api_key="other").start(wait=5)
    assert seen[-1] == ("POST", "Bearer other")
    with pytest.raises(Misconfigured, match="characters that no key has"):
        Agent("c", coordinator.url, lambda data: data, api_key="ä").start()


def test_up_makes_a_key_when_others_reach_it(tmp_path, monkeypatch):
    from aitbc.cli import plan as planning

    monkeypatch.setattr(planning, "check_port", lambda *_: None)
    environ = {"AITBC_VAR": str(tmp_path), "AITBC_PORT": "0", "AITBC_FLOWER_PORT": "0", "REDIS_URL": "redis://h/1"}

    def made(**env):
        plan = planning.make(True, {**environ, **env})
        return SimpleNamespace(plan=plan, key=plan.services[0].env.get("AITBC_ADMIN_KEY"), agents=plan.services[-1].env["AITBC_API_KEY"])

    assert (made().key, made().agents, (tmp_path / "admin.key").exists()) == (None, "", False)
    assert made(AITBC_HOST="0.0.0.0", AITBC_AUTH="off").key is None
    ours = made(AITBC_HOST="0.0.0.0")
    assert key_id_of(ours.key) == "admin"
    assert ours.agents == ours.plan.api_key == ours.key == made(AITBC_HOST="0.0.0.0").key
    assert stat.S_IMODE((tmp_path / "admin.key").stat().st_mode) == 0o600
    given = made(AITBC_HOST="0.0.0.0", AITBC_ADMIN_KEY=ADMIN_KEY, AITBC_API_KEY="client")
    assert (given.key, given.agents) == (ADMIN_KEY, "client")
