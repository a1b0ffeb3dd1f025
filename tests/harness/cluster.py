"""One Redis and any number of nodes (an API, a worker) on it."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from aitbc.ledger.client import Ledger
from aitbc.ledger.doctor import examine
from aitbc.settings import Settings
from tests.harness.processes import HERE, Place, Process, environment, free_port, redis_binary, wait_for

FEW = 20
"""Tasks that are read one by one; more of them are read from the listing, 200 a call."""


class Api:
    """One API process group and its port."""

    def __init__(self, process: Process, port: int, address: str = HERE.address) -> None:
        self.process, self.port, self.url = process, port, f"http://{address}:{port}"
        self.key = ""  # an API key, sent with every call

    def call(self, method: str, path: str, body: Any = None, timeout: float = 70, **headers: str) -> tuple[int, Any]:
        """Status and JSON answer."""
        data = None if body is None else json.dumps(body).encode()
        always = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        request = urllib.request.Request(self.url + path, data, {**always, **headers}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, json.load(answer)

    def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        status, answer = self.call(method, path, body, **headers)
        assert status == 200, (method, path, status, answer)
        return answer

    def register(self, agent_id: str, url: str, **fields: Any) -> Any:
        body = {"agent_id": agent_id, "agent_type": "worker", "endpoints": {"http": url}, **fields}
        return self.ok("POST", "/agents/register", body)

    def submit(self, **fields: Any) -> str:
        return str(self.ok("POST", "/tasks/submit", {"task_data": {}, **fields})["task_id"])

    def task(self, task_id: str, wait: float = 0) -> Any:
        return self.ok("GET", f"/tasks/{task_id}?wait={wait}")["task"]

    def listed(self) -> Iterator[Any]:
        """Every task, newest first."""
        cursor = ""
        while True:
            page = self.ok("GET", f"/tasks?limit=200{cursor}")
            yield from page["tasks"]
            if not page["next_cursor"]:
                return
            cursor = f"&cursor={page['next_cursor']}"

    def ended(self, task_ids: list[str], seconds: float = 30) -> dict[str, Any]:
        """The tasks, when all are terminal."""
        found: dict[str, Any] = {}

        def all_ended() -> bool:
            missing = set(task_ids) - set(found)
            for task in self.listed() if len(missing) > FEW else map(self.task, missing):
                if task["task_id"] in missing and task["state"] in ("completed", "failed", "cancelled"):
                    found[task["task_id"]] = task
            return len(found) == len(set(task_ids))

        try:
            wait_for(all_ended, seconds, "every task's end")
        except AssertionError:
            rest = [self.task(t) for t in task_ids if t not in found]
            raise AssertionError(f"{len(rest)} of {len(task_ids)} have not ended, e.g. {rest[:2]}") from None
        return found


class Cluster:
    """Start Redis at once, `at` a place, and nodes as the test asks; `close` ends everything."""

    def __init__(self, directory: Path, at: Place = HERE, **env: str) -> None:
        self.directory, self.at, self.env, self.redis_port = directory, at, env, free_port()
        self.redis_url = f"redis://{at.address}:{self.redis_port}/1"
        self.processes: list[Process] = []
        self.public_url = ""  # the first API's: what callback urls begin with
        self.redis = self._redis()
        self.start_redis()

    def _redis(self) -> Process:
        options = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        open_to = ["--bind", self.at.address, "--protected-mode", "no"]
        command = [redis_binary(), "--port", str(self.redis_port), "--dir", str(self.directory), *options, *open_to]
        process = Process("redis", self.at.inside(command), self.directory, environment())
        self.processes.append(process)
        return process

    def start_redis(self) -> None:
        self.redis.start()
        client = redis.Redis(self.at.address, self.redis_port)

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

        wait_for(answers, 60, "Redis")  # it may have half an hour of a soak to load
        client.close()

    def _environment(self, **extra: str) -> dict[str, str]:
        common = {"REDIS_URL": self.redis_url, "AITBC_SHUTDOWN_TIMEOUT": "0.5", "AITBC_PUBLIC_URL": self.public_url}
        return environment(**{**common, **self.env, **extra})

    def api(self, name: str = "api", at: Place = HERE, port: int = 0, **env: str) -> Api:
        """`port`: that of an API which has ended; else a free one."""
        port = port or free_port()
        extra = self._environment(**{"AITBC_PORT": str(port), "AITBC_API_WORKERS": "1", **at.env, **env})
        command = [sys.executable, "-m", "gunicorn", "-c", "python:aitbc.web.gunicorn_conf", "aitbc.web:create_app()"]
        process = Process(name, at.inside(command), self.directory, extra)
        api = Api(process, port, at.address)
        self.processes.append(process)
        process.start()
        wait_for(lambda: api.call("GET", "/health")[0] == 200, 20, f"{name}'s /health")
        self.public_url = self.public_url or api.url
        return api

    def worker(self, name: str = "worker", at: Place = HERE, *, wait: bool = True, **env: str) -> Process:
        command = [sys.executable, "-m", "celery", "-A", "aitbc.tasks", "worker", "--loglevel", "INFO", "-n", f"{name}@test"]
        process = Process(name, at.inside(command), self.directory, self._environment(**{**at.env, **env}))
        self.processes.append(process)
        process.start()
        if wait:
            wait_for(lambda: f"{name}@test ready" in process.log.read_text(errors="replace"), 30, f"{name} to be ready")
        return process

    @property
    def ledger(self) -> Ledger:
        return Ledger(Settings(redis_url=self.redis_url), connections=4)

    def healthy(self) -> None:
        """The doctor finds nothing."""
        ledger = self.ledger
        found = examine(ledger)
        ledger.close()
        assert found == []

    def close(self) -> None:
        """SIGTERM first: a process that is killed cannot say which lines it ran (coverage)."""
        for process in self.processes:
            if process is not self.redis:
                process.terminate()
        for process in reversed(self.processes):
            if process is not self.redis:
                process.end_within(8)
        self.redis.kill()
