"""Send an attempt to its agent. One `Dispatcher` for each worker process; whatever happens, an `Outcome` comes back."""

import asyncio
import logging
import time
from collections.abc import Mapping

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from aitbc.dispatch.connect import GuardedResolver, guarded_connector
from aitbc.dispatch.failure import failed, foreseen, too_late
from aitbc.dispatch.guard import Guard, Lookup, system_lookup
from aitbc.dispatch.outcome import as_told, body_decides, classify
from aitbc.dispatch.reading import Body, UnreadableBody
from aitbc.dispatch.request import Request, Terms, build
from aitbc.dispatch.signing import SecretBox, open_secret
from aitbc.errors import Misconfigured
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Accepted, Outcome
from aitbc.settings import Settings

CONNECT_TIME = 5.0
"""Seconds for name, connect and TLS together: an agent that is not there must not hold a task for its run_timeout."""
REMARK_TIME = 2.0
"""Seconds that the body of an answer is waited for when its status alone decides."""
REMARK_BYTES = 64 << 10
MOST_HEADER_BYTES = 64 << 10
MOST_LINE_BYTES = 16 << 10
"""Of one header, or of the status line."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Makes the calls of a worker process; any number at once, all in one event loop."""

    def __init__(self, settings: Settings, *, lookup: Lookup = system_lookup) -> None:
        """Made inside the running loop. `lookup`: how names are resolved (in threads).

        Raises Misconfigured naming AITBC_ALLOW_AGENT_CIDRS or AITBC_SECRET_KEY.
        """
        self._callback_base = settings.callback_base
        self._cap = settings.max_response_bytes
        self._box = SecretBox(settings.secret_key) if settings.secret_key else None
        self._told_of_secret = False
        guard = Guard(settings.agent_cidrs, lookup)
        self._resolver = GuardedResolver(guard, lookup)
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(guard, self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy would connect to addresses that nobody checked
            auto_decompress=False,  # `reading.Body` decodes, inside the cap
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIME),  # the deadline is `send`'s: aiohttp rounds up to seconds
            max_line_size=MOST_LINE_BYTES,
            max_field_size=MOST_LINE_BYTES,
        )

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        await self._session.close()
        await self._resolver.close()  # aiohttp closes only a resolver of its own making

    async def send(self, attempt: Attempt, token: str) -> Outcome | Accepted:
        """POST the attempt and say what came of it, within the seconds it has left.

        `token`: in clear, for the callbacks. Raises nothing but CancelledError, which closes the connection: that is how an agent hears
        of a cancel.
        """
        now = time.time()
        seconds = attempt.seconds_left  # a duration: this machine's clock may differ from the ledger's
        if seconds <= 0:
            return too_late()
        call = _Call(attempt.idempotent)
        try:
            request = build(attempt, Terms(token, self._secret(attempt), self._callback_base, now, seconds))
            async with asyncio.timeout(seconds) as deadline:
                return await self._exchange(call, request, deadline)
        except Exception as exc:  # noqa: BLE001 - an exception that got out would leave the lease to its deadline
            return self._failed(call, exc)
        finally:
            call.end()

    async def _exchange(self, call: "_Call", request: Request, deadline: asyncio.Timeout) -> Outcome | Accepted:
        call.sending = _Sending(request.body)
        answer = await self._session.post(request.url, data=call.sending, headers=request.headers, allow_redirects=False)
        call.begin(answer, self._cap)
        if not body_decides(answer.status):
            _shorten(deadline, REMARK_TIME)
        _check_headers(answer)
        await call.body.read(answer.content)
        return call.meaning()

    def _secret(self, attempt: Attempt) -> str:
        try:
            return open_secret(self._box, attempt.sealed_secret, attempt.agent_id)
        except Misconfigured as exc:
            if not self._told_of_secret:  # once: it is the same for every call of this node
                self._told_of_secret = True
                log.error("tasks cannot be sent to agents with a secret: %s", exc)  # noqa: TRY400 - its text says all
            raise

    def _failed(self, call: "_Call", exc: Exception) -> Outcome | Accepted:
        if call.answered and not body_decides(call.status):
            return call.meaning()  # the body broke or was over the cap, but the status has said it
        if not foreseen(exc):
            log.error("a call failed in a way that nobody foresaw", exc_info=exc)
        return as_told(failed(exc, sent=call.sent, idempotent=call.idempotent, status=call.status), call.headers)


class _Sending(Payload):
    """The body, which also knows how far it got."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/json")
        self._body = body
        self._size = len(body)
        self.transport: asyncio.WriteTransport | None = None
        self.begun = False
        """Bytes may have left: aiohttp holds the headers back until the body is written."""
        self._written = False

    @property
    def whole(self) -> bool:
        """Everything has left for the kernel."""
        return self._written and self.transport is not None and not self.transport.get_write_buffer_size()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.transport = writer.transport
        # A connection that closed while it lay idle: the write below raises, and nothing was sent.
        self.begun = self.transport is not None and not self.transport.is_closing()
        await writer.write(self._body)
        self._written = True

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        del content_length  # it is our own
        await self.write(writer)


class _Call:
    """How far one call has got; asked by whoever ends it, in whatever way it ends."""

    def __init__(self, idempotent: bool) -> None:
        self.idempotent = idempotent
        self.sending: _Sending | None = None
        self.body = Body("", 1)
        self._answer: aiohttp.ClientResponse | None = None
        self._whole = True

    @property
    def sent(self) -> bool:
        """Bytes of the request may have reached the agent."""
        return self.sending is not None and self.sending.begun

    @property
    def answered(self) -> bool:
        return self._answer is not None

    @property
    def status(self) -> int:
        return self._answer.status if self._answer else 0

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers if self._answer else {}

    def begin(self, answer: aiohttp.ClientResponse, cap: int) -> None:
        """The headers of the answer are there."""
        self._answer = answer
        self._whole = self.sending is not None and self.sending.whole
        self.body = Body(answer.headers.get("Content-Encoding", ""), cap if body_decides(answer.status) else REMARK_BYTES)

    def meaning(self) -> Outcome | Accepted:
        """The meaning of the answer, with as much of its body as has been read."""
        body = bytes(self.body.data)
        return classify(self.status, self.headers, body, idempotent=self.idempotent, now=time.time(), whole=self._whole)

    def end(self) -> None:
        """Give the connection back when the answer was read to its end; otherwise cut it."""
        if self._answer is not None and self._answer.connection is None:
            return
        if self._answer is not None:
            self._answer.close()
        if self.sending is not None and self.sending.transport is not None:
            # A close alone would wait until an agent that does not read takes the rest of the request.
            self.sending.transport.abort()


def _shorten(deadline: asyncio.Timeout, seconds: float) -> None:
    at = asyncio.get_running_loop().time() + seconds
    deadline.reschedule(min(at, deadline.when() or at))


def _check_headers(answer: aiohttp.ClientResponse) -> None:
    if sum(len(name) + len(value) + 4 for name, value in answer.raw_headers) > MOST_HEADER_BYTES:
        raise UnreadableBody(f"its headers are larger than {MOST_HEADER_BYTES} bytes")
