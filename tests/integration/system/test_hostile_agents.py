"""Agents that mean harm, through a real API and worker: cut off on time, in bounded memory, with the reason, and nobody else feels it."""

import asyncio
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from aitbc.settings import Settings
from aitbc.web.app import build
from tests.conformance.adapters.servers import CASES
from tests.harness.agents import Agents, HttpAgent
from tests.harness.cluster import Api, Cluster

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TIMEOUT, EACH = 1.5, 2
RSS_GROWTH = 50 << 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(Path(tmp_path_factory.mktemp("hostile")))
    cluster.api()
    cluster.worker()
    yield cluster
    cluster.healthy()
    cluster.close()


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Api:
    process = next(process for process in cluster.processes if process.name == "api")
    return Api(process, int(process.env["AITBC_PORT"]))


Serve = Callable[[HttpAgent, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def after_request(then: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> Serve:
    async def serve(agent: HttpAgent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        agent.received.append(None)
        await then(writer)
        await writer.drain()

    return serve


def wire(*parts: bytes) -> Serve:
    """These bytes, then the end."""

    async def then(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return after_request(then)


def endless(begin: bytes, part: bytes, pause: float = 0.0) -> Serve:
    async def then(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return after_request(then)


async def reset(writer: asyncio.StreamWriter) -> None:
    """In the middle of the body, by RST."""
    writer.write(OK + b"Content-Length: 100\r\n\r\n" + b'{"half":')
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def redirects(agent: HttpAgent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """10,000 of them, one for each request."""
    while len(agent.received) < 10_000:
        await reader.readuntil(b"\r\n\r\n")
        agent.received.append(None)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n" % len(agent.received))
        await reader.readuntil(b"}}")  # the end of its body: the callback is last


async def silent(_: HttpAgent, __: asyncio.StreamReader, ___: asyncio.StreamWriter) -> None:
    """Take the connection and do nothing."""
    await asyncio.sleep(3600)


def bomb() -> Iterator[bytes]:
    """A gzip of 1 GiB of zeros, made of one block of 16 MiB over and over."""
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = compress.compress(bytes(16 << 20)) + compress.flush(zlib.Z_FULL_FLUSH)
    yield OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    for _ in range(64):
        yield block


def answer(body: bytes, *headers: str) -> bytes:
    return OK + "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}")).encode() + b"\r\n" + body


UTF16 = answer('{"a": "é"}'.encode("utf-16"), "Content-Type: application/json; charset=utf-16")
LATIN = answer('{"a": "é"}'.encode("latin-1"), "Content-Type: application/json; charset=iso-8859-1")
GARBAGE = bytes(range(256)) * 64
HOSTILE: dict[str, tuple[Serve, str]] = {
    "dripping headers": (endless(OK, b"X-A: b\r\n", 0.05), "run_timeout"),
    "dripping body": (endless(OK + b"Content-Length: 99999\r\n\r\n", b" ", 0.05), "run_timeout"),
    "dripping chunks": (endless(CHUNKED, b"1\r\n \r\n", 0.05), "run_timeout"),
    "silence": (silent, "run_timeout"),
    "endless chunks": (endless(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"), "response_too_large"),
    "endless chunk extension": (endless(CHUNKED + b"1;", b"x" * 65536), "invalid_response"),
    "endless body without a length": (endless(OK + b"\r\n", b" " * 65536), "response_too_large"),
    "endless interim answers": (endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 500), "invalid_response"),
    "gzip bomb of 1 GiB": (wire(*bomb()), "response_too_large"),
    "length too long": (wire(OK + b"Content-Length: 1000\r\n\r\n{}"), "invalid_response"),
    "length of a terabyte": (endless(OK + b"Content-Length: 1000000000000\r\n\r\n", b" " * 65536), "response_too_large"),
    "length no number": (wire(OK + b"Content-Length: -5\r\n\r\n{}"), "invalid_response"),
    "header of 4 MiB": (wire(OK + b"X-A: " + b"a" * (4 << 20) + b"\r\n\r\n"), "invalid_response"),
    "4 MiB of headers": (wire(OK + b"X-A: b\r\n" * (1 << 19) + b"\r\n"), "invalid_response"),
    "reset in the body": (after_request(reset), "invalid_response"),
    "garbage": (wire(GARBAGE), "invalid_response"),
    "garbage in the body": (wire(answer(GARBAGE)), "invalid_response"),
    "10,000 redirects": (redirects, "redirect_refused"),
    "UTF-16": (wire(UTF16), "invalid_response"),
    "Latin-1": (wire(LATIN), "invalid_response"),
    "another charset's name on UTF-8": (wire(answer('{"a": "é"}'.encode(), "Content-Type: text/plain; charset=koi8-r")), ""),
    "length too short": (wire(answer(b"{}") + b" " * 1000), ""),
}
"""Each with the code that its tasks end with; those without end well, for their bytes are JSON."""


def seconds(task: Any, since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


class Healthy:
    """A client of a good agent. `latencies`: from submit to end, by the ledger's clock."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def one(self, _: object) -> float:
        task = self.api.task(self.api.submit(requirements={"capabilities": ["healthy"]}), wait=20)
        assert (task["state"], task["agent_id"]) == ("completed", "healthy")
        return seconds(task, task["submitted_at"], task["ended_at"])

    def p99(self, while_true: Callable[[int], bool]) -> float:
        latencies: list[float] = []
        while while_true(len(latencies)):
            with ThreadPoolExecutor(2) as threads:
                latencies += threads.map(self.one, range(10))
        return sorted(latencies)[int(len(latencies) * 0.99) - 1]


class Peak(threading.Thread):
    """The most memory that a process had."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.over = psutil.Process(pid), threading.Event()
        self.begin = self.most = self.process.memory_info().rss

    def run(self) -> None:
        while not self.over.wait(0.01):
            self.most = max(self.most, self.process.memory_info().rss)


def test_hostile_agents(cluster: Cluster, api: Api, agents: Agents, capsys: pytest.CaptureFixture[str]) -> None:
    api.register("healthy", agents.start("healthy").url, capabilities=["healthy"])
    hostile = {name: agents.raw(name, serve) for name, (serve, _) in HOSTILE.items()}
    for number, (name, agent) in enumerate(hostile.items()):
        api.register(f"hostile-{number}", agent.url, capabilities=[name], heartbeat_timeout=0)
    healthy = Healthy(api)
    healthy.p99(lambda count: count < 20)
    without = healthy.p99(lambda count: count < 60)

    peak = Peak(next(process.pid for process in cluster.processes if process.name == "worker"))
    peak.start()
    options = {"run_timeout": TIMEOUT, "max_attempts": 1}
    tasks = {api.submit(requirements={"capabilities": [name]}, **options): name for _ in range(EACH) for name in HOSTILE}
    until = time.monotonic() + TIMEOUT
    beside = healthy.p99(lambda count: count < 60 or time.monotonic() < until)
    ended = api.ended(list(tasks), 20)
    peak.over.set()

    for task_id, name in tasks.items():
        task, code = ended[task_id], HOSTILE[name][1]
        if code:
            assert (task["state"], (task["error"] or {}).get("code")) == ("failed", code), (name, task)
            assert task["error"]["message"], name
        else:
            assert task["state"] == "completed", (name, task)
        (attempt,) = task["attempts"]
        took = seconds(task, attempt["began_at"], attempt["ended_at"])
        assert took < TIMEOUT + 0.5, (name, took)
        assert took > TIMEOUT - 0.1 or code != "run_timeout", (name, took)
    assert len(hostile["10,000 redirects"].received) == EACH
    growth = peak.most - peak.begin
    with capsys.disabled():
        print(
            f"\nhostile: {len(tasks)} calls, p99 {beside * 1000:.0f} ms beside, {without * 1000:.0f} without; +{growth >> 20} MiB", end=" "
        )
    assert growth < RSS_GROWTH
    assert beside < without + 0.3


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind != "http"])
def test_an_agent_of_another_kind(api: Api, agents: Agents, kind: str) -> None:
    """From register to result; the adapters by themselves are in tests/conformance/adapters."""
    case = CASES[kind]
    server = agents.raw(kind, wire(answer(case.answer)))
    about = {"endpoints": {kind: server.url + ("/rpc" if kind == "a2a" else "")}, "heartbeat_timeout": 0, "capabilities": [kind]}
    api.register(f"a-{kind}", "", **about)
    task = api.task(api.submit(task_data=case.task, requirements={"capabilities": [kind]}), wait=10)
    assert (task["state"], task["result"]) == ("completed", case.result)


@pytest.fixture
def internal() -> Iterator[tuple[int, list[object]]]:
    """A service that nobody may reach: its port, and who did."""
    met: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    met.append(listener.accept()[1])
                except OSError:
                    return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listener.getsockname()[1], met
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


SPELLINGS = [
    "http://127.0.0.1:{}", "http://127.1:{}", "http://2130706433:{}", "http://0x7f000001:{}", "http://0177.0.0.1:{}", "http://0:{}",
    "http://0.0.0.0:{}", "http://[::1]:{}", "http://[::]:{}", "http://[::ffff:127.0.0.1]:{}", "http://[::ffff:7f00:1]:{}",
    "http://[::127.0.0.1]:{}", "http://[64:ff9b::7f00:1]:{}", "http://[2002:7f00:1::]:{}", "http://[::1%25lo]:{}", "http://[fe80::1%25lo]:{}",
    "http://localhost:{}", "http://LOCALHOST:{}", "http://127.0.0.1.:{}", "http://u:p@127.0.0.1:{}", "http://8.8.8.8@127.0.0.1:{}",
    "http://127.0.0.1:{}#@8.8.8.8", "http://8.8.8.8\\@127.0.0.1:{}", "http://127.0.0.1:{}\\@8.8.8.8", "http://127.0.0.1:{}?@8.8.8.8",
    "http://%31%32%37.0.0.1:{}", "http://①②⑦.⓪.⓪.①:{}", "http://127。0。0。1:{}", "http://ⓛocalhost:{}", "http://127.0.0.1\t:{}",
    "http:127.0.0.1:{}",
    "gopher://127.0.0.1:{}", "http://169.254.169.254/latest?{}", "http://[fd00:ec2::254]:{}", "http://10.0.0.1:{}",
]  # fmt: skip


def test_an_internal_service_is_not_registered_however_it_is_spelt(cluster: Cluster, internal: tuple[int, list[object]]) -> None:
    ledger = cluster.ledger
    client = build(Settings(redis_url=cluster.redis_url, allow_agent_cidrs=""), ledger).test_client()
    port, met = internal
    for spelling, kind in [(spelling, "http") for spelling in SPELLINGS] + [(SPELLINGS[0], kind) for kind in CASES]:
        body = {"agent_id": "spelt", "agent_type": "worker", "endpoints": {kind: spelling.format(port)}}
        refused = client.post("/agents/register", json=body)
        assert refused.status_code == 422, (spelling, refused.json)
        assert refused.json["detail"].startswith(f"endpoints.{kind}: ")
    assert client.get("/agents/spelt").status_code == 404
    assert met == []
    ledger.close()


def test_the_coordinators_own_ports_are_not_registered(cluster: Cluster, api: Api) -> None:
    for port in (cluster.redis_port, api.port, 5555):
        for host in ("127.0.0.1", "localhost", "[::1]", "127.3.2.1", "[::ffff:127.0.0.1]"):
            body = {"agent_id": "own", "agent_type": "worker", "endpoints": {"http": f"http://{host}:{port}"}}
            status, problem = api.call("POST", "/agents/register", body)
            assert (status, "coordinator itself" in problem["detail"]) == (422, True), (host, port, problem)
    assert api.call("GET", "/agents/own")[0] == 404


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_to_an_internal_service(api: Api, agents: Agents, internal: tuple[int, list[object]], status: int) -> None:
    port, met = internal
    target = f"http://127.0.0.1:{port}/"
    head = f"HTTP/1.1 {status} X\r\nLocation: {target}\r\nRefresh: 0; url={target}\r\nContent-Length: 0\r\n\r\n"
    server = agents.raw(f"redirects-{status}", wire(head.encode()))
    api.register(server.name, server.url, capabilities=[server.name])
    task = api.task(api.submit(requirements={"capabilities": [server.name]}), wait=10)
    assert (task["state"], task["error"]["code"]) == ("failed", "redirect_refused")
    assert json.dumps(task).count(f":{port}") >= 1  # the reason says whereto
    assert met == []
