"""A slowloris of 200 sockets, half dripping headers, half bodies, while others are served: at gunicorn alone, and behind nginx."""

import contextlib
import http.client
import json
import os
import selectors
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from tests.harness.cluster import Cluster
from tests.harness.nginx import TRUSTED, Nginx
from tests.harness.processes import environment, free_port, wait_for

SOCKETS = 200
SECONDS = 4.0
"""What this gunicorn gives headers and bodies, in place of 30 s and 60 s."""
CONF = f"""
from aitbc.web import slow
from aitbc.web.gunicorn_conf import *
keepalive = {SECONDS:g}
slow.BODY_SECONDS = {SECONDS}
"""
HEAD = b"POST /tasks/submit HTTP/1.1\r\nHost: x\r\n"


@dataclass
class Slowloris:
    """Opens its sockets with `connect` and sends a byte on each five times a second until it is told to stop or cut off."""

    connect: Callable[[], socket.socket]
    heard: dict[socket.socket, bytes] = field(default_factory=dict)
    closed_after: list[float] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._halt, self._began = threading.Event(), time.monotonic()
        self.bodies = set()
        for n in range(SOCKETS):
            client = self.connect()
            if n % 2:
                self.bodies.add(client)
                client.sendall(HEAD + b"Content-Length: 5000\r\n\r\n{")
            else:
                client.sendall(HEAD + b"X-A: ")
            client.setblocking(False)
            self.heard[client] = b""
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join()
        for client in self.heard:
            client.close()

    def _drip(self) -> None:
        watch = selectors.DefaultSelector()
        for client in self.heard:
            watch.register(client, selectors.EVENT_READ)
        while not self._halt.is_set() and watch.get_map():
            for key, _ in watch.select(0.2):
                if not self._hears(key.fileobj):
                    watch.unregister(key.fileobj)
                    self.closed_after.append(time.monotonic() - self._began)
            for key in list(watch.get_map().values()):
                with contextlib.suppress(OSError):
                    key.fileobj.send(b"x")  # type: ignore[union-attr]
            self._halt.wait(0.2)

    def _hears(self, client: Any) -> bool:
        try:
            data = client.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        self.heard[client] += data
        return bool(data)


def served_beside(connection: Callable[[], http.client.HTTPConnection]) -> list[float]:
    """Two clients submit and read, 30 times each; the seconds that each call took. Every one must be a 200."""
    took: list[float] = []
    failed: list[Any] = []

    def client() -> None:
        mine = connection()
        for _ in range(30):
            for method, path, body in (("POST", "/tasks/submit", b'{"task_data":{}}'), ("GET", "/tasks?limit=1", None)):
                began = time.monotonic()
                mine.request(method, path, body)
                answer = mine.getresponse()
                text = answer.read()
                took.append(time.monotonic() - began)
                if answer.status != 200:
                    failed.append((answer.status, text))
        mine.close()

    threads = [threading.Thread(target=client) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(took) == 120
    return took


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


@pytest.fixture
def short(cluster: Cluster, tmp_path: Path) -> Iterator[int]:
    """The port of a gunicorn of one process with short times."""
    conf, port = tmp_path / "short.py", free_port()
    conf.write_text(CONF)
    env = environment(REDIS_URL=cluster.redis_url, AITBC_PORT=str(port), AITBC_API_WORKERS="1", AITBC_LOG_LEVEL="info")
    with (tmp_path / "short.log").open("w") as log:
        command = [sys.executable, "-m", "gunicorn", "-c", str(conf), "aitbc.web:create_app()"]
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            wait_for(lambda: _up(port), 30, "gunicorn")
            yield port
        finally:
            process.terminate()
            process.wait(20)
    assert "Traceback" not in (tmp_path / "short.log").read_text()


def _up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/tasks?limit=1")  # the first call opens what later ones use
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_gunicorn_alone(short: int) -> None:
    def call() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", short, timeout=10)

    without = p99(served_beside(call))
    with Slowloris(lambda: socket.create_connection(("127.0.0.1", short), 10)) as slow:
        beside = p99(served_beside(call))
        wait_for(lambda: len(slow.closed_after) == SOCKETS, 15, "all to be cut off")
    told(f"p99 without {without * 1000:.0f} ms, beside {SOCKETS} slow sockets at gunicorn {beside * 1000:.0f} ms")
    assert beside < SECONDS  # none waited for a slow one to be cut off
    assert min(slow.closed_after) >= SECONDS * 0.9
    answers = [slow.heard[client] for client in slow.bodies]
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    assert json.loads(answers[0].partition(b"\r\n\r\n")[2])["detail"] == f"the body did not come within {SECONDS:g} s"


def test_an_answer_that_nobody_reads(cluster: Cluster, tmp_path: Path) -> None:
    """What gunicorn's write waits for is bounded, and is no error of ours in the log."""
    from aitbc.web import slow

    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow, "SEND_SECONDS", 0.2)
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            slow.hasty(lambda: ours.sendall(b"x" * (8 << 20)), type("Request", (), {"body": None})(), ours)
        assert 0.2 <= time.monotonic() - began < 2


def test_behind_nginx(cluster: Cluster) -> None:
    """None of the slow sockets reaches gunicorn: nginx passes on what has come whole."""
    api = cluster.api()
    nginx = Nginx(cluster.directory, api.port, free_port())
    context = ssl.create_default_context(cafile=str(nginx.folder / "aitbc.crt"))

    def call() -> http.client.HTTPConnection:
        return http.client.HTTPSConnection("127.0.0.1", nginx.port, context=context, timeout=10, source_address=(TRUSTED, 0))

    def drip() -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", nginx.port), 10, source_address=(TRUSTED, 0))
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    try:
        without = p99(served_beside(call))
        with Slowloris(drip) as slow:
            beside = p99(served_beside(call))
            at_gunicorn = sum(c.status == "ESTABLISHED" and c.laddr.port == api.port for c in psutil.net_connections("tcp"))
            assert slow.closed_after == []
        told(
            f"p99 without {without * 1000:.0f} ms, beside {SOCKETS} slow sockets at nginx {beside * 1000:.0f} ms; {at_gunicorn} at gunicorn"
        )
        assert at_gunicorn <= 8
        assert beside < SECONDS
    finally:
        nginx.close()


def told(line: str) -> None:
    """The measured figures, for whoever looks: pytest -s, or the file named in AITBC_FIGURES."""
    if name := os.environ.get("AITBC_FIGURES"):
        with Path(name).open("a") as figures:
            figures.write(line + "\n")
