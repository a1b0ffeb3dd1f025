"""One family of errors.

Each class carries the HTTP status and title that the API answers with (RFC 9457); its text is the `detail` a person reads: what is
wrong and what is allowed.  Driver errors (Redis, HTTP, sockets) are turned into these at the edge of the room that meets them.
"""

from dataclasses import dataclass


class AitbcError(Exception):
    """The coordinator could not do what was asked."""

    status = 500
    title = "Internal error"


class BadRequest(AitbcError):
    """The request cannot be read (malformed JSON, an invalid priority or strategy)."""

    status = 400
    title = "Bad request"


class Unauthorized(AitbcError):
    """The call needs an API key, and none that is valid came with it; `challenge` is what WWW-Authenticate says."""

    status = 401
    title = "Unauthorized"

    def __init__(self, detail: str, challenge: str) -> None:
        """`challenge`: RFC 6750."""
        super().__init__(detail)
        self.challenge = challenge


class Forbidden(Unauthorized):
    """The key is valid, and lacks the scope that the call needs."""

    status = 403
    title = "Forbidden"


class NotFound(AitbcError):
    """There is no such thing: the text ends in `not found`."""

    status = 404
    title = "Not found"

    def __init__(self, kind: str, name: str) -> None:
        """`kind` is a word of the vocabulary (`Agent`, `Task`), `name` its id."""
        super().__init__(f"{kind} {name} not found")


class Conflict(AitbcError):
    """The thing is in a state, or was asked for with a body, that does not allow this."""

    status = 409
    title = "Conflict"


class Gone(AitbcError):
    """The lease is no longer current: its attempt has ended."""

    status = 410
    title = "Gone"


class TooLarge(AitbcError):
    """A body, header or list is over its limit."""

    status = 413
    title = "Content too large"


class TooSlow(AitbcError):
    """The body did not come in time."""

    status = 408
    title = "Request timeout"


class PreconditionFailed(AitbcError):
    """The thing is no longer as the If-Match header asks: nothing was changed."""

    status = 412
    title = "Precondition failed"


class UnsupportedMedia(AitbcError):
    """The body has a Content-Encoding; only plain bytes can be read."""

    status = 415
    title = "Unsupported media type"


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong field: a JSON pointer into the body and what is wrong with it."""

    pointer: str
    detail: str


class Invalid(AitbcError):
    """The request was read and its fields are wrong; `faults` names each."""

    status = 422
    title = "Unprocessable content"

    def __init__(self, detail: str, faults: list[Fault] | None = None) -> None:
        """`detail` stands alone when there is one fault."""
        super().__init__(detail)
        self.faults = faults or []


class TryLater(AitbcError):
    """Nothing is wrong with the request, but not now; `retry_after` seconds."""

    status = 503
    title = "Service unavailable"

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        """`retry_after`: whole seconds, at least 1."""
        super().__init__(detail)
        self.retry_after = max(1, retry_after)


class Full(TryLater):
    """A bound is reached (live tasks, signatures, agents, memory, waiting requests): refused before anything was stored."""

    status = 429
    title = "Too many requests"


class LedgerAway(TryLater):
    """Redis does not answer, or answers that it cannot (loading, read-only, master down)."""


class BrokerAway(TryLater):
    """The Celery broker does not answer. The ledger's sweep makes the job good."""


class Misconfigured(AitbcError):
    """A setting, or the Redis that it names, cannot be used; the text names the setting and what is allowed."""

    title = "Misconfigured"


class AddressRefused(AitbcError):
    """An agent's address is not one the coordinator may call; the text names the setting that would allow it.

    It goes to whoever gave the URL, and has no more of the address than that has: what a name leads to is for the log alone.
    """

    status = 422
    title = "Address refused"

    def __init__(self, why: str, host: str = "") -> None:
        """`host`: as it stands in the URL; `why` goes to those too who do not know the URL, and names neither."""
        super().__init__(f"{host}: {why}" if host else why)
        self.why = why
