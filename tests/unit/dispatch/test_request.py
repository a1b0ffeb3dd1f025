"""The POST that an attempt becomes."""

from dataclasses import replace

import orjson
import pytest

from aitbc.dispatch.adapters import ADAPTERS, adapter_of
from aitbc.dispatch.request import Terms, build_http, execute_url, rfc3339
from aitbc.dispatch.signing import sign
from aitbc.errors import AddressRefused, Invalid
from aitbc.model.agent import ENDPOINT_KINDS
from aitbc.model.lease import Attempt
from aitbc.model.priority import Priority

ATTEMPT = Attempt(
    lease_id="task.1:7",
    attempt=2,
    deadline=1_800_000_000.25,
    seconds_left=300,
    priority=Priority.HIGH,
    task_data=b'{"n": 123456789012345678901234567890, "e": []}',
    requirements=b'{"agent_type": "worker"}',
    retries=0,
    idempotent=False,
    agent_id="a",
    url="http://agent:9002",
    kind="http",
    sealed_secret="",
)
TERMS = Terms(token="tok", secret="", callback_base="http://api:9001", now=1_799_999_900.9, seconds=99.35)


def test_body() -> None:
    body = build_http(ATTEMPT, TERMS).body
    assert b'"task_data":{"n": 123456789012345678901234567890, "e": []}' in body
    assert list(orjson.loads(body)) == ["lease_id", "task_id", "attempt", "priority", "task_data", "requirements", "deadline", "callback"]
    assert orjson.loads(body) | {"task_data": 0} == {
        "lease_id": "task.1:7",
        "task_id": "task.1",
        "attempt": 2,
        "priority": "high",
        "task_data": 0,
        "requirements": {"agent_type": "worker"},
        "deadline": "2027-01-15T08:00:00.250+00:00",
        "callback": {
            "complete": "http://api:9001/tasks/task.1/complete",
            "fail": "http://api:9001/tasks/task.1/fail",
            "progress": "http://api:9001/tasks/task.1/progress",
            "token": "tok",
        },
    }


def test_no_requirements_are_null() -> None:
    assert orjson.loads(build_http(replace(ATTEMPT, requirements=b"", task_data=b""), TERMS).body)["requirements"] is None


def test_headers() -> None:
    assert build_http(replace(ATTEMPT, retries=3), TERMS).headers == {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": "aitbc",
        "webhook-id": "task.1",
        "webhook-timestamp": "1799999900",
        "Idempotency-Key": "task.1.r3",
        "X-Task-Attempt": "2",
        "X-Task-Deadline": "2027-01-15T08:00:00.250+00:00",
        "X-Task-Timeout": "99.350",
    }


def test_signed() -> None:
    request = build_http(ATTEMPT, replace(TERMS, secret="s"))
    assert request.headers["webhook-signature"] == sign("s", "task.1", 1_799_999_900, request.body)


def test_a_secret_that_cannot_sign() -> None:
    with pytest.raises(Invalid):
        build_http(ATTEMPT, replace(TERMS, secret="whsec_?"))


def test_the_head() -> None:
    request = build_http(replace(ATTEMPT, url="http://agent.:9002/run?x=1"), TERMS)
    start, *lines = request.head().decode().split("\r\n")
    assert start == "POST /run?x=1 HTTP/1.1"
    assert lines[0] == "Host: agent:9002"
    assert lines[1:-3] == [f"{name}: {value}" for name, value in request.headers.items()]
    assert lines[-3:] == [f"Content-Length: {len(request.body)}", "", ""]
    assert request.origin == (False, "agent.", 9002)


@pytest.mark.parametrize(
    ("endpoint", "host", "origin"),
    [
        ("https://agent", "agent", (True, "agent", 443)),
        ("https://agent:443", "agent", (True, "agent", 443)),
        ("http://[::1]:5", "[::1]:5", (False, "::1", 5)),
    ],
)
def test_the_host(endpoint: str, host: str, origin: tuple[bool, str, int]) -> None:
    request = build_http(replace(ATTEMPT, url=endpoint), TERMS)
    assert f"\r\nHost: {host}\r\n".encode() in request.head()
    assert request.origin == origin


@pytest.mark.parametrize("lease_id", ["a\r\nX: y:1", "a\rb:1", "a\nb:1"])
def test_no_header_brings_another_one_with_it(lease_id: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        build_http(replace(ATTEMPT, lease_id=lease_id), TERMS).head()


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://agent:9002", "http://agent:9002/tasks/execute"),
        ("http://agent:9002/", "http://agent:9002/tasks/execute"),
        ("http://agent/?key=1", "http://agent/tasks/execute?key=1"),
        ("http://agent/run", "http://agent/run"),
        ("http://agent/run/?a=b%20c", "http://agent/run/?a=b%20c"),
        ("https://[::1]:5", "https://[::1]:5/tasks/execute"),
    ],
)
def test_execute_url(endpoint: str, url: str) -> None:
    assert str(execute_url(endpoint)) == url


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(AddressRefused, match="'gopher' cannot be called; known are: http, a2a, openai, ollama"):
        adapter_of("gopher")


def test_every_kind_of_the_vocabulary_has_an_adapter() -> None:
    assert tuple(ADAPTERS) == ENDPOINT_KINDS


def test_rfc3339() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000+00:00"
    assert rfc3339(1_800_000_000.0625) == "2027-01-15T08:00:00.062+00:00"
