"""An agent's presence: register until somebody answers, send heartbeats, register again when forgotten, leave at the end."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from aitbc.errors import Misconfigured

log = logging.getLogger("aitbc.agent")

TIMEOUT = 5
"""Seconds for one call to the coordinator."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two tries while the coordinator is away: doubled from the first to the longest."""
TRY_AGAIN = frozenset({0, 408, 429})
"""Answers (0: none) after which the same call may succeed; so may any 5xx."""


class Presence:
    """Keeps one agent known to one coordinator, on a thread of its own."""

    def __init__(self, coordinator: str, about: Mapping[str, Any], load: Callable[[], dict[str, float]], api_key: str = "") -> None:
        """`about` is the body of the registration, `load` what each heartbeat reports. Raises Misconfigured for a bad URL or key."""
        if not (api_key.isascii() and api_key.isprintable()):
            raise Misconfigured("AITBC_API_KEY holds characters that no key has")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        parts = urlsplit(coordinator)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Misconfigured(f"coordinator={coordinator!r}: a URL is needed that begins with http:// or https://")
        self.registered = threading.Event()
        self.refusal = ""
        self._coordinator, self._parts, self._about, self._load = coordinator, parts, about, load
        self._path = f"/agents/{quote(about['agent_id'], safe='')}"
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"presence {about['agent_id']}", daemon=True)

    def start(self) -> None:
        """Begin to register."""
        self._thread.start()

    def leave(self) -> None:
        """Remove the agent at the coordinator (one try); what runs there ends in peace."""
        self._leaving.set()
        self._thread.join(TIMEOUT + 1)
        if self.registered.is_set() and not self.refusal:
            status, text = self._call("DELETE", self._path)
            if status >= 300 or not status:  # no answer: it is most likely ending too
                log.log(logging.WARNING if status else logging.INFO, "agent %s could not deregister: %s", self._about["agent_id"], text)

    def _keep(self) -> None:
        while not self._leaving.is_set() and self._register():
            self._beat()

    def _register(self) -> bool:
        """True once registered; False when leaving, or refused for good."""
        status, text = self._insist("POST", "/agents/register", lambda: self._about)
        if 200 <= status < 300:
            log.info("agent %s is registered at %s", self._about["agent_id"], self._coordinator)
        elif status:
            self.refusal = text
            log.error("agent %s was refused: %s", self._about["agent_id"], text)
        if status:
            self.registered.set()
        return 200 <= status < 300

    def _beat(self) -> None:
        """Heartbeats until the coordinator does not know the agent, or the end."""
        timeout = float(self._about["heartbeat_timeout"])
        while not self._leaving.wait(timeout / 3 if timeout else None):
            status, text = self._insist("POST", f"{self._path}/heartbeat", lambda: {"load_metrics": self._load()})
            if status == 404:
                log.warning("agent %s is unknown to the coordinator: registering again", self._about["agent_id"])
                return
            if status >= 300:
                log.warning("a heartbeat of agent %s was refused: %s", self._about["agent_id"], text)

    def _insist(self, method: str, path: str, body: Callable[[], Mapping[str, Any]]) -> tuple[int, str]:
        """Call until the answer is one that a repeat would not change; status 0 when leaving."""
        pause = FIRST_PAUSE
        while not self._leaving.is_set():
            status, text = self._call(method, path, body())
            if status not in TRY_AGAIN and status < 500:
                return status, text
            self._leaving.wait(pause)
            if pause < LONGEST_PAUSE <= pause * 2:  # once, after some seconds: both may just be starting
                log.warning("the coordinator at %s does not answer: %s", self._coordinator, text)
            pause = min(pause * 2, LONGEST_PAUSE)
        return 0, ""

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
        """Status and, unless it went well, why; status 0 when nobody answered."""
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT)
        text = None if body is None else json.dumps(body)
        try:
            headers = {**self._headers, **({"Content-Type": "application/json"} if text else {})}
            connection.request(method, self._parts.path.rstrip("/") + path, text, headers)
            response = connection.getresponse()
            return response.status, _detail(response.status, response.read())
        except (OSError, HTTPException) as exc:
            return 0, str(exc) or type(exc).__name__
        finally:
            connection.close()


def _detail(status: int, raw: bytes) -> str:
    try:
        body = json.loads(raw)
        faults = [f"{fault['pointer']}: {fault['detail']}" for fault in body.get("errors") or ()]
        return "; ".join([str(body.get("detail") or body.get("message")), *faults])
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"it answered {status}"
