"""Connections between calls: kept for the next one to the same origin, for a moment, and so many at most."""

import asyncio

from aitbc.dispatch.connect import Connector
from aitbc.dispatch.connection import Connection
from aitbc.dispatch.request import Origin

CONNECT_TIME = 5.0
"""Seconds for name, connect and TLS together: an agent that is not there must not hold a task for its run_timeout."""
IDLE_TIME = 1.5
"""Seconds that an idle connection is kept. Less than the keep-alive of common servers (gunicorn's is 2 s), so that a request hardly
ever meets a connection that the agent is just closing: such a call has an unknown outcome."""
SWEEP_TIME = 0.1
"""Seconds between two looks for old ones, at least."""


class Connections:
    """All connections of a worker process. The last one given back is the first taken again, so that those too many grow old."""

    def __init__(self, connector: Connector, most_idle: int) -> None:
        """`most_idle`: over all origins; beyond it the one that is idle longest goes. To one origin never more than calls were at once."""
        self._connector = connector
        self._most_idle = most_idle
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        """In the order in which they became idle."""
        self._by_origin: dict[Origin, list[Connection]] = {}
        """The same, for each origin that has any."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection; it is open, and a request may be written in this turn of the loop."""
        kept = self._by_origin.get(origin)
        while kept:
            connection = kept[-1]
            self._forget(connection)
            if connection.open and self._loop.time() - connection.idle_since < IDLE_TIME:
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin, seconds: float) -> Connection:
        """A new connection, open like those of `take`, within so many seconds, at most CONNECT_TIME.

        Raises TimeoutError, AddressRefused and OSError.
        """
        if self._closed:
            raise OSError("the worker stops")
        async with asyncio.timeout(min(seconds, CONNECT_TIME)):
            connection = await self._connector.connect(origin, lambda: Connection(origin, self._lost))
        if not connection.open:
            connection.abort()
            raise ConnectionResetError("closed as soon as it was open")
        self._all.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it if its exchange went through to the end; cut it otherwise, whatever is under way on it."""
        if not connection.reusable:
            connection.abort()
            return
        if len(self._idle) >= self._most_idle:
            self._drop(next(iter(self._idle)))
        connection.idle_since = self._loop.time()
        self._idle[connection] = None
        self._by_origin.setdefault(connection.origin, []).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(IDLE_TIME, self._close_old)

    def close(self) -> None:
        """Close all; calls under way fail."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._all):
            connection.abort()
        self._connector.close()

    def _close_old(self) -> None:
        now = self._loop.time()
        self._sweep = None
        while self._idle:
            oldest = next(iter(self._idle))
            age = now - oldest.idle_since
            if age < IDLE_TIME:
                self._sweep = self._loop.call_later(max(IDLE_TIME - age, SWEEP_TIME), self._close_old)
                return
            self._drop(oldest)

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.abort()

    def _forget(self, connection: Connection) -> None:
        """It is not idle any more. The last of its origin when it is taken, the first when it is too old."""
        del self._idle[connection]
        kept = self._by_origin[connection.origin]
        if kept[-1] is connection:
            kept.pop()
        else:
            kept.remove(connection)
        if not kept:
            del self._by_origin[connection.origin]

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._forget(connection)
