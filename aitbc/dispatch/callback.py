"""Tell a task's callback_url of its end: one POST, signed, through the address guard, on connections apart from those to agents."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aitbc.dispatch.connect import Connector
from aitbc.dispatch.connection import Connection
from aitbc.dispatch.guard import Guard, parse_url
from aitbc.dispatch.kept import Connections
from aitbc.dispatch.own import Lookup, system_lookup
from aitbc.dispatch.request import COMMON_HEADERS, Origin, Request
from aitbc.dispatch.signing import key_of, webhook_headers
from aitbc.errors import Invalid, Misconfigured
from aitbc.settings import Settings

SECONDS = 10.0
"""Of one POST, connect and answer together."""
ANSWER_BYTES = 64 << 10
"""Of an answer, whose status alone counts."""
MOST_IDLE = 64


@dataclass(frozen=True, slots=True)
class Message:
    """`message_id`: the same in every try; `kind`: `task.` and the state; `ended_at`: ISO-8601; `task`: as the API shows it."""

    message_id: str
    kind: str
    ended_at: str
    task: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """Standard Webhooks' payload. ASCII only, so that whatever an agent answered can be written."""
        return json.dumps({"type": self.kind, "timestamp": self.ended_at, "data": self.task}, separators=(",", ":")).encode()


class Messenger:
    """Makes the calls to callback_urls of a worker process. No redirects, no cookies, no proxies."""

    def __init__(self, settings: Settings, *, lookup: Lookup = system_lookup) -> None:
        """Made inside the running loop. `lookup`: how names are resolved (in threads).

        Raises Misconfigured naming AITBC_ALLOW_AGENT_CIDRS or AITBC_CALLBACK_SECRET.
        """
        self._secret = checked_secret(settings.callback_secret)
        self._loop = asyncio.get_running_loop()
        self._connections = Connections(Connector(Guard.of(settings, lookup), lookup), MOST_IDLE)

    async def tell(self, url: str, message: Message, now: float) -> int:
        """POST and return the status of the answer; its body does not matter. `now`: Unix seconds.

        Raises AddressRefused, OSError, TimeoutError and Unreadable when there is no answer.
        """
        request = self._request(url, message, int(now))
        head, origin, deadline = request.head(), request.origin, self._loop.time() + SECONDS
        connection = self._connections.take(origin) or await self._connections.connect(origin, SECONDS)
        try:
            await connection.exchange(head, request.body, deadline, ANSWER_BYTES)
        except Exception:
            if not _answered(connection):
                raise
        finally:
            self._connections.give_back(connection)
        return connection.answer.status

    def close(self) -> None:
        """Calls under way fail."""
        self._connections.close()

    def _request(self, url: str, message: Message, timestamp: int) -> Request:
        body = message.body
        signed = webhook_headers(self._secret, message.message_id, timestamp, body)
        return Request(parse_url(url), COMMON_HEADERS | signed, body)


def origin_of(url: str) -> Origin:
    """Whom a URL is at. Raises AddressRefused."""
    return Request(parse_url(url), {}, b"").origin


def checked_secret(secret: str) -> str:
    """Raises Misconfigured for a secret that none is."""
    try:
        if secret:
            key_of(secret)
    except Invalid as exc:
        raise Misconfigured(f"AITBC_CALLBACK_SECRET: {exc}") from None
    return secret


def _answered(connection: Connection) -> bool:
    """The status came, and only the body broke."""
    return connection.answer.status != 0
