"""Which connections carry another call, and which never do; under both event loops, as workers run on uvloop."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aitbc.dispatch import connect
from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

FINAL, COUNTED, UNSTARTED = Verdict.FINAL, Verdict.COUNTED, Verdict.UNSTARTED
BAD = AgentSays.BAD
CONNECTION, INVALID, TIMEOUT = ErrorCode.CONNECTION_FAILED, ErrorCode.INVALID_RESPONSE, ErrorCode.RUN_TIMEOUT

Run = Callable[[Any], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    loop_runner: Run = request.param
    return loop_runner


def shape(outcome: Outcome) -> tuple[Verdict, AgentSays, ErrorCode | None]:
    return outcome.verdict, outcome.agent_says, outcome.code


async def twice(kit: Any, wires: list[bytes], pause: float = 0.05, **fields: Any) -> tuple[list[Any], Any]:
    """Two calls to one agent, which answers them with these bytes; a moment between."""

    async def script(_seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(wires[len(agent.requests) - 1])
        await writer.drain()

    async with kit.running(script) as agent, kit.dispatching() as dispatcher:
        outcomes = []
        for _ in wires:
            outcomes.append(await dispatcher.send(kit.attempt(agent.url, **fields), "t"))
            await asyncio.sleep(pause)
        return outcomes, agent


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n"


@pytest.mark.parametrize(
    ("extra", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", 1),
        (CHUNKED + b"X: y\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1 and more", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n'forged'", 2),
        (CHUNKED + b"\r\nHTTP/1.1 408 X\r\nConnection: close\r\n\r\n", 2),
    ],
)
def test_what_is_kept(kit: Any, run: Run, extra: bytes, connections: int) -> None:
    outcomes, agent = run(twice(kit, [extra, kit.reply(200, b"2")]))
    assert [(outcome.verdict, outcome.result) for outcome in outcomes] == [("completed", "1"), ("completed", "2")]
    assert (agent.connections, len(agent.requests)) == (connections, 2)


def test_an_answer_that_comes_before_its_request_is_nobodys(kit: Any, run: Run) -> None:
    """On a kept connection it would be taken for the next task's result."""

    async def main() -> tuple[Any, int]:
        async def script(_seen: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(kit.reply(200, b"%d" % len(agent.requests)))
            await asyncio.sleep(0.02)
            writer.write(kit.reply(200, b'"forged"'))

        async with kit.running(script) as agent, kit.dispatching() as dispatcher:
            first = await dispatcher.send(kit.attempt(agent.url), "t")
            await asyncio.sleep(0.1)
            second = await dispatcher.send(kit.attempt(agent.url), "t")
            return [first.result, second.result], agent.connections

    assert run(main()) == (["1", "2"], 2)


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1]", (FINAL, BAD, INVALID, 200)),
        (b"HTTP/1.1 200 OK\r\n\r\n[1]", (FINAL, BAD, INVALID, 200)),
        (b"HTTP/1.1 200 OK\r\nContent-Le", (COUNTED, BAD, CONNECTION, 0)),
        (b"", (COUNTED, BAD, CONNECTION, 0)),
    ],
)
def test_reset(kit: Any, run: Run, wire: bytes, expected: tuple[Any, ...]) -> None:
    async def script(seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(wire)
        await writer.drain()
        await asyncio.sleep(0.05)
        linger = writer.get_extra_info("socket")
        linger.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: a close is a reset
        writer.transport.abort()

    async def main() -> Any:
        async with kit.running(script) as agent, kit.dispatching() as dispatcher:
            return await dispatcher.send(kit.attempt(agent.url), "t")

    outcome = run(main())
    assert (*shape(outcome), outcome.http_status) == expected


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_call_that_was_cut_leaves_no_connection(kit: Any, run: Run, how: str) -> None:
    async def main() -> tuple[Any, int, int]:
        asked = asyncio.Event()

        async def script(_seen: Any, writer: asyncio.StreamWriter) -> None:
            asked.set()
            if len(agent.requests) == 1:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1")
                await asyncio.sleep(0.5)
                writer.write(b"111111111")
            else:
                writer.write(kit.reply(200, b"2"))

        async with kit.running(script) as agent, kit.dispatching() as dispatcher:
            call = asyncio.create_task(dispatcher.send(kit.attempt(agent.url, seconds_left=0.2 if how == "deadline" else 5), "t"))
            await asked.wait()
            await asyncio.sleep(0.02)
            if how == "cancel":
                call.cancel()
            (end,) = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(end, asyncio.CancelledError) if how == "cancel" else end.code is TIMEOUT
            assert not dispatcher._connections._idle
            await asyncio.sleep(0)
            second = await dispatcher.send(kit.attempt(agent.url), "t")
            return second.result, agent.connections, len(dispatcher._connections._all)

    assert run(main()) == ("2", 2, 1)


def test_a_cancelled_connect_leaves_nothing(kit: Any, run: Run) -> None:
    async def main() -> int:
        def lookup(_host: str, _port: int) -> list[str]:
            loop.call_soon_threadsafe(asked.set)
            return ["127.0.0.1"]

        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        async with kit.running(kit.answering(kit.reply())) as agent, kit.dispatching(lookup=lookup) as dispatcher:
            calls = [asyncio.create_task(dispatcher.send(kit.attempt(f"http://name:{agent.port}"), "t")) for _ in range(2)]
            await asked.wait()
            calls[0].cancel()
            first, second = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(first, asyncio.CancelledError)
            assert second.verdict == "completed"  # the look-up was theirs together
            return len(dispatcher._connections._all)

    assert run(main()) == 1


def test_idle_connections_are_bounded_and_the_oldest_go(kit: Any, run: Run) -> None:
    async def main() -> tuple[int, int, int]:
        answer = kit.answering(kit.reply(202))
        async with kit.running(answer) as a, kit.running(answer) as b, kit.dispatching(worker_concurrency=3) as dispatcher:

            async def calls(agent: Any, count: int) -> None:
                outcomes = await asyncio.gather(*(dispatcher.send(kit.attempt(agent.url), "t") for _ in range(count)))
                assert outcomes == [Accepted()] * count

            await calls(a, 5)
            assert len(dispatcher._connections._idle) == 3
            await calls(b, 2)
            await asyncio.sleep(0.05)
            kept = dispatcher._connections
            assert [connection.origin.port for connection in kept._idle] == [a.port, b.port, b.port]
            assert len(kept._all) == 3
            await calls(a, 1)
            return a.connections, b.connections, sum(map(len, kept._by_origin.values()))

    assert run(main()) == (5, 2, 3)


def test_what_is_idle_too_long_is_not_taken(kit: Any, run: Run) -> None:
    async def main() -> int:
        async with kit.running(kit.answering(kit.reply(202))) as agent, kit.dispatching() as dispatcher:
            await dispatcher.send(kit.attempt(agent.url), "t")
            (connection,) = dispatcher._connections._idle
            connection.idle_since -= 2
            await dispatcher.send(kit.attempt(agent.url), "t")
            return int(agent.connections)

    assert run(main()) == 2


def test_close_fails_the_calls_under_way(kit: Any, run: Run) -> None:
    async def main() -> Outcome:
        asked = asyncio.Event()

        async def script(seen: Any, _writer: asyncio.StreamWriter) -> None:
            asked.set()
            await seen.rest.read()

        async with kit.running(script) as agent, kit.dispatching() as dispatcher:
            call = asyncio.create_task(dispatcher.send(kit.attempt(agent.url), "t"))
            await asked.wait()
            await dispatcher.close()
            outcome = await call
            await asyncio.wait_for(agent.closed.wait(), 2)
            assert isinstance(outcome, Outcome)
            return outcome

    assert shape(run(main())) == (COUNTED, BAD, CONNECTION)


def certified(folder: Path, *names: x509.GeneralName) -> Path:
    """A key with a certificate for these names, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agents")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "agent.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return pem


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server's TLS for agent.example, whose certificate the worker trusts."""
    pem = certified(tmp_path, x509.DNSName("agent.example"))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    connect.verifying.cache_clear()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    yield tls
    connect.verifying.cache_clear()


async def over_tls(kit: Any, tls: ssl.SSLContext | None, host: str) -> tuple[list[Any], int, int]:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # the server's view of a refused handshake
    async with (
        kit.running(kit.answering(kit.reply(200, b"1")), tls=tls) as agent,
        kit.dispatching(lookup=lambda _host, _port: ["127.0.0.1"]) as dispatcher,
    ):
        outcomes = [await dispatcher.send(kit.attempt(f"https://{host}:{agent.port}"), "t") for _ in range(2)]
        return outcomes, agent.connections, len(agent.requests)


@pytest.mark.parametrize("host", ["agent.example", "agent.example."])
def test_tls(kit: Any, run: Run, trusted: ssl.SSLContext, host: str) -> None:
    outcomes, connections, requests = run(over_tls(kit, trusted, host))
    assert [outcome.verdict for outcome in outcomes] == ["completed"] * 2
    assert (connections, requests) == (1, 2)


@pytest.mark.parametrize(("host", "why"), [("other.example", "Hostname mismatch"), ("127.0.0.1", "IP address mismatch")])
def test_tls_of_another_host(kit: Any, run: Run, trusted: ssl.SSLContext, host: str, why: str) -> None:
    outcomes, _, requests = run(over_tls(kit, trusted, host))
    assert {shape(outcome) for outcome in outcomes} == {(UNSTARTED, BAD, CONNECTION)}
    assert why in outcomes[0].message
    assert requests == 0


def test_tls_to_an_agent_that_speaks_none(kit: Any, run: Run) -> None:
    async def main() -> Any:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        async with server, kit.dispatching() as dispatcher:
            return await dispatcher.send(kit.attempt(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "t")

    assert shape(run(main())) == (UNSTARTED, BAD, CONNECTION)
