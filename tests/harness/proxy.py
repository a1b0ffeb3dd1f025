"""A TCP proxy that can go silent in either direction, as a cut network does, or lose one answer and break the connection."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any


class Proxy:
    """`deaf`: what the server answers is thrown away. `silent`: nothing passes at all, new connections neither.

    `lose(word)`: the next request that contains the word is passed on, its answer is lost, and the connection breaks.
    """

    def __init__(self, port: int) -> None:
        self.target, self.deaf, self.silent, self.lost = port, False, False, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.sockets: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self._word: bytes | None = None
        self._doomed: set[socket.socket] = set()  # far ends whose next answer is lost
        self._thread(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/1"

    def lose(self, word: bytes) -> None:
        self._word = word

    def _thread(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # the server is down: as if nobody had listened here
                near.close()
                continue
            self.sockets += [near, far]
            self._thread(self._pass, near, far, False)
            self._thread(self._pass, far, near, True)

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and source in self._doomed:
                    self._doomed.discard(source)
                    self.lost += 1
                    break
                if not answers and self._word is not None and self._word in data:
                    self._word = None
                    self._doomed.add(sink)
                if not self.silent and not (answers and self.deaf):
                    sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every connection."""
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self.threads:
            thread.join(5)
        for one in (self.server, *self.sockets):
            one.close()
