"""The guard where it counts: at the connect."""

import asyncio
import datetime as dt
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

REFUSED = (Verdict.UNSTARTED, AgentSays.BAD, ErrorCode.ADDRESS_REFUSED)


def call(kit: Any, url: str, **options: Any) -> tuple[Any, Any]:
    """Call `url` with {port} filled in; the outcome and the agent that may have heard of it."""
    kind = options.pop("kind", "http")

    async def run() -> tuple[Any, Any]:
        async with kit.running(kit.answering(kit.reply(200, b"1"))) as agent, kit.dispatching(**options) as dispatcher:
            return await dispatcher.send(kit.attempt(url.format(port=agent.port), kind=kind), "t"), agent

    return asyncio.run(run())


def shape(outcome: Outcome) -> tuple[Verdict, AgentSays, ErrorCode | None]:
    return outcome.verdict, outcome.agent_says, outcome.code


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}",
        "http://127.1:{port}",
        "http://2130706433:{port}",
        "http://0x7f.0.0.1:{port}",
        "http://0:{port}",
        "http://0.0.0.0:{port}",
        "http://[::ffff:127.0.0.1]:{port}",
        "http://[::1]:{port}",
        "http://[::]:{port}",
        "http://localhost:{port}",
        "http://127.0.0.1.:{port}",
        "http://user:secret@127.0.0.1:{port}",
        "ftp://127.0.0.1:{port}",
        "nonsense",
    ],
)
def test_loopback_in_all_its_spellings(kit: Any, url: str) -> None:
    outcome, agent = call(kit, url, cidrs="")
    assert shape(outcome) == REFUSED
    assert agent.connections == 0
    assert "secret" not in outcome.message


def test_literal_addresses_inside_a_listed_range(kit: Any) -> None:
    outcome, agent = call(kit, "http://127.0.0.1:{port}", cidrs="127.0.0.1/32")
    assert outcome.verdict is Verdict.COMPLETED
    assert agent.connections == 1


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"]])
def test_every_address_of_a_name_is_checked(kit: Any, answers: list[str]) -> None:
    outcome, agent = call(kit, "http://agent.example:{port}", cidrs="10.0.0.0/8", lookup=lambda _host, _port: answers)
    assert shape(outcome) == REFUSED
    assert outcome.message == "the agent's address: neither public nor inside AITBC_ALLOW_AGENT_CIDRS; a range listed there is allowed"
    assert agent.connections == 0


def test_resolved_once_connected_to_what_was_checked_and_the_host_kept(kit: Any) -> None:
    asked: list[tuple[str, int]] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    outcome, agent = call(kit, "http://agent.example:{port}/run", lookup=lookup)
    assert outcome.verdict is Verdict.COMPLETED
    assert asked == [("agent.example", agent.port)]
    assert agent.requests[0].headers["host"] == f"agent.example:{agent.port}"


def test_a_dead_address_beside_a_live_one(kit: Any) -> None:
    outcome, _agent = call(kit, "http://agent.example:{port}", lookup=lambda _host, _port: ["127.0.0.99", "127.0.0.1"])
    assert outcome.verdict is Verdict.COMPLETED


def test_concurrent_calls_to_a_refused_name(kit: Any) -> None:
    async def run() -> list[Any]:
        async with kit.dispatching(cidrs="", lookup=lambda _host, _port: ["127.0.0.1"]) as dispatcher:
            return await asyncio.gather(*(dispatcher.send(kit.attempt("http://agent.example"), "t") for _ in range(5)))

    assert {shape(outcome) for outcome in asyncio.run(run())} == {REFUSED}


def test_unknown_kinds_are_not_called(kit: Any) -> None:
    outcome, agent = call(kit, "http://127.0.0.1:{port}", kind="gopher")
    assert shape(outcome) == REFUSED
    assert agent.connections == 0


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxies_are_ignored(kit: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    outcome, agent = call(kit, "http://127.0.0.1:{port}")
    assert outcome.verdict is Verdict.COMPLETED
    assert agent.requests[0].line == "POST /tasks/execute HTTP/1.1"


def test_cookies_are_not_kept(kit: Any) -> None:
    async def run() -> list[dict[str, str]]:
        answer = kit.answering(kit.reply(200, b"1", Set_Cookie="a=b"))
        async with kit.running(answer) as agent, kit.dispatching() as dispatcher:
            for _ in range(2):
                await dispatcher.send(kit.attempt(agent.url), "t")
            return [seen.headers for seen in agent.requests]

    assert all("cookie" not in headers for headers in asyncio.run(run()))


def self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent.example")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "agent.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return pem


def test_certificates_are_checked_and_asked_for_by_name(kit: Any, tmp_path: Path) -> None:
    names: list[str | None] = []
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(self_signed(tmp_path))
    tls.sni_callback = lambda _socket, name, _context: names.append(name)

    async def run() -> tuple[Any, int]:
        async with (
            kit.running(kit.answering(kit.reply()), tls=tls) as agent,
            kit.dispatching(lookup=lambda _host, _port: ["127.0.0.1"]) as dispatcher,
        ):
            asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # the server's view of the handshake
            return await dispatcher.send(kit.attempt(f"https://agent.example:{agent.port}"), "t"), len(agent.requests)

    outcome, requests = asyncio.run(run())
    assert (outcome.verdict, outcome.agent_says, outcome.code) == (Verdict.UNSTARTED, AgentSays.BAD, ErrorCode.CONNECTION_FAILED)
    assert "self-signed certificate" in outcome.message
    assert (names, requests) == (["agent.example"], 0)


GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent, time
from aitbc.dispatch import guard
from aitbc.errors import AddressRefused
try:
    guard.Guard([]).check_url("http://localhost:1")
except AddressRefused as exc:
    assert "AITBC_ALLOW_AGENT_CIDRS" in str(exc)
else:
    raise SystemExit("localhost passed")
guard.LOOKUP_TIME = 0.2
ticks = []
ticker = gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0.02)) for _ in range(50)])
started = time.monotonic()
guard.Guard([], lookup=lambda host, port: gevent.sleep(5)).check_url("http://agent.example")
assert 0.15 < time.monotonic() - started < 1, time.monotonic() - started
assert len(ticks) > 3, "the wait blocked the other greenlets"
"""


def test_registration_under_gevent() -> None:
    run = subprocess.run([sys.executable, "-c", GEVENT], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
