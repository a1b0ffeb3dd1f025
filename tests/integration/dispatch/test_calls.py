"""What is sent, and when a call ends."""

import asyncio
import base64
import hashlib
import hmac
import logging
import socket
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import orjson
import pytest

from aitbc.dispatch import connection
from aitbc.dispatch.signing import SecretBox
from aitbc.errors import Misconfigured
from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

COMPLETED, FINAL, COUNTED, UNSTARTED = Verdict.COMPLETED, Verdict.FINAL, Verdict.COUNTED, Verdict.UNSTARTED
OK, BAD, NOTHING = AgentSays.OK, AgentSays.BAD, AgentSays.NOTHING
CONNECTION, TIMEOUT = ErrorCode.CONNECTION_FAILED, ErrorCode.RUN_TIMEOUT
KEY = base64.b64encode(b"k" * 32).decode()


def shape(outcome: Outcome) -> tuple[Verdict, AgentSays, ErrorCode | None]:
    return outcome.verdict, outcome.agent_says, outcome.code


def test_the_request(kit: Any) -> None:
    deadline = time.time() + 60
    called = kit.call(kit.answering(kit.reply()), deadline=deadline, seconds_left=60, attempt=3, retries=1)
    (seen,) = called.agent.requests
    assert seen.line == "POST /tasks/execute HTTP/1.1"
    assert seen.headers["host"] == f"127.0.0.1:{called.agent.port}"
    assert seen.headers["idempotency-key"] == "task-1.r1"
    assert seen.headers["x-task-attempt"] == "3"
    assert abs(datetime.fromisoformat(seen.headers["x-task-deadline"]).timestamp() - deadline) < 0.01
    assert float(seen.headers["x-task-timeout"]) == 60
    assert "webhook-signature" not in seen.headers
    assert "traceparent" not in seen.headers
    assert "cookie" not in seen.headers
    body = orjson.loads(seen.body)
    assert (body["task_data"], body["requirements"]) == ({"n": 1}, None)
    assert body["callback"]["complete"] == "http://127.0.0.1:9001/tasks/task-1/complete"
    assert body["callback"]["token"] == "token"


def test_a_path_of_its_own(kit: Any) -> None:
    async def run() -> str:
        async with kit.running(kit.answering(kit.reply())) as agent, kit.dispatching() as dispatcher:
            await dispatcher.send(kit.attempt(agent.url + "/run?x=1"), "t")
            return str(agent.requests[0].line)

    assert asyncio.run(run()) == "POST /run?x=1 HTTP/1.1"


def test_the_signature(kit: Any) -> None:
    raw = b"s" * 24
    secret = "whsec_" + base64.b64encode(raw).decode()
    sealed = SecretBox(KEY).seal(secret, "agent-1")
    (seen,) = kit.call(kit.answering(kit.reply()), settings={"secret_key": KEY}, sealed_secret=sealed).agent.requests
    signed = f"{seen.headers['webhook-id']}.{seen.headers['webhook-timestamp']}.".encode() + seen.body
    expected = base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
    assert seen.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(seen.headers["webhook-timestamp"]) - time.time()) < 5


