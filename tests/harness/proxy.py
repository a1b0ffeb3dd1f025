"""A TCP proxy before Redis that can go silent in either direction, as a cut network does: nothing is closed, nothing arrives."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any


class Proxy:
    """`deaf`: what the server answers is thrown away. `silent`: nothing passes at all."""

    def __init__(self, port: int) -> None:
        self.target, self.deaf, self.silent = port, False, False
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.sockets: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self._thread(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/1"

    def _thread(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.server.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.sockets += [near, far]
                self._thread(self._pass, near, far, False)
                self._thread(self._pass, far, near, True)

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.silent and not (answers and self.deaf):
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

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
