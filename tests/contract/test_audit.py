"""The audit stream: an entry for each changing call of a key and each change of a key, in the trip of the step itself."""

import json

import pytest
from click.testing import CliRunner

from aitbc.cli import main
from aitbc.ledger import access
from aitbc.ledger.client import Ledger
from aitbc.model.access import key_digest
from aitbc.settings import Settings
from aitbc.web import create_app
from tests.contract.keyholders import Holder

CHANGES = [
    ("post", "/tasks/submit", {"task_id": "t9", "task_data": {}}, "t9"),
    ("post", "/v1/tasks/submit", {"task_id": "t8", "task_data": {}}, "t8"),
    ("post", "/tasks/submit/batch", {"tasks": [{"task_data": {}}, {"task_data": {}}]}, "2 tasks"),
    ("post", "/tasks/t1/cancel", None, "t1"),
    ("post", "/tasks/t2/retry", None, "t2"),
    ("post", "/agents/register", {"agent_id": "a9", "agent_type": "worker"}, "a9"),
    ("post", "/agents/a1/drain", None, "a1"),
    ("put", "/agents/a1/status", {"status": "busy"}, "a1"),
    ("delete", "/agents/a1", None, "a1"),
    ("post", "/tasks/queues/low/pause", None, "low"),
    ("put", "/load-balancer/strategy?strategy=round_robin", None, "round_robin"),
    ("post", "/tasks/dead/drop", {"all": True}, "all"),
    ("post", "/tasks/dead/drop", {"task_ids": ["t1", "no\nid", "t2"]}, "t1 t2"),
    ("post", "/tasks/dead/retry", {"priority": "LOW", "agent_id": "a\x1b"}, "priority='LOW' agent_id='a\\x1b'"),
]


def entries(ledger, kind="calls"):
    return ledger.run(access.read_audit(kind, 100))


@pytest.mark.parametrize(("method", "path", "body", "target"), CHANGES, ids=[f"{case[0]} {case[1]} {case[3]}" for case in CHANGES])
def test_a_changing_call_is_told_with_who_what_target_and_request(client, ledger, method, path, body, target):
    admin = Holder(ledger, "admin")
    admin.task("t1"), admin.task("t2", cancelled=True), admin.agent("a1")
    answer = getattr(client, method)(path, json=body, headers={**admin.headers, "X-Request-Id": "r.1"})
    assert answer.status_code == 200, answer.text
    (entry,) = entries(ledger, "admin-submits" if "/submit" in path else "admin-calls")
    what = f"{method.upper()} " + path.removeprefix("/v1").partition("?")[0]
    for value, name in (("t1", "task_id"), ("t2", "task_id"), ("a1", "agent_id"), ("low", "priority")):
        what = what.replace(f"/{value}", f"/{{{name}}}")
    assert (entry.who, entry.what, entry.target, entry.request, entry.source) == (admin.key_id, what, target, "r.1", "127.0.0.1")


def test_what_only_looks_or_is_refused_before_the_ledger_is_not_told(client, ledger):
    holder = Holder(ledger, "read", "submit")
    client.get("/tasks", headers=holder.headers)
    client.post("/agents/discover", json={}, headers=holder.headers)
    client.post("/tasks/submit", json={"task_data": 1}, headers=holder.headers)
    client.post("/tasks/queues/low/clear", headers=holder.headers)
    client.post("/tasks/submit", json={"task_data": {}})
    fleet = Holder(ledger, "agent")
    assert client.post(f"/agents/{fleet.agent()}/heartbeat", headers=fleet.headers).status_code == 200
    assert entries(ledger) == entries(ledger, "submits") == []


def test_who_tries_anothers_task_is_told(client, ledger):
    holder = Holder(ledger, "submit")
    assert client.post(f"/tasks/{Holder(ledger, 'submit').task('theirs')}/cancel", headers=holder.headers).status_code == 404
    assert [(entry.who, entry.target) for entry in entries(ledger)] == [(holder.key_id, "theirs")]


def test_each_change_of_a_key_is_told(ledger):
    holder = Holder(ledger, "read")
    ledger.run(access.rotate_key(holder.key, key_digest("x"), 1, 0, "root@node"))
    ledger.run(access.revoke_key(holder.key, "root@node"))
    told = [(entry.who, entry.what, entry.target) for entry in entries(ledger, "keys")]
    assert told == [("root@node", "revoke", holder.key_id), ("root@node", "rotate", holder.key_id), ("test", "create", holder.key_id)]


def test_the_stream_is_capped(ledger):
    """Redis drops whole nodes of 100 entries."""
    own = Ledger(Settings(redis_url=ledger.settings.redis_url, keep_audit=1000))
    client = create_app(own.settings, own).test_client()
    holder = Holder(ledger, "agent")
    holder.agent("a1")
    pipe = ledger.redis.pipeline()
    for _ in range(1500):
        pipe.xadd("audit:calls", {"who": "x"})
    pipe.execute()
    assert client.post("/agents/a1/drain", headers=holder.headers).status_code == 200
    assert 1000 <= ledger.redis.xlen("audit:calls") <= 1101
    own.close()


def test_one_key_cannot_drive_out_what_an_admin_did(ledger, with_settings):
    """Whatever one key asks, a thousand times and more; `aitbc keys audit` shows both, by time."""
    client = with_settings(keep_audit=1000)
    admin, holder = Holder(ledger, "admin"), Holder(ledger, "submit", "agent")
    did = [("/tasks/queues/low/pause", None), ("/tasks/submit", {"task_id": "a", "task_data": {}})]
    for path, body in did:
        assert client.post(path, json=body, headers=admin.headers).status_code == 200
    holder.task("t")
    for _ in range(1250):
        client.post("/tasks/t/cancel", headers=holder.headers)
        client.post("/tasks/submit", json={"task_id": "t", "task_data": {}}, headers=holder.headers)
    assert client.post("/tasks/queues/low/resume", headers=admin.headers).status_code == 200
    pipe = ledger.redis.pipeline()
    for kind in access.AUDITS:
        pipe.xlen(f"audit:{kind}")
    lengths = dict(zip(access.AUDITS, pipe.execute(), strict=True))
    assert 1000 <= lengths["calls"] <= 1101
    assert 1000 <= lengths["submits"] <= 1101
    ran = CliRunner().invoke(
        main, ["keys", "audit", "--json"], env={"REDIS_URL": client.application.extensions["aitbc"].settings.redis_url}
    )
    rows = json.loads(ran.stdout)["entries"]
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    told = [(row["what"], row["target"]) for row in rows if row["who"] == admin.key_id]
    assert told == [
        ("POST /tasks/queues/{priority}/resume", "low"),
        ("POST /tasks/submit", "a"),
        ("POST /tasks/queues/{priority}/pause", "low"),
    ]
    assert sum(row["who"] == holder.key_id for row in rows) == 100


def test_an_entry_that_redis_refuses_does_not_stop_the_call(client, ledger, caplog):
    holder = Holder(ledger, "submit")
    ledger.redis.set("audit:submits", "no stream")
    for _ in range(3):
        assert client.post("/tasks/submit", json={"task_data": {}}, headers=holder.headers).status_code == 200
    assert "an audit entry was refused" in caplog.text
