"""Send an attempt to its agent. One `Dispatcher` for each worker process; whatever happens, an `Outcome` comes back."""

import asyncio
import logging
import time
from functools import lru_cache, partial

from aitbc.dispatch.answer import NO_ANSWER
from aitbc.dispatch.connect import Connector
from aitbc.dispatch.connection import Connection
from aitbc.dispatch.failure import failed, foreseen, too_late
from aitbc.dispatch.guard import Guard, Lookup, system_lookup
from aitbc.dispatch.kept import Connections
from aitbc.dispatch.outcome import as_told, classify
from aitbc.dispatch.request import Terms, build
from aitbc.dispatch.signing import SecretBox, open_secret
from aitbc.errors import Misconfigured
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Accepted, Outcome
from aitbc.settings import Settings

MOST_SECRETS = 4096
"""Of agents, kept open: opening one takes 4 µs."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Makes the calls of a worker process; any number at once, all in one event loop.

    No redirects, no cookies, no proxies: each would lead to addresses that nobody checked, or carry what belongs to another call.
    """

    def __init__(self, settings: Settings, *, lookup: Lookup = system_lookup) -> None:
        """Made inside the running loop. `lookup`: how names are resolved (in threads).

        Raises Misconfigured naming AITBC_ALLOW_AGENT_CIDRS or AITBC_SECRET_KEY.
        """
        self._callback_base = settings.callback_base
        self._cap = settings.max_response_bytes
        box = SecretBox(settings.secret_key) if settings.secret_key else None
        self._open_secret = lru_cache(maxsize=MOST_SECRETS)(partial(open_secret, box))
        self._told_of_secret = False
        self._loop = asyncio.get_running_loop()
        guard = Guard(settings.agent_cidrs, lookup)
        self._connections = Connections(Connector(guard, lookup), settings.worker_concurrency)

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        self._connections.close()
        await asyncio.sleep(0)  # a closed transport says so in the next turn of the loop

    async def send(self, attempt: Attempt, token: str) -> Outcome | Accepted:
        """POST the attempt and say what came of it, within the seconds it has left.

        `token`: in clear, for the callbacks. Raises nothing but CancelledError, which closes the connection: that is how an agent hears
        of a cancel.
        """
        now = time.time()
        seconds = attempt.seconds_left  # a duration: this machine's clock may differ from the ledger's
        if seconds <= 0:
            return too_late()
        deadline = self._loop.time() + seconds
        connection: Connection | None = None
        try:
            request = build(attempt, Terms(token, self._secret(attempt), self._callback_base, now, seconds))
            head, origin = request.head(), request.origin
            connection = self._connections.take(origin) or await self._connections.connect(origin, seconds)
            await connection.exchange(head, request.body, deadline, self._cap)
            return _meaning(connection, idempotent=attempt.idempotent)
        except Exception as exc:  # noqa: BLE001 - an exception that got out would leave the lease to its deadline
            return _failed(connection, exc, idempotent=attempt.idempotent)
        finally:
            if connection is not None:
                self._connections.give_back(connection)

    def _secret(self, attempt: Attempt) -> str:
        try:
            return self._open_secret(attempt.sealed_secret, attempt.agent_id)
        except Misconfigured as exc:
            if not self._told_of_secret:  # once: it is the same for every call of this node
                self._told_of_secret = True
                log.error("tasks cannot be sent to agents with a secret: %s", exc)  # noqa: TRY400 - its text says all
            raise


def _meaning(connection: Connection, *, idempotent: bool) -> Outcome | Accepted:
    """What the answer means, with as much of its body as has been read."""
    answer = connection.answer
    body = bytes(answer.body.data)
    return classify(answer.status, answer.headers, body, idempotent=idempotent, now=time.time(), whole=connection.request_left)


def _failed(connection: Connection | None, exc: Exception, *, idempotent: bool) -> Outcome | Accepted:
    """`connection`: None when nothing has been sent; with one, bytes may have reached the agent."""
    answer = connection.answer if connection is not None else NO_ANSWER
    if connection is not None and answer.status_decides:
        return _meaning(connection, idempotent=idempotent)  # the body broke or was over the cap, but the status has said it
    if not foreseen(exc):
        log.error("a call failed in a way that nobody foresaw", exc_info=exc)
    return as_told(failed(exc, sent=connection is not None, idempotent=idempotent, status=answer.status), answer.headers)
