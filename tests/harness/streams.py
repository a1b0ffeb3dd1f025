"""A client of server-sent events that comes again with its Last-Event-ID, as browsers do."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Heard:
    event_id: str
    event: str
    data: Any


def events_of(lines: Iterator[bytes]) -> Iterator[Heard]:
    """Events as they come; comments and `retry` are passed over."""
    fields: dict[str, str] = {}
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Heard(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


@dataclass
class Listener:
    """Listens in a thread of its own from `start` until `end`; `heard` is what came, `statuses` each answer's."""

    port: int
    path: str = "/events"
    last_id: str = ""
    heard: list[Heard] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> "Listener":
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def end(self) -> None:
        self.over.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    @property
    def ids(self) -> list[str]:
        return [one.event_id for one in self.heard]

    _socket: socket.socket | None = None

    def _listen(self) -> None:
        while not self.over.is_set():
            try:
                self._once()
            except (OSError, http.client.HTTPException, ValueError, AttributeError):
                time.sleep(0.05)  # nobody listens there yet

    def _once(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", self.path, headers={"Last-Event-ID": self.last_id} if self.last_id else {})
            self._socket = connection.sock
            answer = connection.getresponse()
            self.statuses.append(answer.status)
            if answer.status != 200:
                if answer.status == 204:
                    self.over.set()
                return
            for one in events_of(iter(answer.readline, b"")):
                self.heard.append(one)
                self.last_id = one.event_id
        finally:
            connection.close()


def until_listening(listeners: list[Listener], wait_for: Callable[..., object]) -> None:
    wait_for(lambda: all(listener.statuses for listener in listeners), 20, "every listener to be answered")
