"""Every adapter against a small server of its kind, over real sockets: what is asked, and what each answer does to task and agent."""

import asyncio
import base64
import json
from typing import Any

import orjson
import pytest

from aitbc.dispatch.adapters import ADAPTERS
from aitbc.dispatch.signing import SecretBox
from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode
from tests.conformance.adapters.servers import CASES, Case, sent
from tests.integration.dispatch.conftest import LOOPBACK, Kit, Seen

FOREIGN = [kind for kind, adapter in ADAPTERS.items() if adapter.read is not None]
PATHS = {"a2a": "/rpc"}
KEY = base64.b64encode(bytes(32)).decode()
kit = Kit()


def call(kind: str, wire: bytes, *, endpoint: str | None = None, close: bool = False, **fields: Any) -> tuple[Any, Any]:
    """One attempt at a server that answers so; outcome and server."""
    settings = {name: fields.pop(name) for name in ("secret_key", "cidrs", "max_response_bytes") if name in fields}

    async def run() -> tuple[Any, Any]:
        async with (
            kit.running(kit.answering(wire, close=close)) as server,
            kit.dispatching(**{"cidrs": LOOPBACK, **settings}) as dispatcher,
        ):
            url = server.url + (PATHS.get(kind, "") if endpoint is None else endpoint)
            attempt = kit.attempt(url, kind=kind, **{"task_data": orjson.dumps(CASES[kind].task), **fields})
            return await dispatcher.send(attempt, "callback-token"), server

    return asyncio.run(run())


def asked(seen: Seen) -> Any:
    return json.loads(seen.body)


