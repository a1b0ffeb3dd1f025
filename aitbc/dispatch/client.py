"""Send an attempt to its agent. One `Dispatcher` for each worker process; whatever happens, an `Outcome` comes back."""

import asyncio
import logging
from functools import lru_cache, partial

from aitbc.dispatch.adapter import meaning
from aitbc.dispatch.adapters import ADAPTERS, adapter_of
from aitbc.dispatch.answer import NO_ANSWER
from aitbc.dispatch.connect import Connector
from aitbc.dispatch.connection import Connection
from aitbc.dispatch.failure import failed, foreseen, too_late
from aitbc.dispatch.guard import Guard
from aitbc.dispatch.kept import Connections
from aitbc.dispatch.outcome import as_told, classify
from aitbc.dispatch.own import Lookup, system_lookup
from aitbc.dispatch.request import Terms
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

        Raises Misconfigured naming the setting: AITBC_SECRET_KEY, or one of those about addresses.
        """
        self._callback_base = settings.callback_base
        self._cap = settings.max_response_bytes
        box = SecretBox(settings.secret_key) if settings.secret_key else None
        self._open_secret = lru_cache(maxsize=MOST_SECRETS)(partial(open_secret, box))
        self._told_of_secret = False
        self._loop = asyncio.get_running_loop()
        guard = Guard.of(settings, lookup)
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
        seconds = attempt.seconds_left
        if seconds <= 0:
            return too_late()
        deadline = self._loop.time() + seconds
        ahead = attempt.deadline - deadline  # the ledger's clock, of the loop's: this machine's own may be minutes off
        connection: Connection | None = None
        try:
            terms = Terms(token, self._secret(attempt), self._callback_base, attempt.deadline - seconds, seconds)
            request = adapter_of(attempt.kind).build(attempt, terms)
            head, origin = request.head(), request.origin
            connection = self._connections.take(origin) or await self._connections.connect(origin, seconds)
            await connection.exchange(head, request.body, deadline, self._cap)
            return _meaning(connection, attempt, self._loop.time() + ahead)
        except Exception as exc:  # noqa: BLE001 - an exception that got out would leave the lease to its deadline
            return _failed(connection, attempt, exc, self._loop.time() + ahead)
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


def _meaning(connection: Connection, attempt: Attempt, now: float) -> Outcome | Accepted:
    """What the answer means, with as much of its body as has been read. `now`: Unix seconds by the ledger's clock."""
    answer, idempotent, whole = connection.answer, attempt.idempotent, connection.request_left
    body, read = bytes(answer.body.data), ADAPTERS[attempt.kind].read
    if read is not None:
        return meaning(read, answer.status, answer.headers, body, idempotent=idempotent, now=now, whole=whole)
    return classify(answer.status, answer.headers, body, idempotent=idempotent, now=now, whole=whole)


def _failed(connection: Connection | None, attempt: Attempt, exc: Exception, now: float) -> Outcome | Accepted:
    """`connection`: None when nothing has been sent; with one, bytes may have reached the agent."""
    answer = connection.answer if connection is not None else NO_ANSWER
    if connection is not None and answer.status_decides:
        return _meaning(connection, attempt, now)  # the body broke or was over the cap, but the status has said it
    if not foreseen(exc):
        log.error("a call failed in a way that nobody foresaw", exc_info=exc)
    return as_told(failed(exc, sent=connection is not None, idempotent=attempt.idempotent, status=answer.status), answer.headers)