@pytest.mark.parametrize("settings", [{}, {"secret_key": base64.b64encode(b"x" * 32).decode()}])
def test_a_secret_that_does_not_open_is_told_once(kit: Any, settings: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    sealed = SecretBox(KEY).seal("secret", "agent-1")

    async def run() -> list[Outcome]:
        async with kit.running(kit.answering(kit.reply())) as agent, kit.dispatching(**settings) as dispatcher:
            outcomes = [await dispatcher.send(kit.attempt(agent.url, sealed_secret=sealed), "t") for _ in range(3)]
            assert not agent.requests
            return outcomes

    with caplog.at_level(logging.ERROR):
        outcomes = asyncio.run(run())
    assert {shape(outcome) for outcome in outcomes} == {(UNSTARTED, NOTHING, CONNECTION)}
    assert "AITBC_SECRET_KEY" in outcomes[0].message
    assert len([r for r in caplog.records if "AITBC_SECRET_KEY" in r.getMessage()]) == 1


@pytest.mark.parametrize("settings", [{"secret_key": "short"}, {"cidrs": "10.0.0.0/99"}])
def test_bad_settings_stop_the_start(kit: Any, settings: dict[str, str]) -> None:
    async def run() -> None:
        async with kit.dispatching(**settings):
            pass

    with pytest.raises(Misconfigured, match="AITBC_"):
        asyncio.run(run())


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_headers(_seen: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await drip(writer, b"X: y\r\n")


async def drip_body(_seen: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await drip(writer, b" ")


async def drip_interim(_seen: Any, writer: asyncio.StreamWriter) -> None:
    await drip(writer, b"HTTP/1.1 102 X\r\n\r\n")


async def silence(_seen: Any, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("script", [drip_headers, drip_body, drip_interim, silence])
def test_the_deadline_covers_the_whole_call(kit: Any, script: Any) -> None:
    called = kit.call(script, seconds_left=0.8)
    assert shape(called.ended) == (COUNTED, BAD, TIMEOUT)
    assert called.ended.http_status == (200 if script is drip_body else 0)
    assert abs(called.seconds - 0.8) < 0.3


def test_long_deadlines_are_not_rounded_up_to_seconds(kit: Any) -> None:
    called = kit.call(silence, seconds_left=5.1)
    assert called.ended.code is TIMEOUT
    assert abs(called.seconds - 5.1) < 0.3


def test_an_agent_that_does_not_read_is_cut_off_and_its_socket_closed(kit: Any) -> None:
    async def run() -> tuple[Outcome, float, bytes]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            async with kit.dispatching() as dispatcher:
                started = time.monotonic()
                data = b'"' + b"x" * 8_000_000 + b'"'
                outcome = await dispatcher.send(kit.attempt(url, seconds_left=0.7, task_data=data), "t")
                seconds = time.monotonic() - started
                await asyncio.sleep(0.05)
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(2)
                    return outcome, seconds, await asyncio.to_thread(drained, connection)

    outcome, seconds, received = asyncio.run(run())
    assert shape(outcome) == (COUNTED, BAD, TIMEOUT)
    assert abs(seconds - 0.7) < 0.3
    assert len(received) < 8_000_000


def drained(connection: socket.socket) -> bytes:
    """What arrives until the other side closes; a timeout means that it never did."""
    received = b""
    try:
        while chunk := connection.recv(1 << 20):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def test_a_deadline_that_has_passed(kit: Any) -> None:
    called = kit.call(kit.answering(kit.reply()), seconds_left=-1)
    assert shape(called.ended) == (UNSTARTED, NOTHING, TIMEOUT)
    assert called.agent.connections == 0


@pytest.mark.parametrize(("status", "verdict"), [(500, COUNTED), (400, FINAL)])
def test_a_dripping_remark_is_waited_for_only_briefly(kit: Any, status: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REMARK_TIME", 0.3)

    async def script(_seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 1000\r\n\r\n" % status)
        await drip(writer, b"z")

    called = kit.call(script)
    assert called.ended.verdict is verdict
    assert called.ended.message.startswith("zz")
    assert called.seconds < 0.7


def test_a_dripping_202_holds_nothing(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REMARK_TIME", 0.3)

    async def script(_seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 X\r\nContent-Length: 1000\r\n\r\n")
        await drip(writer, b"z")

    called = kit.call(script)
    assert called.outcome == Accepted()
    assert called.seconds < 0.7


@pytest.mark.parametrize("ahead", [-3600, 600])
def test_a_clock_that_differs_from_the_ledgers_changes_nothing(kit: Any, ahead: float) -> None:
    """Agents refuse a signature that is five minutes off: it is of the ledger's time, and so is what a Retry-After is counted from."""
    ledger = time.time() + ahead
    busy = kit.reply(503, Retry_After=format_datetime(datetime.fromtimestamp(ledger + 30, UTC), usegmt=True))
    called = kit.call(kit.answering(busy), deadline=ledger + 5)
    assert 25 < called.ended.pause <= 30
    (seen,) = called.agent.requests
    assert abs(int(seen.headers["webhook-timestamp"]) - ledger) < 5