@pytest.fixture(params=ADAPTERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(kind: str) -> Case:
    return CASES[kind]


def test_every_adapter_has_its_server() -> None:
    assert list(CASES) == list(ADAPTERS)


def test_done(kind: str, case: Case) -> None:
    outcome, server = call(kind, kit.reply(200, case.answer))
    assert (outcome.verdict, outcome.agent_says, outcome.http_status) == (Verdict.COMPLETED, AgentSays.OK, 200)
    assert json.loads(outcome.result) == case.result
    (seen,) = server.requests
    assert seen.line == f"POST {case.path} HTTP/1.1"
    assert asked(seen) | case.asked == asked(seen)
    assert (seen.headers["content-type"], seen.headers["idempotency-key"]) == ("application/json", "task-1")
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_server_hears_nothing_of_ours(foreign: str) -> None:
    _, server = call(foreign, kit.reply(200, CASES[foreign].answer), task_data=orjson.dumps({**CASES[foreign].task, "task_id": "mine"}))
    (seen,) = server.requests
    assert asked(seen) == CASES[foreign].asked
    assert b"callback" not in seen.body
    assert not [name for name in seen.headers if name.startswith(("webhook-", "x-task"))]


@pytest.mark.parametrize(("name", "foreign"), [(name, kind) for kind in FOREIGN for name in CASES[kind].rows])
def test_what_a_200_can_say(name: str, foreign: str) -> None:
    body, verdict, what = CASES[foreign].rows[name]
    outcome, _ = call(foreign, kit.reply(200, body))
    assert outcome.verdict == verdict, outcome
    if verdict == "completed":
        assert json.loads(outcome.result) == what
    else:
        assert what in outcome.message
        assert outcome.code is not None
    assert outcome.http_status == 200


REFUSED, FAILED = ErrorCode.AGENT_REFUSED, ErrorCode.AGENT_FAILED
STATUSES = [
    *((status, {}, Verdict.FINAL, AgentSays.OK, REFUSED, 0) for status in (400, 404, 405, 413, 422)),
    *((status, {}, Verdict.COUNTED, AgentSays.ERROR, REFUSED, 0) for status in (401, 403)),
    *((status, {}, Verdict.COUNTED, AgentSays.BAD, FAILED, 0) for status in (500, 502, 504)),
    (429, {"Retry_After": "7"}, Verdict.UNSTARTED, AgentSays.BAD, REFUSED, 7),
    (503, {}, Verdict.COUNTED, AgentSays.BAD, REFUSED, 0),
    (503, {"Retry_After": "7"}, Verdict.UNSTARTED, AgentSays.BAD, REFUSED, 7),
    (410, {}, Verdict.COUNTED, AgentSays.GONE, REFUSED, 0),
]


def test_statuses_say_the_same_of_every_kind(kind: str, case: Case) -> None:
    async def run() -> None:
        replies = iter([kit.reply(status, json.dumps(case.refusal).encode(), **headers) for status, headers, *_ in STATUSES])

        async def script(_seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(next(replies))

        async with kit.running(script) as server, kit.dispatching() as dispatcher:
            for status, _, *meaning in STATUSES:
                attempt = kit.attempt(server.url + PATHS.get(kind, ""), kind=kind, task_data=orjson.dumps(case.task))
                outcome = await dispatcher.send(attempt, "t")
                assert isinstance(outcome, Outcome)
                got = [outcome.verdict, outcome.agent_says, outcome.code, outcome.pause]
                assert (got, outcome.message, outcome.http_status) == (meaning, "no such model", status)

    asyncio.run(run())


def test_a_redirect_is_not_followed(kind: str) -> None:
    outcome, server = call(kind, kit.reply(307, b"", Location="/elsewhere"))
    assert (outcome.verdict, outcome.code, len(server.requests)) == (Verdict.FINAL, ErrorCode.REDIRECT_REFUSED, 1)


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("body", [b"<html>", b"\xff", b'{"a": NaN}', b"[" * 100 + b"]" * 100], ids=["html", "latin", "nan", "deep"])
def test_what_is_no_answer(kind: str, body: bytes, idempotent: bool) -> None:
    outcome, _ = call(kind, kit.reply(200, body), idempotent=idempotent)
    verdict = Verdict.COUNTED if idempotent else Verdict.FINAL
    assert (outcome.verdict, outcome.agent_says, outcome.code) == (verdict, AgentSays.BAD, ErrorCode.INVALID_RESPONSE)


def test_too_large(kind: str) -> None:
    outcome, _ = call(kind, kit.reply(200, b'"' + b"x" * 5000 + b'"'), max_response_bytes=4096)
    assert (outcome.verdict, outcome.code) == (Verdict.FINAL, ErrorCode.RESPONSE_TOO_LARGE)


def test_cut_off(kind: str, case: Case) -> None:
    outcome, _ = call(kind, kit.reply(200, case.answer)[:-3], close=True)
    assert (outcome.verdict, outcome.code) == (Verdict.FINAL, ErrorCode.INVALID_RESPONSE)


def test_too_slow(kind: str, case: Case) -> None:
    outcome, _ = call(kind, kit.reply(200, case.answer)[:-3], seconds_left=0.3)
    assert (outcome.verdict, outcome.code) == (Verdict.COUNTED, ErrorCode.RUN_TIMEOUT)


@pytest.mark.parametrize(("status", "body"), [(202, b""), (204, b""), (200, b"")])
def test_answers_without_a_body(kind: str, status: int, body: bytes) -> None:
    """Only agents of ours can finish later, or with nothing."""
    outcome, _ = call(kind, kit.reply(status, body))
    if kind in FOREIGN:
        assert (outcome.verdict, outcome.code) == (Verdict.FINAL, ErrorCode.INVALID_RESPONSE)
    else:
        assert isinstance(outcome, Accepted) if status == 202 else outcome.verdict is Verdict.COMPLETED


def test_the_secret(kind: str, case: Case) -> None:
    secret = SecretBox(KEY).seal("sk-123", "agent-1")
    _, server = call(kind, kit.reply(200, case.answer), sealed_secret=secret, secret_key=KEY)
    headers = server.requests[0].headers
    assert headers.get("authorization") == ("Bearer sk-123" if kind in FOREIGN else None)
    assert ("webhook-signature" in headers) == (kind not in FOREIGN)


def test_the_trace_context(kind: str, case: Case) -> None:
    """When the client sent one; else no header at all."""
    context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for sent_with in (context, ""):
        _, server = call(kind, kit.reply(200, case.answer), traceparent=sent_with)
        assert server.requests[0].headers.get("traceparent") == (sent_with or None)


def test_the_guard_stands_before_every_kind(kind: str, case: Case) -> None:
    outcome, server = call(kind, kit.reply(200, case.answer), cidrs="")
    assert (outcome.verdict, outcome.code, server.connections) == (Verdict.UNSTARTED, ErrorCode.ADDRESS_REFUSED, 0)


@pytest.mark.parametrize("foreign", [kind for kind in FOREIGN if CASES[kind].unfit])
@pytest.mark.parametrize("data", ["unfit", "[]"])
def test_what_cannot_be_asked(foreign: str, data: str) -> None:
    unfit = orjson.dumps(CASES[foreign].unfit) if data == "unfit" else data.encode()
    outcome, server = call(foreign, b"", task_data=unfit)
    assert (outcome.verdict, outcome.agent_says, outcome.code) == (Verdict.FINAL, AgentSays.NOTHING, REFUSED)
    assert "task_data" in outcome.message
    assert server.connections == 0


TARGETS = [
    ("ollama", "", {"prompt": "p"}, "/api/generate", {"stream": False, "prompt": "p"}),
    ("ollama", "/", {"input": "p"}, "/api/embed", {"stream": False, "input": "p"}),
    ("ollama", "/?model=m", {"prompt": "p"}, "/api/generate", {"model": "m", "stream": False, "prompt": "p"}),
    ("ollama", "/?model=m&k=1", {"prompt": "p", "model": "n"}, "/api/generate?k=1", {"stream": False, "prompt": "p", "model": "n"}),
    ("ollama", "", {"prompt": "p", "stream": True}, "/api/generate", {"prompt": "p", "stream": True}),
    ("ollama", "/own", {"x": 10**30}, "/own", {"stream": False, "x": 10**30}),
    ("openai", "", {"prompt": "p"}, "/v1/completions", {"stream": False, "prompt": "p"}),
    ("openai", "/v1", {"input": "é"}, "/v1/embeddings", {"stream": False, "input": "é"}),
    ("openai", "/openai/v1/?model=m", {"messages": []}, "/openai/v1/chat/completions", {"model": "m", "stream": False, "messages": []}),
    ("openai", "/deployments/x/chat?api-version=1", {"q": 1}, "/deployments/x/chat?api-version=1", {"stream": False, "q": 1}),
    ("a2a", "", {"q": 10**30}, "/", sent({"data": {"q": 10**30}, "mediaType": "application/json"})),
    ("a2a", "/x?y=z", {"message": "m"}, "/x?y=z", sent({"data": {"message": "m"}, "mediaType": "application/json"})),
    ("a2a", "/x", {"message": {"parts": [{"url": "u"}]}}, "/x", sent({"url": "u"})),
]


@pytest.mark.parametrize(("foreign", "endpoint", "data", "path", "body"), TARGETS)
def test_what_is_asked_where(foreign: str, endpoint: str, data: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    outcome, server = call(foreign, kit.reply(200, CASES[foreign].answer), endpoint=endpoint, task_data=json.dumps(data).encode())
    assert outcome.verdict is Verdict.COMPLETED
    assert server.requests[0].line == f"POST {path} HTTP/1.1"
    assert asked(server.requests[0]) == body


def test_a2a_says_its_version_and_keeps_what_a_message_has() -> None:
    message = {"messageId": "mine", "contextId": "c", "role": "ROLE_USER", "parts": []}
    _, server = call("a2a", kit.reply(200, CASES["a2a"].answer), task_data=orjson.dumps({"message": message}))
    assert server.requests[0].headers["a2a-version"] == "1.0"
    assert asked(server.requests[0])["params"]["message"] == message
