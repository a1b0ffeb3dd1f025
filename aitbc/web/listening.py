"""One listener's server-sent events: what it missed, then what comes, in order and once; cut off when it does not keep up."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache

from aitbc.errors import LedgerAway
from aitbc.ledger.events import MOST_PAGES, PAGE, Event, Stream, place
from aitbc.model.task import TERMINAL
from aitbc.web.feed import ALL

KEEP_ALIVE_SECONDS = 15.0
"""After so long without an event a comment is sent: proxies keep the connection, and a listener that has gone is noticed."""
MOST_BUFFERED = 10_000
"""Events that wait for a listener; one that is further behind is cut off, and may come again with its Last-Event-ID. All listeners
share the events themselves."""
RECONNECT_MILLISECONDS = 1000
"""What a browser waits before it comes again."""
SEND_BUFFER = 128 << 10
"""Bytes that the kernel may keep for a listener; it would let it be megabytes."""
UNREAD_MILLISECONDS = 30_000
"""A connection whose other end takes nothing for so long is closed by the kernel."""

BEGIN = f"retry: {RECONNECT_MILLISECONDS}\n\n".encode()
KEEP_ALIVE = b": keep-alive\n\n"


def wire(word: str, event_id: str, data: object) -> bytes:
    """One event as it is sent. JSON in ASCII has no line breaks."""
    return f"id: {event_id}\nevent: {word}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


@lru_cache(maxsize=MOST_BUFFERED)
def wired(event: Event) -> bytes:
    """Written once for all listeners."""
    return wire(event.word, event.event_id, event.data)


def reset(event_id: str) -> bytes:
    """Events were lost, or one task's would be looked for too long: the client looks for itself, then goes on from here."""
    return wire("reset", event_id, {"reason": "events before this one are not kept any more, or too many to be looked through"})


class Listening:
    """The body of one answer. Made inside the request; read, and closed, by the server after it."""

    def __init__(self, stream: Stream, topic: str, last_id: str, first: bytes, good: Callable[[], bool], leave: Callable[[], None]) -> None:
        """`last_id`: what the client has heard; `first`: sent before all else; `good`: whether it may hear more; `leave`: called once."""
        self._stream, self._topic, self._leave = stream, topic, leave
        self._last, self._first = place(last_id), BEGIN + first
        self._last_id, self._good = last_id, good
        self._buffer: deque[Event] = deque()
        self._more = threading.Event()
        self._ended = self._lost = False
        self._closed = threading.Lock()
        self._cut: Callable[[], None] = lambda: None

    # -- as a listener of the feed
    def hear(self, event: Event) -> None:
        """One more event; one too many cuts this listener off."""
        if len(self._buffer) >= MOST_BUFFERED:
            self.stop()
            self._cut()
            return
        self._buffer.append(event)
        self._more.set()

    def lost(self) -> None:
        """Some events will never come."""
        self._lost = True
        self._more.set()

    def stop(self) -> None:
        """The answer ends."""
        self._ended = True
        self._more.set()

    # -- as the body of an answer
    def through(self, connection: socket.socket | None) -> None:
        """The connection that it goes out by: closed to cut this listener off, since whoever writes to it may be blocked."""
        if connection is None:
            return
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)

        def cut() -> None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

        self._cut = cut

    def __iter__(self) -> Iterator[bytes]:
        """The answer's pieces."""
        yield self._first
        with suppress(LedgerAway):  # the client comes again
            for events in self._missed():
                yield from self._pieces(events)
            while not self._ended:
                yield from self._next()

    def _next(self) -> Iterator[bytes]:
        """Wait for what comes."""
        came = self._more.wait(KEEP_ALIVE_SECONDS)
        if not self._good():
            self._ended = True
            return
        if not came:
            yield KEEP_ALIVE
            return
        self._more.clear()
        if self._lost:
            self._lost = False
            newest = self._stream.newest()
            self._last = place(newest)
            yield reset(newest)
        yield from self._pieces([self._buffer.popleft() for _ in range(len(self._buffer))])

    def close(self) -> None:
        """The server is done with it, or never began."""
        if self._closed.acquire(blocking=False):
            self._leave()

    def _missed(self) -> Iterator[list[Event]]:
        """What came since the client's last event, up to where the feed's own begin."""
        read = 0
        while events := self._stream.after(self._last_id):
            read += 1
            self._last_id = events[-1].event_id
            yield [event for event in events if self._topic in (ALL, event.task_id)]
            if len(events) < PAGE or self._ended:
                return
            if read == MOST_PAGES and self._topic != ALL:
                self.stop()  # it took its first events slowly; it comes again, for a reset
                return

    def _pieces(self, events: list[Event]) -> Iterator[bytes]:
        """Those that were not sent yet, as one piece; the answer ends with its task."""
        new = [event for event in events if place(event.event_id) > self._last]
        if not new:
            return
        self._last = place(new[-1].event_id)
        if self._topic != ALL and new[-1].word in TERMINAL:
            self._ended = True
        yield b"".join(map(wired, new))
