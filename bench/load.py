"""An HTTP client that costs little: so many keep-alive connections that send the same POST, each as soon as the last one is answered."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvloop


@dataclass
class Load:
    """`answered`: 2xx so far. `ahead`: while it is false nothing more is sent."""

    port: int
    path: str
    body: bytes
    connections: int = 32
    ahead: Callable[[int], bool] = lambda _: True
    answered: int = 0
    failed: list[bytes] = field(default_factory=list)

    @property
    def request(self) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body

    def run(self, warm: float, seconds: float, count: Callable[[], int] | None = None) -> tuple[float, float]:
        """Answers a second, and what `count` rose by a second, over `seconds` after a warm-up."""
        return uvloop.run(self._run(warm, seconds, count or (lambda: 0)))

    async def _run(self, warm: float, seconds: float, count: Callable[[], int]) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        links: list[Any] = [await loop.create_connection(lambda: _Link(self), "127.0.0.1", self.port) for _ in range(self.connections)]
        await asyncio.sleep(warm)
        began, answered, counted = time.perf_counter(), self.answered, count()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        rates = (self.answered - answered) / took, (count() - counted) / took
        for transport, link in links:
            link.over = True
            transport.close()
        if self.failed:
            raise AssertionError(f"{len(self.failed)} requests were refused: {self.failed[0][:300]!r}")
        return rates


class _Link(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load, self.request, self.buffer, self.over = load, load.request, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.send()

    def send(self) -> None:
        if self.over:
            return
        if self.load.ahead(self.load.answered):
            self.transport.write(self.request)
        else:
            asyncio.get_running_loop().call_later(0.005, self.send)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0]):
            return
        if head[9:10] == b"2":
            self.load.answered += 1
        else:
            self.load.failed.append(self.buffer)
        self.buffer = b""
        self.send()
