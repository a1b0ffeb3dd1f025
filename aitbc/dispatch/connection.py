"""One HTTP/1.1 connection to an agent, which carries one exchange after the other."""

import asyncio
from collections.abc import Callable
from typing import cast

from aitbc.dispatch.answer import NO_ANSWER, Answer
from aitbc.dispatch.request import Origin

REMARK_TIME = 2.0
"""Seconds that the body of an answer is waited for when its status alone decides."""


class Connection(asyncio.Protocol):
    """Belongs to one call at a time. `answer`: the last one asked for, as far as it came; `idle_since`: for whoever keeps it."""

    def __init__(self, origin: Origin, lost: "Callable[[Connection], None]") -> None:
        """`lost` is told when it has closed, from whichever side."""
        self.origin = origin
        self.answer = NO_ANSWER
        self.idle_since = 0.0
        self.request_left = True
        """The whole request had gone to the kernel when the answer's headers came."""
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Nobody has closed it yet, as far as is known here."""
        return not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Request and answer went through to their ends, and nothing stands against a next exchange."""
        return self.answer.reusable and self._waiter is None and self.open and not self._transport.get_write_buffer_size()

    def exchange(self, head: bytes, body: bytes, deadline: float, cap: int) -> asyncio.Future[None]:
        """Send a request; the future ends with the answer, at the latest at `deadline` (in the loop's time).

        `cap`: of the body. It raises TimeoutError, Unreadable, ResponseTooLarge or OSError. Whoever waits no more calls `abort`.
        """
        self.answer = Answer(cap)
        self.request_left = True
        waiter = self._waiter = self._loop.create_future()
        self._timer = self._loop.call_at(deadline, self._time_is_up)
        self._transport.write(head + body)
        return waiter

    def abort(self) -> None:
        """Close at once: a close in good order would wait until an agent that does not read takes the rest of the request."""
        self._end(ConnectionAbortedError("the call was cut"))
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer, or such as nobody asked for: then nobody knows what the next ones belong to."""
        if self._waiter is None:
            self._transport.abort()
            return
        answer = self.answer
        begins = not answer.status
        try:
            answer.feed(data)
        except Exception as exc:  # noqa: BLE001 - whoever waits must hear of it
            self._end(exc)
            return
        if begins and answer.status:
            self.request_left = not self._transport.get_write_buffer_size()
        if answer.complete:
            self._end(None)
        elif begins and answer.status_decides:
            self._hurry()

    def eof_received(self) -> None:
        """The agent sends no more; the connection closes."""
        self._disconnected(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whichever side."""
        self._disconnected(exc)
        self._lost(self)

    def _disconnected(self, exc: Exception | None) -> None:
        if self._waiter is None:
            return
        try:
            self.answer.end(exc)
        except Exception as error:  # noqa: BLE001 - as above
            self._end(error)
        else:
            self._end(None)

    def _hurry(self) -> None:
        at = self._loop.time() + REMARK_TIME
        if self._timer is not None and at < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(at, self._time_is_up)

    def _time_is_up(self) -> None:
        self._end(TimeoutError())

    def _end(self, exc: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiter is None:
            return
        self.answer.close()
        if waiter.done():  # by a cancel
            return
        if exc is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(exc)
