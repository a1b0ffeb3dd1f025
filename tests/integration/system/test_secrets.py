"""After a run of everything, at log level debug: no key, token or secret in a log, in what Redis wrote, in a message or in an answer."""

import base64
import json
import os
import re
import secrets
from pathlib import Path

from click.testing import CliRunner

from aitbc.cli import main
from aitbc.model.access import key_digest, key_id_of, new_key_text
from tests.harness.agents import Agents, accept, status
from tests.harness.cluster import Api, Cluster
from tests.harness.processes import wait_for

ADMIN_KEY = new_key_text("admin")


def spied(api: Api) -> list[str]:
    """Every answer from now on, as text."""
    answers: list[str] = []
    call = api.call

    def told(*args: object, **more: object) -> tuple[int, object]:
        answered = call(*args, **more)  # type: ignore[arg-type]
        answers.append(json.dumps(answered[1]))
        return answered

    api.call = told  # type: ignore[method-assign]
    return answers


def test_no_secret_is_written_anywhere(cluster: Cluster, agents: Agents) -> None:
    secret_key, agent_secret = base64.b64encode(os.urandom(32)).decode(), "agent-" + secrets.token_urlsafe(24)
    env = {"AITBC_SECRET_KEY": secret_key, "AITBC_ADMIN_KEY": ADMIN_KEY, "AITBC_LOG_LEVEL": "debug", "AITBC_RATE_LIMIT": "100000"}
    api, _ = cluster.api(**env), cluster.worker(**env)
    answers = spied(api)

    def cli(*args: str) -> str:
        result = CliRunner(env={"REDIS_URL": cluster.redis_url}).invoke(main, args)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    first = cli("keys", "create", "client", "--scope", "submit", "--scope", "read")
    fleet = cli("keys", "create", "fleet", "--scope", "agent")
    client = cli("keys", "rotate", key_id_of(first))
    wrong = new_key_text(key_id_of(client))

    api.key = fleet
    quick, slow = agents.start("quick"), agents.start("slow", accept)
    bad = agents.start("bad", status(500))
    for agent in (quick, slow, bad):
        api.register(agent.name, agent.url, capabilities=[agent.name], secret=agent_secret, heartbeat_timeout=0)
    assert api.call("POST", "/agents/quick/heartbeat", {"leases": []})[0] == 200

    for key in (first, client):
        api.key = key
        task = api.submit(requirements={"capabilities": ["quick"]}, task_data={"marker": "grep-finds-this"})
        assert api.task(task, wait=20)["state"] == "completed"
    failing = api.submit(requirements={"capabilities": ["bad"]}, max_attempts=1)
    assert api.task(failing, wait=20)["state"] == "failed"
    later = api.submit(requirements={"capabilities": ["slow"]})
    wait_for(lambda: slow.received, 20, "the 202")
    token = slow.received[0]["callback"]["token"]
    for sent, expected in ((wrong, 404), (token, 200)):
        for verb, body in (("progress", {"percent": 5}), ("complete", {"result": 1})):
            assert api.call("POST", f"/tasks/{later}/{verb}", body, Authorization=f"Bearer {sent}")[0] == expected
    api.key = wrong
    assert api.call("POST", "/tasks/submit", {"task_data": {}})[0] == 401
    api.key = ADMIN_KEY
    assert api.call("GET", f"/tasks?key={wrong}")[0] == 200
    told = len(answers)
    assert api.call("GET", f"/tasks/{client}")[0] == 404  # a slip: the id that is not found is told to whoever sent it
    del answers[told:]
    cli("keys", "revoke", key_id_of(fleet))
    cli("keys", "list"), cli("keys", "audit")
    cluster.close()

    hidden = {
        "admin": ADMIN_KEY,
        "first": first,
        "rotated": client,
        "fleet": fleet,
        "wrong": wrong,
        "agent": agent_secret,
        "box": secret_key,
    }
    hidden |= {f"token of {a.name} {n}": body["callback"]["token"] for a in agents.all for n, body in enumerate(a.received)}
    written = {path.name: path.read_bytes() for path in Path(cluster.directory).rglob("*") if path.is_file()}
    written["answers"] = "\n".join(answers).encode()
    found = [(where, what) for where, text in written.items() for what, secret in hidden.items() if secret.encode() in text]
    assert found == []

    aof = b"".join(text for name, text in written.items() if "appendonly" in name)
    logs = b"".join(text for name, text in written.items() if name.endswith(".log"))
    assert all(known in aof for known in (b"grep-finds-this", key_digest(client).encode(), b"v1:", b"audit:submits", b"LPUSH"))
    assert re.search(rb"GET /tasks/\[redacted\]", logs)
    assert len(hidden) > 10
