"""Names that change their minds: a resolver of our own answers otherwise each time, and an internal service counts who comes."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aitbc.dispatch import connect
from aitbc.dispatch.guard import Guard
from aitbc.errors import AddressRefused
from aitbc.model.outcome import Outcome, Verdict
from aitbc.model.task import ErrorCode
from aitbc.settings import Settings

INTERNAL, AGENT = "127.0.0.1", "127.0.0.2"
ALLOWED = f"{AGENT}/32"


class Service:
    """Listens where nobody may go. `met`: who came."""

    def __init__(self, port: int = 0) -> None:
        self.met: list[object] = []
        self._listener = socket.create_server((INTERNAL, port))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            self.met.append(address)
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()


@pytest.fixture
def internal() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


class Resolver:
    """Gives one answer after the other; the last stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def __call__(self, _host: str, _port: int) -> list[str]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def send(kit: Any, url: str, times: int = 1, **options: Any) -> list[Outcome]:
    async def run() -> list[Outcome]:
        async with kit.dispatching(**options) as dispatcher:
            return [await dispatcher.send(kit.attempt(url), "t") for _ in range(times)]

    return asyncio.run(run())


def test_public_at_registration_internal_at_the_connect(kit: Any, internal: Service) -> None:
    resolver, url = Resolver(["8.8.8.8"], [INTERNAL]), f"http://agent.example:{internal.port}"
    Guard([], resolver).check_url(url)
    (outcome,) = send(kit, url, cidrs="", lookup=resolver)
    assert (outcome.verdict, outcome.code) == (Verdict.UNSTARTED, ErrorCode.ADDRESS_REFUSED)
    assert internal.met == []


@pytest.mark.parametrize(
    "answers", [[INTERNAL, AGENT], [AGENT, INTERNAL], [AGENT, "::1"], ["8.8.8.8", INTERNAL], ["8.8.8.8", "169.254.169.254"]]
)
def test_mixed_records(kit: Any, internal: Service, answers: list[str]) -> None:
    url = f"http://agent.example:{internal.port}"
    with pytest.raises(AddressRefused, match=r"neither public|metadata"):
        Guard([ALLOWED], Resolver(answers)).check_url(url)
    (outcome,) = send(kit, url, cidrs=ALLOWED, lookup=Resolver(answers))
    assert outcome.code is ErrorCode.ADDRESS_REFUSED
    assert internal.met == []


def test_every_new_connection_asks_and_checks_again(kit: Any, internal: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "DNS_TIME", -1.0)
    resolver = Resolver([AGENT], [INTERNAL])

    async def run() -> list[Outcome]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(kit.reply(200, b"1", Connection="close"))
            writer.close()

        server = await asyncio.start_server(answer, AGENT, internal.port)
        async with server, kit.dispatching(ALLOWED, lookup=resolver) as dispatcher:
            return [await dispatcher.send(kit.attempt(f"http://agent.example:{internal.port}"), "t") for _ in range(2)]

    good, bad = asyncio.run(run())
    assert (good.verdict, bad.code) == (Verdict.COMPLETED, ErrorCode.ADDRESS_REFUSED)
    assert internal.met == []


@pytest.mark.parametrize("part", ["redis_url", "broker_url", "public_url", "port", "flower_port"])
@pytest.mark.parametrize("host", [INTERNAL, "127.9.9.9", "0.0.0.0", "[::ffff:127.0.0.1]", "agent.example"])
def test_the_coordinators_own_ports_inside_an_allowed_range(kit: Any, internal: Service, part: str, host: str) -> None:
    schemes = {"redis_url": "redis", "broker_url": "amqp", "public_url": "http"}
    value: Any = f"{schemes[part]}://{INTERNAL}:{internal.port}" if part in schemes else internal.port
    (outcome,) = send(
        kit,
        f"http://{host}:{internal.port}",
        cidrs="0.0.0.0/0",
        allow_agent_hosts="agent.example",
        lookup=Resolver([INTERNAL]),
        **{part: value},
    )
    assert (outcome.verdict, outcome.code) == (Verdict.UNSTARTED, ErrorCode.ADDRESS_REFUSED)
    assert "coordinator itself" in outcome.message
    assert internal.met == []


def test_an_own_port_that_is_listed_with_its_port(kit: Any, internal: Service) -> None:
    options = {"cidrs": "", "allow_agent_hosts": f"{INTERNAL}:{internal.port}", "port": internal.port}
    (outcome,) = send(kit, f"http://{INTERNAL}:{internal.port}", **options)
    assert outcome.code is ErrorCode.CONNECTION_FAILED  # it was called, and hung up
    assert len(internal.met) == 1


def test_a_denied_range_at_the_connect(kit: Any, internal: Service) -> None:
    (outcome,) = send(kit, f"http://{INTERNAL}:{internal.port}", cidrs="127.0.0.0/8", deny_agent_cidrs="127.0.0.1/32")
    assert outcome.code is ErrorCode.ADDRESS_REFUSED
    assert internal.met == []


def test_a_listed_host_at_the_connect(kit: Any, internal: Service) -> None:
    options = {"cidrs": "", "allow_agent_hosts": "*.example", "lookup": Resolver([INTERNAL])}
    assert send(kit, f"http://agent.example:{internal.port}", **options)[0].code is ErrorCode.CONNECTION_FAILED
    assert len(internal.met) == 1
    assert send(kit, f"http://agent.other:{internal.port}", **options)[0].code is ErrorCode.ADDRESS_REFUSED
    assert len(internal.met) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/hook", "http://localhost:{}/hook", "http://[::ffff:127.0.0.1]:{}/hook", "http://agent.example:{}"]
)
def test_the_same_guard_refuses_a_callback_url(internal: Service, url: str) -> None:
    """What is registered and what is called back go through `check_url` and `Connector`."""

    async def run() -> None:
        guard = Guard.of(Settings(allow_agent_cidrs=""), Resolver([INTERNAL]))
        with pytest.raises(AddressRefused):
            guard.check_url(url.format(internal.port))
        connector = connect.Connector(guard, Resolver([INTERNAL]))
        host = url.partition("://")[2].rpartition(":")[0].strip("[]")
        with pytest.raises(AddressRefused):
            await connector.connect(connect.Origin(tls=False, host=host, port=internal.port), asyncio.Protocol)
        connector.close()

    asyncio.run(run())
    assert internal.met == []
