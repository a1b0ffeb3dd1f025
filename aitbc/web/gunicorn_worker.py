"""gunicorn's gevent worker, its answers sent in one piece.

gunicorn sends the head of an answer and its body by a system call each, and the client is woken twice: a quarter of a submit's CPU.  Here
the head waits for the first bytes of the body.  Read in gunicorn's first process: see gunicorn_conf.
"""

from typing import Any

from gunicorn.workers.ggevent import GeventWorker


class Joined:
    """A client's socket as an answer sees it: what is sent first waits for what is sent next."""

    def __init__(self, sock: Any) -> None:
        """`sock`: gevent's."""
        self._sock = sock
        self._first: bytes | None = None
        self._open = True

    def sendall(self, data: bytes) -> None:
        """Send it with what waits; the first call of all only lets it wait."""
        if self._open:
            self._first, self._open = data, False
            return
        self._send((self._first or b"") + data)
        self._first = None

    def sendfile(self, *args: Any, **kwargs: Any) -> Any:
        """Send a file behind what waits."""
        self.flush()
        return self._sock.sendfile(*args, **kwargs)

    def flush(self) -> None:
        """Send what waits: an answer may have no body."""
        if self._first:
            self._send(self._first)
            self._first = None

    def _send(self, data: bytes) -> None:
        sent = self._sock.send(data)  # gevent's sendall asks for the size of the buffer first
        if sent < len(data):
            self._sock.sendall(memoryview(data)[sent:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Worker(GeventWorker):  # type: ignore[misc]
    """A gevent worker."""

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Answer one request."""
        joined = Joined(sock)
        try:
            return super().handle_request(listener_name, req, joined, addr)
        finally:
            joined.flush()
