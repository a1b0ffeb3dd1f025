"""Real HTTP agents in a thread of the test: what they answer is set by the test, what they were sent is kept."""

import asyncio
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.harness.processes import HERE, Place

Answer = Callable[["HttpAgent", web.Request, Any], Awaitable[web.StreamResponse]]


async def succeed(agent: "HttpAgent", _: web.Request, body: Any) -> web.StreamResponse:
    """After the agent's delay: 200 with the task's id."""
    await asyncio.sleep(agent.delay)
    return _done(agent, body)


def _done(agent: "HttpAgent", body: Any) -> web.StreamResponse:
    return web.json_response({"done": body["task_id"], "by": agent.name})


async def unevenly(agent: "HttpAgent", request: web.Request, body: Any) -> web.StreamResponse:
    """As `succeed`, after 0.5 to 1.5 times the delay: with equal times workers and agents turn in lockstep, in the same pairs."""
    await asyncio.sleep(agent.delay * random.uniform(0.5, 1.5))
    return _done(agent, body)


async def hang(_: "HttpAgent", __: web.Request, ___: Any) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(3600)
    raise AssertionError("unreachable")


async def accept(_: "HttpAgent", __: web.Request, ___: Any) -> web.StreamResponse:
    """202: the test calls back."""
    return web.json_response({"status": "accepted"}, status=202)


def status(code: int, body: Any = None, **headers: str) -> Answer:
    """Always this status."""

    async def answer(_: "HttpAgent", __: web.Request, ___: Any) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text=json.dumps(body) if body is not None else "", headers=named)

    return answer


class HttpAgent:
    """One agent. `received`: every body in order, `callers`: the addresses that they came from; `peak`: most calls at once.

    `calls`: how many are in flight from each address.
    """

    def __init__(self, name: str, answer: Answer, delay: float) -> None:
        self.name, self.answer, self.delay = name, answer, delay
        self.received: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.callers: list[str] = []
        self.calls = Counter[str]()
        self.working = self.peak = 0
        self.url = ""

    @property
    def sends(self) -> Counter[str]:
        """How often each task was sent here."""
        return Counter(body["task_id"] for body in self.received)

    async def execute(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.received.append(body)
        self.headers.append(dict(request.headers))
        caller = request.remote or ""
        self.callers.append(caller)
        self.calls[caller] += 1
        self.working += 1
        self.peak = max(self.peak, self.working)
        try:
            return await self.answer(self, request, body)
        finally:
            self.working -= 1
            self.calls[caller] -= 1


class Agents:
    """The agents of one test; `close` ends them and their thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agents", daemon=True)
        self._runners: dict[str, web.AppRunner] = {}
        self._servers: list[asyncio.Server] = []
        self.all: list[HttpAgent] = []
        self._thread.start()

    def start(self, name: str, answer: Answer = succeed, delay: float = 0.0, at: Place = HERE) -> HttpAgent:
        agent = HttpAgent(name, answer, delay)
        listener = at.run(lambda: socket.create_server((at.address, 0), backlog=1024))  # what it accepts is there too
        agent.url = f"http://{at.address}:{listener.getsockname()[1]}"
        asyncio.run_coroutine_threadsafe(self._serve(agent, listener), self._loop).result(10)
        self.all.append(agent)
        return agent

    def stop(self, agent: HttpAgent) -> None:
        """Its port refuses connections from now on, its calls break."""
        asyncio.run_coroutine_threadsafe(self._runners.pop(agent.name).cleanup(), self._loop).result(10)

    @property
    def sends(self) -> Counter[str]:
        """How often each task was sent to any of them."""
        return sum((agent.sends for agent in self.all), Counter())

    def call_soon(self, function: Callable[[], object]) -> None:
        """Run it in the agents' thread."""
        self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        for agent in self.all:
            if agent.name in self._runners:
                self.stop(agent)
        asyncio.run_coroutine_threadsafe(self._end_raw(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def raw(self, name: str, serve: Callable[["HttpAgent", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> HttpAgent:
        """An agent that does with each connection what it wants."""
        agent = HttpAgent(name, hang, 0)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(agent, reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(connected, "127.0.0.1", 0, limit=4096), self._loop).result(10)
        agent.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._servers.append(server)
        self.all.append(agent)
        return agent

    async def _end_raw(self) -> None:
        for server in self._servers:
            server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _serve(self, agent: HttpAgent, listener: socket.socket) -> None:
        app = web.Application()
        app.router.add_post("/tasks/execute", agent.execute)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        self._runners[agent.name] = runner
