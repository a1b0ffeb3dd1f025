"""An agent that a test scripts down to the byte, and what it takes to call it."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from aitbc.dispatch.client import Dispatcher
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Accepted, Outcome
from aitbc.model.priority import Priority
from aitbc.settings import Settings

LOOPBACK = "127.0.0.0/8,::1/128"


@dataclass
class Seen:
    """A request as it came in."""

    line: str
    headers: dict[str, str]
    body: bytes
    rest: asyncio.StreamReader


Script = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Agent:
    """A TCP server that reads whole requests and lets the script answer each."""

    script: Script
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                seen = await read_request(reader)
                self.requests.append(seen)
                await self.script(seen, writer)
        self.closed.set()


async def read_request(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Seen(head[0], headers, await reader.readexactly(int(headers["content-length"])), reader)


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """A whole answer, in bytes; `_` in header names stands for `-`."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answering(wire: bytes, *, close: bool = False) -> Script:
    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(wire)
        await writer.drain()
        if close:
            writer.close()

    return script


@contextlib.asynccontextmanager
async def running(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Agent]:
    agent = Agent(script)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(agent.serve(reader, writer))
        task.add_done_callback(lambda _: writer.close())
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    agent.port = server.sockets[0].getsockname()[1]
    try:
        yield agent
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # closed transports say so in the next turns of the loop


@contextlib.asynccontextmanager
async def dispatching(cidrs: str = LOOPBACK, **options: Any) -> AsyncIterator[Dispatcher]:
    """A Dispatcher; `lookup` aside, options are settings."""
    more = {"lookup": options.pop("lookup")} if "lookup" in options else {}
    dispatcher = Dispatcher(Settings(allow_agent_cidrs=cidrs, **options), **more)
    try:
        yield dispatcher
    finally:
        await dispatcher.close()
        await asyncio.sleep(0.01)


def make_attempt(url: str, **fields: Any) -> Attempt:
    values: dict[str, Any] = {
        "lease_id": "task-1:1",
        "attempt": 1,
        "deadline": time.time() + fields.get("seconds_left", 5.0),
        "seconds_left": 5.0,
        "priority": Priority.NORMAL,
        "task_data": b'{"n": 1}',
        "requirements": b"",
        "retries": 0,
        "idempotent": False,
        "agent_id": "agent-1",
        "url": url,
        "kind": "http",
        "sealed_secret": "",
    }
    return Attempt(**(values | fields))


@dataclass(frozen=True)
class Kit:
    """All of the above, for tests that cannot import a conftest."""

    running = staticmethod(running)
    dispatching = staticmethod(dispatching)
    attempt = staticmethod(make_attempt)
    reply = staticmethod(reply)
    answering = staticmethod(answering)

    def call(self, script: Script, *, cidrs: str = LOOPBACK, settings: dict[str, Any] | None = None, **fields: Any) -> "Called":
        """One call to one agent, timed."""

        async def run() -> Called:
            async with running(script) as agent, dispatching(cidrs, **(settings or {})) as dispatcher:
                started = time.monotonic()
                outcome = await dispatcher.send(make_attempt(agent.url, **fields), "token")
                return Called(outcome, time.monotonic() - started, agent)

        return asyncio.run(run())


@dataclass(frozen=True)
class Called:
    outcome: Outcome | Accepted
    seconds: float
    agent: Agent

    @property
    def ended(self) -> Outcome:
        assert isinstance(self.outcome, Outcome)
        return self.outcome


@pytest.fixture
def kit() -> Kit:
    return Kit()
