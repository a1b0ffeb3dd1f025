"""The ledger's events as this process hears them: one reader of the stream, whoever listens, so a listener costs Redis nothing."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from aitbc.errors import Full, LedgerAway
from aitbc.ledger.events import Event, Stream
from aitbc.telemetry.once import OutageLog

log = logging.getLogger(__name__)

BLOCK_SECONDS = 1.0
"""How long one read of the events blocks; the reader ends this long after its last listener."""
ALL = ""
"""The topic of whoever listens to every task; the others' is their task's id."""


class Listener(Protocol):
    """Somebody who is told of events, in the reader's thread: it must not block."""

    def hear(self, event: Event) -> None:
        """One more event."""

    def lost(self) -> None:
        """Some events were cut off before they were read."""

    def stop(self) -> None:
        """The process stops: no more will come."""


class Feed:
    """The listeners of a process, at most `limit`, and half of that of one owner. Threads and greenlets may use it alike."""

    def __init__(self, stream: Stream, limit: int) -> None:
        """`limit`: beyond it nobody listens."""
        self._stream = stream
        self._limit, self._share = limit, max(1, limit // 2)
        self._lock = threading.Lock()
        self._listeners: dict[str, set[Listener]] = {}
        self._count = 0
        self._of: Counter[str] = Counter()
        """Listeners by owner; those of nobody are not counted."""
        self._reader: threading.Thread | None = None
        self._stands = threading.Event()
        self._outage = OutageLog("the ledger's event stream")
        self.closed = False

    def enter(self, topic: str, listener: Listener, owner: str) -> None:
        """Hear what comes from now on; `leave` must follow. `owner`: the API key that has a share only, empty when none or an admin's.

        Raises Full when too many listen, of this owner or all together, or the process stops.
        """
        with self._lock:
            self._refuse_more(owner)
            self._count += 1
            if owner:
                self._of[owner] += 1
            self._listeners.setdefault(topic, set()).add(listener)
            if self._reader is None or not self._reader.is_alive():
                self._stands.clear()
                self._reader = threading.Thread(target=self._read, name="feed", daemon=True)
                self._reader.start()

    def leave(self, topic: str, listener: Listener, owner: str) -> None:
        """Hear no more. `owner`: as it entered."""
        with self._lock:
            self._count -= 1
            if owner:
                self._of[owner] -= 1
                if not self._of[owner]:
                    del self._of[owner]
            heard = self._listeners[topic]
            heard.discard(listener)
            if not heard:
                del self._listeners[topic]

    def stands(self, seconds: float = BLOCK_SECONDS) -> bool:
        """Wait until the reader knows where the stream stands: whoever looks after that misses nothing between the two. False: not yet."""
        return self._stands.wait(seconds)

    def close(self) -> None:
        """Let all go, now; nobody listens any more. For a process that stops."""
        with self._lock:
            self.closed = True
            for listener in self._everybody():
                listener.stop()

    def _refuse_more(self, owner: str) -> None:
        if self.closed:
            raise Full("this process stops: try again", retry_after=5)
        if self._count >= self._limit:
            raise Full(f"{self._limit} requests are held open here already (AITBC_HELD_REQUESTS): try again", retry_after=5)
        if owner and self._of[owner] >= self._share:
            raise Full(
                f"{self._share} requests of this API key are held open here already, its share (half of AITBC_HELD_REQUESTS):"
                " end some, or try again",
                retry_after=5,
            )

    def _read(self) -> None:
        """The reader: lives while somebody listens."""
        last, away = "", False
        while self._wanted():
            try:
                last = last or self._stream.newest()
                if away and not self._stream.holds(last):
                    self._lose()
                    last = self._stream.newest()
                self._stands.set()
                events, away = self._stream.follow(last, BLOCK_SECONDS), False
            except LedgerAway as exc:
                self._outage.down(exc)
                away = True
                time.sleep(BLOCK_SECONDS)
                continue
            self._outage.up()
            last = events[-1].event_id if events else last
            self._tell(events)

    def _wanted(self) -> bool:
        with self._lock:
            if self._listeners:
                return True
            self._reader = None
            return False

    def _tell(self, events: Sequence[Event]) -> None:
        with self._lock:
            for event in events:
                for topic in (event.task_id, ALL):
                    for listener in self._listeners.get(topic, ()):
                        listener.hear(event)

    def _lose(self) -> None:
        with self._lock:
            for listener in self._everybody():
                listener.lost()

    def _everybody(self) -> list[Listener]:
        return [listener for heard in self._listeners.values() for listener in heard]
