"""HTTP submits a second, our API beside a hand-written Flask + `apply_async`, on gunicorn: `python -m bench.submit [OPTIONS] [NAME ...]`.

One Redis with `appendonly yes, appendfsync always`; two processes a server; so many connections, kept alive, each with one request under
way.  Nobody reads the queues; they are emptied before each run.  Loopback only.
"""

import argparse
import asyncio
import contextlib
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
import uvloop

from tests.harness.processes import Process, environment, free_port, redis_binary, wait_for

OURS, HAND = ["-c", "python:aitbc.web.gunicorn_conf", "aitbc.web:create_app()"], ["--keep-alive", "30", "bench.flask_celery:app"]
GTHREAD = ["-k", "gthread", "--threads"]
TASK = b'{"task_data":{"text":"' + b"y" * 150 + b'","n":1},"priority":"high","requirements":{"capabilities":["general"]}}'
SERVERS: dict[str, tuple[list[str], int]] = {
    "Flask + apply_async, gevent": (["-k", "gevent", *HAND], 0),
    "Flask + apply_async, gthread 4": ([*GTHREAD, "4", *HAND], 0),
    "Flask + apply_async, gthread 16": ([*GTHREAD, "16", *HAND], 0),
    "Flask + apply_async, sync": (["-k", "sync", *HAND], 0),
    "submit, gevent": (OURS, 0),
    "submit, gthread 4": ([*GTHREAD, "4", *OURS], 0),
    "submit, gthread 16": ([*GTHREAD, "16", *OURS], 0),
    "submit, gthread 1064": ([*GTHREAD, "1064", *OURS], 0),
    "submit, sync": (["-k", "sync", *OURS], 0),
    "batch of 100, gevent": (OURS, 100),
}
"""Name → gunicorn's arguments, tasks a batch (0: single submits)."""


@dataclass
class Load:
    """What the clients of one run counted."""

    host: str
    port: int
    request: bytes
    tasks: int = 0
    times: list[float] = field(default_factory=list)
    failures: int = 0
    over: bool = False


class Client(asyncio.Protocol):
    """One connection: one request after the other. A server that closes it (sync workers do) is connected to anew."""

    def __init__(self, load: Load, weight: int) -> None:
        self.load, self.weight, self.buffer, self.began = load, weight, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.send()

    def send(self) -> None:
        self.buffer, self.began = b"", time.perf_counter()
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        if head.startswith(b"HTTP/1.1 200"):
            self.load.tasks += self.weight
            self.load.times.append(time.perf_counter() - self.began)
        else:
            self.load.failures += 1
        if self.load.over or b"\r\nconnection: close" in head.lower():
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.load.over:
            _kept.add(asyncio.ensure_future(connect(self.load, self.weight)))


_kept: set[Any] = set()


async def connect(load: Load, weight: int) -> None:
    """One more connection."""
    await asyncio.get_running_loop().create_connection(lambda: Client(load, weight), load.host, load.port)


async def drive(load: Load, weight: int, connections: int, seconds: float) -> float:
    """Warm up for 0.3 s, then count; the seconds that were counted."""
    for _ in range(connections):
        await connect(load, weight)
    await asyncio.sleep(0.3)
    load.tasks, load.times, load.failures = 0, [], 0
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    spent, load.over = time.perf_counter() - began, True
    await asyncio.sleep(0.3)
    return spent


def processor(pid: int) -> float:
    """Seconds of CPU that a process and its children have used."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in family)


@dataclass
class Slice:
    """One run: tasks a second, request times in seconds, µs of CPU a task of the server and of Redis."""

    rate: float
    times: list[float]
    server: float
    redis: float


class Bench:
    """One Redis, and all servers from the beginning: idle ones cost nothing, and runs of a moment can take turns on a noisy machine."""

    def __init__(self, directory: Path, connections: int, seconds: float, names: list[str]) -> None:
        self.directory, self.connections, self.seconds, port = directory, connections, seconds, free_port()
        self.url = f"redis://127.0.0.1:{port}/1"
        options = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--bind", "127.0.0.1", "--dir", str(directory)]
        self.redis = Process("redis", [redis_binary(), "--port", str(port), *options], directory, environment())
        self.redis.start()
        self.client = redis.Redis.from_url(self.url)
        wait_for(lambda: _listens(port), 10, "Redis")
        self.servers = {name: self.serve(name) for name in names}

    def warm_up(self) -> None:
        """Until each server has imported what it needs."""
        for name in self.servers:
            wait_for(lambda name=name: _listens(self.servers[name][1]), 30, name)
            while not self.run(name).rate:
                pass  # it is importing still

    def serve(self, name: str) -> tuple[Process, int]:
        """A server and its port."""
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", *SERVERS[name][0]]
        server = Process(f"api-{port}", command, self.directory, environment(REDIS_URL=self.url, BENCH_REDIS=self.url))
        server.start()
        return server, port

    def run(self, name: str) -> Slice:
        """Load one server for a moment."""
        self.client.flushdb()
        (server, port), batch = self.servers[name], SERVERS[name][1]
        body = b'{"tasks":[' + b",".join([TASK] * batch) + b"]}" if batch else TASK
        path = b"/tasks/submit/batch" if batch else b"/tasks/submit"
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (path, len(body))
        load = Load("127.0.0.1", port, head + body)
        before = processor(server.pid), processor(self.redis.pid)
        spent = uvloop.run(drive(load, batch or 1, self.connections, self.seconds))
        used = processor(server.pid) - before[0], processor(self.redis.pid) - before[1]
        assert not load.failures, server.tail()
        queued = sum(int(self.client.llen(queue)) for queue in ("high", "celery"))
        assert queued >= load.tasks, f"{load.tasks} accepted, {queued} queued"
        return Slice(load.tasks / spent, load.times, *(part / max(1, queued) * 1e6 for part in used))

    def close(self) -> None:
        """End all."""
        for server, _ in self.servers.values():
            server.stop()
        self.redis.kill()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def row(name: str, slices: list[Slice], base: list[Slice]) -> str:
    """One line of the table."""
    ratios = sorted(mine.rate / other.rate for mine, other in zip(slices, base, strict=True))
    times = sorted(moment for mine in slices for moment in mine.times)
    server, redis_, rate = (statistics.median(getattr(mine, key) for mine in slices) for key in ("server", "redis", "rate"))
    waits = f"{times[len(times) // 2] * 1000:.1f}, {times[len(times) * 99 // 100] * 1000:.1f}"
    spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
    return f"| {name} | {rate:.0f} | {waits} | {server:.0f}, {redis_:.0f} | {spread} |"


def main() -> None:
    """Print the table: medians of the rounds, ratios by round to the first name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SERVERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.5)
    chosen = parser.parse_args()
    names = [name for name in SERVERS if any(part in name for part in chosen.names)]
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), chosen.connections, chosen.seconds, names)
        try:
            bench.warm_up()
            rounds = [{name: bench.run(name) for name in names} for _ in range(chosen.rounds)]
        finally:
            bench.close()
    head = f"| {chosen.rounds} rounds, {chosen.connections} connections | tasks/s | p50, p99 ms | CPU µs: API, Redis | ÷ {names[0]} |"
    print(head + "\n|-|-|-|-|-|")
    for name in names:
        print(row(name, [found[name] for found in rounds], [found[names[0]] for found in rounds]))


if __name__ == "__main__":
    main()
