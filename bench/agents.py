"""The agents' HTTP server: the least that keeps connections alive, counts and can be slow. `python -m bench.agents PORT... [--delay S]`.

`GET /` answers {posts, now, peak, received}: POSTs so far, those that wait for their answer, the most that ever did, and with `--record`
[seconds of this machine's monotonic clock, body] of each.
"""

import argparse
import asyncio
import json
import time
from typing import Any

import uvloop

BODY = b'{"ok":true}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ANSWER = HEAD % len(BODY) + BODY


class Counts:
    """What all ports have seen."""

    posts = now = peak = 0
    delay = 0.0
    received: list[tuple[float, bytes]] | None = None

    def as_json(self) -> bytes:
        received = [(at, json.loads(body)) for at, body in self.received or ()]
        return json.dumps({"posts": self.posts, "now": self.now, "peak": self.peak, "received": received}).encode()


COUNTS = Counts()


class Agent(asyncio.Protocol):
    """One connection: whole requests by their Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.buffer = bytearray()
        self.wanted = 0

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= max(self.wanted, 1):
            end = self.buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head = bytes(self.buffer[:end]).lower()
            self.wanted = end + int(head.partition(b"content-length:")[2].partition(b"\r")[0] or 0)
            if len(self.buffer) < self.wanted:
                return
            body = bytes(self.buffer[end : self.wanted])
            del self.buffer[: self.wanted]
            self.wanted = 0
            self.request(head, body)

    def request(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            told = COUNTS.as_json()
            self.transport.write(HEAD % len(told) + told)
            return
        COUNTS.posts += 1
        if COUNTS.received is not None:
            COUNTS.received.append((time.monotonic(), body))
        if not COUNTS.delay:
            self.transport.write(ANSWER)
            return
        COUNTS.now += 1
        COUNTS.peak = max(COUNTS.peak, COUNTS.now)
        asyncio.get_running_loop().call_later(COUNTS.delay, self.answer)

    def answer(self) -> None:
        COUNTS.now -= 1
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


async def serve(ports: list[int]) -> None:
    """Serve until killed."""
    for port in ports:
        await asyncio.get_running_loop().create_server(Agent, "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ports", nargs="+", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    COUNTS.delay, COUNTS.received = options.delay, [] if options.record else None
    uvloop.run(serve(options.ports))
