"""What stands around a measured worker: Redis, the agents' server, the API. Loopback only; each is ended by its own process id."""

import contextlib
import http.client
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from aitbc.embedded import find_server
from tests.harness.processes import Process, environment, free_port, wait_for

_numbers = itertools.count()


class Server:
    """A process that lives as long as a `with`; `port` and `folder` are its own."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder / f"{type(self).__name__.lower()}-{next(_numbers)}"
        self.folder.mkdir()
        self.process: Process | None = None

    def launch(self, command: list[str], **env: str) -> Process:
        self.process = Process("out", command, self.folder, environment(**env))
        self.process.start()
        return self.process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if self.process:
            self.process.kill()


class Redis(Server):
    """The newest redis-server found, with an append-only file."""

    def __init__(self, folder: Path, fsync: str = "always") -> None:
        super().__init__(folder)
        self.fsync = fsync
        self.url = f"redis://127.0.0.1:{self.port}/1"
        options = ["--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--bind", "127.0.0.1", "--maxmemory-policy", "noeviction"]
        self.launch([find_server(), "--port", str(self.port), "--dir", str(self.folder), *options])
        self.client: Any = redis.Redis.from_url(self.url)
        wait_for(self._answers, 20, "Redis")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """While queues are filled nothing waits for the disk; what is measured does."""
        self.client.config_set("appendfsync", "no")
        try:
            yield
        finally:
            self.client.config_set("appendfsync", self.fsync)

    def cpu(self) -> float:
        """Seconds of processor time that it has used itself (the rewrite of its file, a child, is not in it)."""
        info = self.client.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])

    def used_memory(self) -> int:
        return int(self.client.info("memory")["used_memory"])

    def __exit__(self, *failure: object) -> None:
        self.client.close()
        super().__exit__(*failure)


class AgentServer(Server):
    """Four ports of one `bench.agents` process, which any number of agents share."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.ports = [self.port, *(free_port() for _ in range(3))]
        self.launch([sys.executable, "-m", "bench.agents", *map(str, self.ports), *options])
        wait_for(self.counts, 10, "the agents' server")

    def url(self, number: int) -> str:
        """Of the agent with this number."""
        return f"http://127.0.0.1:{self.ports[number % 4]}"

    def counts(self) -> Any:
        """posts, now, peak, received (bench/agents.py)."""
        return ask(self.port, "GET", "/")


class Gunicorn(Server):
    """A WSGI application under gunicorn; ready when `GET /health` answers."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        super().__init__(folder)
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", *arguments]
        self.launch(command, AITBC_PORT=str(self.port), **env)
        wait_for(lambda: ask(self.port, "GET", "/health"), 30, "the API")

    def __exit__(self, *failure: object) -> None:
        if self.process:
            self.process.terminate()
            self.process.end_within(8)


def api(folder: Path, redis_url: str, **env: str) -> Gunicorn:
    """Our API, as `aitbc api` runs it."""
    return Gunicorn(folder, "-c", "python:aitbc.web.gunicorn_conf", "aitbc.web:create_app()", REDIS_URL=redis_url, **env)


def ask(port: int, method: str, path: str, body: Any = None) -> Any:
    """The JSON answer of one request. OSError unless it is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as exc:
        raise OSError(f"{method} {path}: {exc!r}") from exc
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{method} {path} answered {answer.status}: {text[:200]!r}")
    return json.loads(text)
