"""The corpus on the wire, against the API as it is served: each input has its status, none is a 500, and a refusal changes no key."""

import pytest

from bench.sizes import ROOT
from tests.contract.corpus import REFUSED, TAKEN, table
from tests.contract.test_gunicorn import HOST, fetch, raw, served  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def api(served):  # noqa: F811
    """The port, once the broker's own keys are there."""
    assert fetch(served[0], "/tasks/submit", {"task_data": {}, "task_id": "first"})[0] == 200
    assert fetch(served[0], "/agents/register", {"agent_id": "first", "agent_type": "worker"})[0] == 200
    return served[0]


def ledger_now(redis):
    """Every key of every database's ledger, byte for byte."""
    return {key: redis.dump(key) for key in sorted(redis.keys("*"))}


def send(port, case):
    length = (b"Content-Length: %d" % len(case.body),) if case.body else ()
    lines = [case.call.encode() + b" HTTP/1.1", HOST.strip(), *length, *case.headers]
    return raw(port, b"\r\n".join(lines) + b"\r\n\r\n" + case.body)


def test_refused(api, ledger_of_session):
    before = ledger_now(ledger_of_session.redis)
    wrong = []
    for case in REFUSED:
        status, headers, body = send(api, case)
        told = headers["content-type"] == "application/problem+json" and body["status"] == status and body["request_id"]
        if status != case.status or not told or ledger_now(ledger_of_session.redis) != before:
            wrong.append((case.what, case.call[:60], status, body))
        assert status != 405 or headers["allow"]
    assert not wrong, wrong
    assert len(before) > 5


def test_taken(api):
    for case in TAKEN:
        status, _, answer = send(api, case)
        assert status == case.status, (case, answer)
    task = fetch(api, f"/tasks/{send(api, TAKEN[3])[2]['task_id']}")[1]["task"]
    assert task["task_data"] == {"a": 9223372036854775809}


def test_the_page_has_this_table():
    assert table() in (ROOT / "docs/api.md").read_text(encoding="utf-8"), table()
