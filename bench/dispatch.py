"""What one call to an agent costs this process, in microseconds of CPU: `python -m bench.dispatch [CALLS] [ROUNDS]`.

Rounds alternate between the whole dispatch path (`Dispatcher.send`: request, signature, guard, deadline, answer, outcome) and a bare
exchange of the same bytes on kept sockets, the least any client can cost; the agents are another process, on loopback.
"""

import argparse
import asyncio
import base64
import contextlib
import gc
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from aitbc.dispatch.client import Dispatcher
from aitbc.dispatch.request import Terms, build_http
from aitbc.dispatch.signing import SecretBox
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Outcome, Verdict
from aitbc.model.priority import Priority
from aitbc.settings import Settings
from aitbc.worker.pool import GC_YOUNG
from tests.harness.processes import Process, environment, free_port

IN_FLIGHT = (64, 256)
KEY = base64.b64encode(b"k" * 32).decode()
ATTEMPT = Attempt(
    lease_id="5f0f9a52-9d0c-4f0c-8c0e-2d3a6c1b7e55:1",
    attempt=1,
    deadline=time.time() + 300,
    seconds_left=300.0,
    priority=Priority.NORMAL,
    task_data=b'{"x":"' + b"y" * 200 + b'"}',
    requirements=b"",
    retries=0,
    idempotent=False,
    agent_id="agent-1",
    url="",
    kind="http",
    sealed_secret="",
)

Call = Callable[[Attempt], Awaitable[object]]


class Bare(asyncio.Protocol):
    """A kept connection that writes what it is given and takes any read for the answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """The answer."""
        self.answer.set_result(data)

    def call(self, wire: bytes) -> asyncio.Future[bytes]:
        """One exchange."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(wire)
        return self.answer


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[Call]:
    """The floor."""
    idle: dict[str, list[Bare]] = {}
    request = build_http(replace(ATTEMPT, url="http://127.0.0.1:1"), Terms("t" * 43, "", "http://127.0.0.1:9001", time.time(), 300.0))
    head = "POST /tasks/execute HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    wire = f"{head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body

    async def call(attempt: Attempt) -> object:
        kept = idle.setdefault(attempt.url, [])
        if not kept:
            port = int(attempt.url.rpartition(":")[2])
            kept.append((await asyncio.get_running_loop().create_connection(Bare, "127.0.0.1", port))[1])
        connection = kept.pop()
        answer = await connection.call(wire)
        kept.append(connection)
        return answer

    yield call
    for connection in (connection for kept in idle.values() for connection in kept):
        connection.transport.close()


@contextlib.asynccontextmanager
async def dispatch() -> AsyncIterator[Call]:
    """The whole path."""
    dispatcher = Dispatcher(Settings(allow_agent_cidrs="127.0.0.0/8", secret_key=KEY))

    async def call(attempt: Attempt) -> object:
        outcome = await dispatcher.send(attempt, "t" * 43)
        if not isinstance(outcome, Outcome) or outcome.verdict is not Verdict.COMPLETED:
            raise RuntimeError(outcome)
        return outcome

    yield call
    await dispatcher.close()


CLIENTS: dict[str, tuple[Callable[[], contextlib.AbstractAsyncContextManager[Call]], str]] = {
    "bare exchange": (bare, ""),
    "dispatch": (dispatch, ""),
    "dispatch, signed": (dispatch, SecretBox(KEY).seal("whsec_" + base64.b64encode(b"s" * 24).decode(), ATTEMPT.agent_id)),
}
"""What is measured, and the sealed secret of its attempts."""


async def measure(name: str, urls: list[str], calls: int, in_flight: int) -> float:
    """Microseconds of CPU a call, user and system, of this process."""
    client, sealed = CLIENTS[name]
    attempts = [replace(ATTEMPT, url=url, sealed_secret=sealed) for url in urls]
    async with client() as call:

        async def lane(number: int, count: int) -> None:
            for _ in range(count):
                await call(attempts[number % len(attempts)])

        await asyncio.gather(*(lane(number, 3) for number in range(in_flight)))
        began = cpu()
        await asyncio.gather(*(lane(number, calls // in_flight) for number in range(in_flight)))
        return (cpu() - began) / (calls // in_flight * in_flight) * 1e6


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", nargs="?", type=int, default=20_000)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    arguments = parser.parse_args()
    ports = [free_port() for _ in range(4)]
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 20)  # as a worker does
    with tempfile.TemporaryDirectory() as folder:
        agents = Process("agents", [sys.executable, "-m", "bench.agents", *map(str, ports)], Path(folder), environment())
        agents.start()
        try:
            time.sleep(1)
            table([f"http://127.0.0.1:{port}" for port in ports], arguments.calls, arguments.rounds)
        finally:
            agents.kill()


def table(urls: list[str], calls: int, rounds: int) -> None:
    """Median µs a call and median of the ratios to the bare exchange of the same round."""
    load = os.getloadavg()[0]
    print(f"| {calls} calls, {rounds} rounds, load {load:.1f} | in flight | µs CPU a call | ÷ bare exchange (spread) |")
    print("|-|-|-|-|")
    for in_flight in IN_FLIGHT:
        found: dict[str, list[float]] = {name: [] for name in CLIENTS}
        for _ in range(rounds):
            for name in CLIENTS:
                found[name].append(uvloop.run(measure(name, urls, calls, in_flight)))
        for name, costs in found.items():
            ratios = sorted(cost / floor for cost, floor in zip(costs, found["bare exchange"], strict=True))
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
            print(f"| {name} | {in_flight} | {statistics.median(costs):.1f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
