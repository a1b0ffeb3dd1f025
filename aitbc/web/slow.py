"""Slow clients, in gunicorn's gevent worker: a body has its time, and an answer that nobody reads does not stay.

gunicorn bounds the headers itself (`keepalive`, with the idle time before them) and bounds neither body nor answer. Read before gevent has
patched anything: it must not import Flask.
"""

import errno
import time
from collections.abc import Callable
from typing import Any

import gevent

from aitbc.errors import TooSlow

BODY_SECONDS = 60.0
"""From the headers to the last byte of the body."""
SEND_SECONDS = 60.0
"""For one write of an answer."""


class Body:
    """A request's body that raises TooSlow when its time is over."""

    def __init__(self, body: Any) -> None:
        """The time runs from here."""
        self._body = body
        self._ends = time.monotonic() + BODY_SECONDS
        self.failed = False
        """gunicorn asks: what is left of a failed body is not read, and the connection is closed."""

    def read(self, size: int) -> bytes:
        """So many bytes, or what there is."""
        return self._within(self._body.read, size)

    def readline(self, size: int | None = None) -> bytes:
        """To the end of a line."""
        return self._within(self._body.readline, size)

    def _within(self, read: Callable[[int | None], bytes], size: int | None) -> bytes:
        with gevent.Timeout(max(self._ends - time.monotonic(), 0.001), TooSlow(f"the body did not come within {BODY_SECONDS:g} s")):
            self.failed = True
            data = read(size)
            self.failed = False
            return data


def hasty(handle: Callable[[], None], request: Any, client: Any) -> None:
    """Handle a request whose client may be slow. Raises OSError for one that does not read its answer: gunicorn closes then."""
    request.body = Body(request.body)
    client.settimeout(SEND_SECONDS)
    try:
        handle()
    except TimeoutError:  # gunicorn would log its whole stack; of a client that is gone it says nothing
        raise OSError(errno.ECONNRESET, "the client does not read its answer") from None
