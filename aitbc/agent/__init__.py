"""Write an agent in ten lines.

    from aitbc.agent import Agent

    agent = Agent("worder", capabilities=["counting"])

    @agent.task
    def count(task_data):
        return {"words": len(task_data["text"].split())}

    agent.run()

The function gets `task_data` and returns the result, both JSON.  Raise WorkFailed to say why it failed, and whether another try may help;
any other exception is a failure for good.  `current()` tells the id, the attempt and the seconds it has.  Calls run in threads, at most
`max_concurrency` at once.  A thread cannot be ended from outside: when the time is up or the task is cancelled the coordinator closes the
connection, and a long function looks at `current().abandoned()` now and then.
"""

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aitbc.agent.presence import Presence
from aitbc.agent.server import AgentServer
from aitbc.agent.signature import key_of
from aitbc.agent.work import Desk, Execution, Handler, WorkFailed, current
from aitbc.errors import Misconfigured
from aitbc.settings import client_key

__all__ = ["Agent", "Execution", "Handler", "WorkFailed", "current"]

log = logging.getLogger("aitbc.agent")


class Agent:
    """A registered HTTP service that executes tasks with one function."""

    def __init__(
        self,
        agent_id: str,
        coordinator: str = "http://127.0.0.1:9001",
        handler: Handler | None = None,
        *,
        agent_type: str = "worker",
        capabilities: Sequence[str] = (),
        services: Sequence[str] = (),
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        max_concurrency: int = 10,
        weight: float = 1.0,
        heartbeat_timeout: float = 120.0,
        host: str = "127.0.0.1",
        port: int = 0,
        public_url: str = "",
        secret: str = "",
        api_key: str | None = None,
    ) -> None:
        """`port` 0 takes a free one; `public_url` is how the coordinator reaches this agent, empty: http://HOST:PORT.

        `secret`: with it, 16 characters or more, the coordinator signs its requests, and others are answered 401; the coordinator then
        needs AITBC_SECRET_KEY.
        `heartbeat_timeout` in seconds: silent for so long, the agent counts as dead; it sends one every third of that (0: none).
        `api_key`: what the coordinator knows it by; None takes that of AITBC_API_KEY or AITBC_API_KEY_FILE.
        Raises Misconfigured for a secret that is none and a file that cannot be read.
        """
        self.agent_id, self.coordinator, self.host, self.port = agent_id, coordinator.rstrip("/"), host, port
        self._handler, self._public_url = handler, public_url
        self._api_key = client_key() if api_key is None else api_key
        lists = {"capabilities": list(capabilities), "services": list(services), "tags": list(tags)}
        limits = {"max_concurrency": max_concurrency, "weight": weight, "heartbeat_timeout": heartbeat_timeout}
        about = {"agent_id": agent_id, "agent_type": agent_type, "metadata": dict(metadata or {}), "instance_id": secrets.token_hex(8)}
        self._about: dict[str, Any] = {**about, **lists, **limits, **({"secret": secret} if secret else {})}
        self._desk, self._key = Desk(max_concurrency), key_of(secret)
        self._ending = threading.Event()
        self._server: AgentServer | None = None
        self._presence: Presence | None = None

    @property
    def url(self) -> str:
        """Where the coordinator finds this agent."""
        return self._public_url or f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def task(self, handler: Handler) -> Handler:
        """Decorate the function that does the work."""
        self._handler = handler
        return handler

    def start(self, wait: float = 0) -> None:
        """Serve and register in the background; with `wait`, return once registered, after at most that many seconds.

        Registering is tried until the coordinator answers.  Raises Misconfigured without a handler, for a port that is taken, and (when
        waiting) for a registration that was refused.
        """
        if self._handler is None:
            raise Misconfigured(f"Agent {self.agent_id} has no function to call: decorate one with @agent.task")
        self._ending.clear()
        self._desk.closing = threading.Event()
        try:
            self._server = AgentServer((self.host, self.port), self.agent_id, self._desk, self._handler, self._key)
        except OSError as exc:
            raise Misconfigured(f"Agent {self.agent_id} cannot listen on {self.host} port {self.port}: {exc.strerror}") from exc
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name=f"serve {self.agent_id}", daemon=True).start()
        self._presence = Presence(self.coordinator, {**self._about, "endpoints": {"http": self.url}}, self._desk.load, self._api_key)
        self._presence.start()
        if wait:
            self._presence.registered.wait(wait)
            self._raise_refusal()

    @property
    def registered(self) -> bool:
        """The coordinator knows this agent."""
        return self._presence is not None and self._presence.registered.is_set() and not self._presence.refusal

    def stop(self, grace: float = 10) -> None:
        """Leave the coordinator, let running work end for `grace` seconds, then abandon it and close."""
        if self._presence is not None:
            self._presence.leave()
        end = time.monotonic() + grace
        while self._desk.running and time.monotonic() < end and not self._ending.is_set():
            time.sleep(0.02)
        self._desk.closing.set()
        if self._server is not None:
            self._server.close()
        self._presence = self._server = None

    def run(self, grace: float = 10) -> None:
        """Serve until SIGTERM or Ctrl-C; a second one does not wait for running work. From the main thread.

        Raises Misconfigured as `start`, and when the coordinator refuses the registration.
        """
        stopping = threading.Event()

        def end(*_: object) -> None:
            (self._ending if stopping.is_set() else stopping).set()

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.start()
            log.info("agent %s (pid %s) listens on %s", self.agent_id, os.getpid(), self.url)
            while not stopping.wait(0.2) and self._presence is not None and not self._presence.refusal:
                pass
            self._raise_refusal()
        finally:
            self.stop(grace)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _raise_refusal(self) -> None:
        if self._presence is not None and self._presence.refusal:
            raise Misconfigured(f"The coordinator refuses agent {self.agent_id}: {self._presence.refusal}")
