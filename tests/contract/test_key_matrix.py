"""Call x scope x own or another's -> status: every call of the API, by keys that have one scope each. docs/access.md is the table."""

import re

import pytest

from aitbc.model.access import Scope
from docs.generate import access_rows
from tests.contract.keyholders import Holder

ROWS = {row[0].strip("`"): row[1:] for row in access_rows()}
BODIES = {
    "POST /agents/register": lambda holder, _: {"agent_id": holder.agent(), "agent_type": "worker"},
    "PUT /agents/{agent_id}/status": lambda *_: {"status": "busy"},
    "POST /tasks/submit": lambda holder, own: {**({} if own else {"task_id": holder.task()}), "task_data": {}},
    "POST /tasks/submit/batch": lambda holder, own: {"tasks": [BODIES["POST /tasks/submit"](holder, own)]},
    "POST /tasks/dead/retry": lambda holder, _: {"task_ids": [holder.task(dead=True)]},
    "POST /tasks/dead/drop": lambda holder, _: {"task_ids": [holder.task(dead=True)]},
}
SCOPES = [scope.value for scope in Scope]


@pytest.fixture
def ask(client, begin):
    """Make the call of a row with these headers, about something that `holder` has; the answer."""

    def do(call, holder, headers):
        method, path = call.split(" ")
        made = {"task_id": lambda: holder.task(cancelled=call.endswith("/retry")), "agent_id": holder.agent, "priority": lambda: "low"}
        made |= {"service": lambda: "s", "capability": lambda: "c"}
        path = re.sub(r"\{(\w+)\}", lambda found: made[found[1]](), path)
        body = BODIES[call](holder, headers == holder.headers) if call in BODIES else {}
        query = {"strategy": "round_robin"} if "strategy" in path else None
        answer = getattr(client, method.lower())(path, json=body if method != "GET" else None, query_string=query, headers=headers)
        if answer.is_streamed:  # events: nobody reads on, and until it is closed somebody listens
            answer.close()
        return answer

    return do


def test_every_call_has_a_row(app):
    rules = [rule for rule in app.url_map.iter_rules() if not rule.endpoint.startswith("v1-")]
    calls = {f"{method} {rule.rule}" for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", call) for call in calls} == set(ROWS)


def test_every_view_says_what_it_needs(app):
    """One that does not is an admin's alone: safe, and a mistake."""
    from aitbc.web.access import SCOPES as NEEDS

    assert {rule.endpoint.removeprefix("v1-") for rule in app.url_map.iter_rules()} == set(NEEDS)


def listed(answer):
    """Ids of what a list shows."""
    body = answer.json
    return {item.get("task_id") or item.get("agent_id") for item in [*body.get("tasks", ()), *body.get("agents", ())]}


@pytest.mark.parametrize("call", ROWS)
def test_row(ledger, ask, call):
    scope, own, others, lacking, keyless = (cell.strip("`") for cell in ROWS[call])
    stranger, holders = Holder(ledger, "read"), {name: Holder(ledger, name) for name in SCOPES}
    if scope.startswith("none"):
        for headers in ({}, stranger.headers, {"Authorization": "Bearer aitbc_x_" + "0" * 43}):
            assert ask(call, stranger, headers).status_code in ({404} if "token" in scope else {200, 503})
        return
    stranger.task("strangers-task", dead=call.startswith("GET /tasks/dead"))
    stranger.agent("strangers-agent")
    for name, holder in holders.items():
        may = name in {scope, "admin"}
        mine, foreign = ask(call, holder, holder.headers), ask(call, stranger, holder.headers)
        assert mine.status_code == (int(own) if may else int(lacking)), (name, mine.text)
        everything = name == "admin" and "/tasks/submit" not in call
        assert foreign.status_code == (200 if may and everything else int(others[:3]) if may else int(lacking)), (name, foreign.text)
        if may and "without it" in others:
            assert bool(listed(foreign) & {"strangers-task", "strangers-agent"}) is everything
        if may and "skipped" in others:
            assert (mine.json["skipped"], bool(foreign.json["skipped"])) == ([], not everything)
        if may and "results" in others:
            assert [one["status"] for one in foreign.json["results"]] == [409]
        if not may:
            assert f'scope="{scope}"' in foreign.headers["WWW-Authenticate"]
            assert f"scope {scope}" in foreign.json["detail"]
    for headers in ({}, {"Authorization": f"Bearer aitbc_{stranger.key_id}_" + "0" * 43}):
        assert ask(call, stranger, headers).status_code == int(keyless)
