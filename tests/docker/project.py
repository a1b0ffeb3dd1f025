"""The committed docker-compose.yml, brought up with stand-in images: what a user does, and what the tests ask of it."""

import ast
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import docker

from tests.docker.images import run
from tests.harness.cluster import Api
from tests.harness.processes import Process, free_port, wait_for

SERVICES = ("redis", "api", "worker", "flower", "prometheus", "demo-1", "demo-2", "demo-3")
COMPOSE = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
FILES = ["-f", "docker-compose.yml", "-f", "tests/docker/compose.stand-ins.yml"]
PROFILES = ["--profile", "monitoring", "--profile", "demo"]


class Project:
    """One compose project of its own, on ports of its own. `close` leaves nothing behind."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client, self.name = client, f"aitbc-test-{os.getpid()}"
        self.healthy_after = 0.0
        self.api_port, self.flower_port, self.prometheus_port = free_port(), free_port(), free_port()
        self.api = Api(Process("api", [], Path(), {}), self.api_port)  # not a process of ours: only its calls are used

    def compose(self, *words: str) -> str:
        ports = {"AITBC_PORT": self.api_port, "AITBC_FLOWER_PORT": self.flower_port, "PROMETHEUS_PORT": self.prometheus_port}
        env = {"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0", **{name: str(port) for name, port in ports.items()}}
        return run(*COMPOSE, "-p", self.name, *FILES, *PROFILES, *words, **env)

    def container(self, service: str) -> Any:
        """The service's container as it is now."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found

    def health(self) -> dict[str, str]:
        return {service: self.container(service).attrs["State"]["Health"]["Status"] for service in SERVICES}

    def up(self) -> None:
        """Start everything; it is healthy `healthy_after` so many seconds."""
        self.compose("build")
        began = time.monotonic()
        self.compose("up", "-d", "--no-build")
        wait_for(lambda: set(self.health().values()) == {"healthy"}, 90, "everything to be healthy")
        self.healthy_after = time.monotonic() - began
        self.api.key = self.run_in("demo-1", "cat", "/client/api.key")[1].strip()

    def run_in(self, service: str, *command: str) -> tuple[int, str]:
        code, output = self.container(service).exec_run(list(command))
        return code, output.decode()

    def kill(self, services: list[str]) -> float:
        """kill -9 of their first processes, as the host sees them; seconds until the engine has started all of them again."""
        before = {service: self.container(service).attrs["State"] for service in services}
        began = time.monotonic()
        for state in before.values():
            os.kill(state["Pid"], signal.SIGKILL)

        def started(service: str) -> bool:
            state = self.container(service).attrs["State"]
            return state["Running"] and state["StartedAt"] != before[service]["StartedAt"]

        wait_for(lambda: all(map(started, services)), 30, f"{services} to be started again")
        return time.monotonic() - began

    def flower_login(self) -> tuple[str, str]:
        """The user and the password that `keys` made."""
        code, text = self.run_in("flower", "cat", "/keys/flower.py")
        assert code == 0, text
        user, _, password = ast.literal_eval(text.partition("=")[2].strip())[0].partition(":")
        return user, password

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail=40")

    def close(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")
