"""Connections: those that fail, those that are kept, those that are cut."""

import asyncio
import socket
import ssl
import threading
import time
from typing import Any

import pytest

from aitbc.dispatch import client, connect, kept
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode
from tests.harness.processes import free_port

COMPLETED, FINAL, COUNTED, UNSTARTED = Verdict.COMPLETED, Verdict.FINAL, Verdict.COUNTED, Verdict.UNSTARTED
OK, BAD, NOTHING = AgentSays.OK, AgentSays.BAD, AgentSays.NOTHING
CONNECTION, TIMEOUT = ErrorCode.CONNECTION_FAILED, ErrorCode.RUN_TIMEOUT


def shape(outcome: Outcome) -> tuple[Verdict, AgentSays, ErrorCode | None]:
    return outcome.verdict, outcome.agent_says, outcome.code


def sent_to(kit: Any, url: str, **options: Any) -> Outcome:
    fields = {name: options.pop(name) for name in ("kind", "seconds_left", "task_data") if name in options}

    async def run() -> Any:
        async with kit.dispatching(**options) as dispatcher:
            return await dispatcher.send(kit.attempt(url, **fields), "t")

    outcome = asyncio.run(run())
    assert isinstance(outcome, Outcome)
    return outcome


@pytest.mark.parametrize("addresses", [["127.0.0.9"], ["127.0.0.9", "127.0.0.8"], ["127.0.0.9", "::1"]])
def test_refused(kit: Any, addresses: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Where it was is told to the log alone."""
    caplog.set_level("INFO", "aitbc")
    outcome = sent_to(kit, f"http://db.corp.internal:{free_port()}", lookup=lambda _host, _port: addresses)
    assert shape(outcome) == (UNSTARTED, BAD, CONNECTION)
    assert outcome.message == "no connection: [Errno 111] Connection refused"
    assert "no connection to db.corp.internal port" in caplog.text
    assert all(address in caplog.text for address in addresses)


def test_a_mixed_failure_names_no_address() -> None:
    several = OSError(
        "Multiple exceptions: [Errno 111] Connect call failed ('10.0.3.7', 9), [Errno 101] Connect call failed ('fd00::1', 9, 0, 0)"
    )
    assert str(connect._nameless(several)) == "Multiple exceptions: [Errno 111], [Errno 101]"
    said = "certificate verify failed: Hostname mismatch, certificate is not valid for 'db.corp.internal'. (_ssl.c:1)"
    told = connect._nameless(ssl.SSLCertVerificationError(1, said))
    assert (type(told), str(told)) == (ssl.SSLCertVerificationError, "certificate verify failed: Hostname mismatch. (_ssl.c:1)")
    assert str(connect._nameless(socket.gaierror(-2, "Name or service not known"))) == "[Errno -2] Name or service not known"


def test_no_such_name(kit: Any) -> None:
    def lookup(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    assert shape(sent_to(kit, "http://agent.invalid", lookup=lookup)) == (UNSTARTED, BAD, CONNECTION)
    assert shape(sent_to(kit, "http://agent.invalid", lookup=lambda _host, _port: [])) == (UNSTARTED, BAD, CONNECTION)


@pytest.mark.parametrize("by", ["connect", "deadline"])
def test_black_hole(kit: Any, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "CONNECT_TIME", 0.4 if by == "connect" else 5)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:  # a full backlog: the kernel drops what comes then
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
            started = time.monotonic()
            timeout = 5 if by == "connect" else 0.4
            outcome = sent_to(kit, f"http://127.0.0.1:{server.getsockname()[1]}", seconds_left=timeout)
        finally:
            for filler in fillers:
                filler.close()
    assert shape(outcome) == (UNSTARTED, BAD, CONNECTION)
    assert outcome.message == "no connection in time"
    assert abs(time.monotonic() - started - 0.4) < 0.3


def test_closed_without_an_answer(kit: Any) -> None:
    assert shape(kit.call(kit.answering(b"", close=True), idempotent=True).ended) == (COUNTED, BAD, CONNECTION)


def test_closed_while_sending(kit: Any) -> None:
    async def run() -> Any:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            writer.transport.abort()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1000)
        async with server, kit.dispatching() as dispatcher:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            outcome = await dispatcher.send(kit.attempt(url, task_data=b'"' + b"x" * 8_000_000 + b'"'), "t")
        await asyncio.sleep(0.01)
        return outcome

    outcome = asyncio.run(run())
    assert shape(outcome) == (COUNTED, BAD, CONNECTION)
    assert "http://" not in outcome.message


@pytest.mark.parametrize(("status", "verdict"), [(503, UNSTARTED), (500, COUNTED)])
def test_answered_before_the_whole_request_was_sent(kit: Any, status: int, verdict: Verdict) -> None:
    async def run() -> Any:
        done = asyncio.Event()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            writer.write(kit.reply(status, b"full"))
            await done.wait()
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1000)
        async with server, kit.dispatching() as dispatcher:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            outcome = await dispatcher.send(kit.attempt(url, task_data=b'"' + b"x" * 20_000_000 + b'"'), "t")
            done.set()
        await asyncio.sleep(0.01)
        return outcome

    outcome = asyncio.run(run())
    assert (outcome.verdict, outcome.agent_says, outcome.message, outcome.http_status) == (verdict, BAD, "full", status)


def test_large_requests_arrive_whole(kit: Any) -> None:
    data = b'"' + b"x" * 3_000_000 + b'"'
    (seen,) = kit.call(kit.answering(kit.reply()), task_data=data).agent.requests
    assert data in seen.body


def test_connections_are_kept(kit: Any) -> None:
    async def run() -> tuple[int, int]:
        async with kit.running(kit.answering(kit.reply(200, b"1"))) as agent, kit.dispatching() as dispatcher:
            for _ in range(5):
                assert (await dispatcher.send(kit.attempt(agent.url), "t")).verdict is COMPLETED
            await asyncio.gather(*(dispatcher.send(kit.attempt(agent.url), "t") for _ in range(3)))
            return agent.connections, len(agent.requests)

    assert asyncio.run(run()) == (3, 8)


@pytest.mark.parametrize(
    "wire", [b"HTTP/1.1 202 X\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 500 X\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 204 X\r\n\r\n"]
)
def test_connections_are_kept_after_other_answers(kit: Any, wire: bytes) -> None:
    async def run() -> int:
        async with kit.running(kit.answering(wire)) as agent, kit.dispatching() as dispatcher:
            for _ in range(3):
                await dispatcher.send(kit.attempt(agent.url), "t")
            return int(agent.connections)

    assert asyncio.run(run()) == 1


def test_no_limit_on_connections(kit: Any) -> None:
    async def run() -> int:
        together = asyncio.Event()

        async def script(_seen: Any, writer: asyncio.StreamWriter) -> None:
            if len(agent.requests) == 150:
                together.set()
            await together.wait()
            writer.write(kit.reply(200, b"1"))

        async with kit.running(script) as agent, kit.dispatching() as dispatcher:
            outcomes = await asyncio.gather(*(dispatcher.send(kit.attempt(agent.url), "t") for _ in range(150)))
            assert {outcome.verdict for outcome in outcomes} == {COMPLETED}
            return int(agent.connections)

    assert asyncio.run(run()) == 150


def test_a_connection_that_the_agent_closed_meanwhile_is_not_used(kit: Any) -> None:
    async def run() -> int:
        async with kit.running(kit.answering(kit.reply(200, b"1"), close=True)) as agent, kit.dispatching() as dispatcher:
            for _ in range(3):
                assert (await dispatcher.send(kit.attempt(agent.url), "t")).verdict is COMPLETED
                await asyncio.sleep(0.05)
            return int(agent.connections)

    assert asyncio.run(run()) == 3


def test_a_stale_connection_is_an_unknown_outcome_and_not_sent_again(kit: Any) -> None:
    """The agent closes an idle connection just as a request reaches it: nobody can know what it read."""

    async def run() -> tuple[Any, int]:
        async def script(_seen: Any, writer: asyncio.StreamWriter) -> None:
            if len(agent.requests) == 1:
                writer.write(kit.reply(200, b"1"))
            else:
                writer.transport.abort()

        async with kit.running(script) as agent, kit.dispatching() as dispatcher:
            await dispatcher.send(kit.attempt(agent.url), "t")
            return await dispatcher.send(kit.attempt(agent.url), "t"), len(agent.requests)

    outcome, requests = asyncio.run(run())
    assert shape(outcome) == (COUNTED, BAD, CONNECTION)
    assert requests == 2


def test_a_connection_that_is_closing_is_not_written_to(kit: Any) -> None:
    """The last look at a kept connection and the write are one turn of the loop: what closed before is known, and another is opened."""

    async def run() -> tuple[Any, int, int]:
        async with kit.running(kit.answering(kit.reply(200, b"1"))) as agent, kit.dispatching() as dispatcher:
            await dispatcher.send(kit.attempt(agent.url), "t")
            (connection,) = dispatcher._connections._idle
            connection._transport.close()
            return await dispatcher.send(kit.attempt(agent.url), "t"), agent.connections, len(agent.requests)

    outcome, connections, requests = asyncio.run(run())
    assert outcome.verdict is COMPLETED
    assert (connections, requests) == (2, 2)


def test_idle_connections_are_closed_before_agents_close_them(kit: Any) -> None:
    async def run() -> None:
        async with kit.running(kit.answering(kit.reply())) as agent, kit.dispatching() as dispatcher:
            await dispatcher.send(kit.attempt(agent.url), "t")
            await asyncio.wait_for(agent.closed.wait(), 4)

    asyncio.run(run())


def test_a_cancel_closes_the_connection(kit: Any) -> None:
    async def run() -> None:
        asked = asyncio.Event()

        async def script(seen: Any, _writer: asyncio.StreamWriter) -> None:
            asked.set()
            await seen.rest.read()

        async with kit.running(script) as agent, kit.dispatching() as dispatcher:
            call = asyncio.create_task(dispatcher.send(kit.attempt(agent.url), "t"))
            await asked.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(agent.closed.wait(), 2)

    asyncio.run(run())


def test_calls_after_close_fail(kit: Any) -> None:
    async def run() -> Any:
        async with kit.running(kit.answering(kit.reply())) as agent, kit.dispatching() as dispatcher:
            await dispatcher.close()
            return await dispatcher.send(kit.attempt(agent.url), "t")

    outcome = asyncio.run(run())
    assert (outcome.verdict, outcome.code) == (UNSTARTED, CONNECTION)


def test_close_ends_the_lookup_threads(kit: Any) -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("aitbc-lookup")}

    before = threads()
    assert shape(sent_to(kit, "http://agent.invalid", lookup=lambda _host, _port: [])) == (UNSTARTED, BAD, CONNECTION)
    for thread in threads() - before:
        thread.join(2)
    assert threads() <= before


def test_what_nobody_foresaw_is_an_outcome_and_a_log(kit: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(client, "adapter_of", bug)
    assert shape(sent_to(kit, "http://127.0.0.1:1")) == (UNSTARTED, NOTHING, CONNECTION)
    assert "nobody foresaw" in caplog.text
    assert "ZeroDivisionError" in caplog.text
