"""What a request's bytes may be: UTF-8 JSON objects within the bounds of L8. Content-Type is not asked: the bytes decide."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

from flask import Request, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from aitbc.errors import BadRequest, Invalid, UnsupportedMedia
from aitbc.ledger.access import Note
from aitbc.model.access import STRANGER, Caller

MAX_DEPTH = 64
"""Levels of nesting of a body, itself the first."""
BATCHES = frozenset({"batch.submit_batch", "v1-batch.submit_batch"})
"""Endpoints whose bodies hold many bodies."""
BATCH_BODIES = 16
"""A batch may be so many times as large as one body."""

MAX_WAIT = 60.0
"""Seconds that a request may be held."""
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?(?:\s*;.*)?', re.IGNORECASE)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class ApiRequest(Request):
    """A request whose `get_json` (which the validation calls) follows our rules."""

    _body: dict[str, Any] | None = None
    caller: Caller = STRANGER  # these are access.py's and limits.py's
    note: Callable[[], Note] | None = None
    target: str = ""
    limit: tuple[str, str] | None = None

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002 - Flask's signature
        """The body as a dict; no body is an empty one. Raises BadRequest, Invalid, TooSlow, UnsupportedMedia, RequestEntityTooLarge."""
        if self._body is None:
            if self.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise UnsupportedMedia("the body has a Content-Encoding: send plain bytes")
            try:
                raw = self.get_data(cache=False)
            except ParseException:
                raise BadRequest("the chunks of the body are malformed") from None
            if self.max_content_length is not None and len(raw) >= self.max_content_length:
                raise RequestEntityTooLarge
            self._body = read_object(raw, None if self.endpoint in BATCHES else MAX_DEPTH)
        return self._body


def asked() -> ApiRequest:
    """The request itself: each look through Flask's stand-in for it costs a microsecond or two."""
    return cast("ApiRequest", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001 - Flask's documented way


def plain(endpoint: str) -> str:
    """An endpoint's name without the mark of those under `/v1`."""
    return endpoint.removeprefix("v1-")


def path_of(rule: str) -> str:
    """A route as it is told to people: `/tasks/{task_id}`, whatever the prefix it was called by."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.removeprefix("/v1"))


def read_object(raw: bytes, levels: int | None = MAX_DEPTH) -> dict[str, Any]:
    """Parse a body. `levels`: of nesting that it may have; None: each of its parts will be asked for its own.

    Raises BadRequest (cannot be read as JSON, or holds what JSON cannot: NaN, half of a surrogate pair, a number past all bounds, more
    levels; or an object has a name twice, which readers take in two ways), Invalid (JSON, but no object).
    """
    if not raw.strip():
        return {}
    value = _parse(raw)
    found = an_object(value)
    if levels is not None and raw.count(b"[") + raw.count(b"{") > levels:
        refuse_deep(value)
    if _SURROGATE.search(raw):
        _refuse_lone_surrogates(value)
    return found


def an_object(value: Any) -> dict[str, Any]:
    """A body, or one of a batch. Raises Invalid."""
    if not isinstance(value, dict):
        raise Invalid(f"the body must be a JSON object, and it is {_kind(value)}")
    return value


def refuse_deep(value: Any) -> None:
    """Raises BadRequest for a body of more than 64 levels."""
    if depth(value) > MAX_DEPTH:
        raise BadRequest(f"the body is nested deeper than {MAX_DEPTH} levels")


def depth(value: object) -> int:
    """Levels of nesting: 0 for a plain value, 1 for `{}`. Counts level by level, so no depth is too deep for it."""
    levels, now = 0, [value]
    while now := [item for item in now if isinstance(item, dict | list)]:
        levels += 1
        now = [child for item in now for child in (item.values() if isinstance(item, dict) else item)]
    return levels


def client_request_id(sent: str) -> str | None:
    """The X-Request-Id that a client sent, when it can be used: 1 to 64 of `A-Za-z0-9._-`."""
    return sent if _REQUEST_ID.fullmatch(sent) else None


def idempotency_key(sent: str | None) -> str:
    """The Idempotency-Key header; empty when not given. Raises Invalid."""
    if sent is None:
        return ""
    if not _KEY.fullmatch(sent):
        raise Invalid("Idempotency-Key must be 1 to 255 printable ASCII characters")
    return sent


def waits(prefer: Iterable[str]) -> float:
    """Seconds of `wait=n` in Prefer headers (RFC 7240), at most 60; 0 when there is none. A preference that cannot be read is ignored."""
    for one in ",".join(prefer).split(","):
        if found := _WAIT.fullmatch(one.strip()):
            return min(float(found[1]), MAX_WAIT)
    return 0.0


def bearer(header: str | None) -> str:
    """The token of an Authorization header; empty when there is none (an empty token fits no attempt)."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parse(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
        if text.startswith("\ufeff"):
            raise BadRequest("the body begins with a byte order mark: send UTF-8 without it")
        return _decoder.decode(text)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8") from None
    except RecursionError:
        raise BadRequest(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as exc:
        raise BadRequest(f"the body is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from None
    except ValueError:  # an integer of more than 4,300 digits
        raise BadRequest("the body holds a number that is too long") from None


def _no_constant(name: str) -> float:
    raise BadRequest(f"the body holds {name}, which JSON does not know")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise BadRequest(f"the body holds the number {digits[:40]}, which is out of range")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"the body has the name {twice[:64]!r} twice in one object")
    return found


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
"""One for all bodies: `json.loads` with options makes one each time."""


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest("the body holds half of a surrogate pair (\\ud800 to \\udfff), which is no character") from None


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
