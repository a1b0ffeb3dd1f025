"""What a request's bytes may be: UTF-8 JSON objects within the bounds of L8. Content-Type is not asked: the bytes decide."""

import json
import re
from typing import Any

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from aitbc.errors import BadRequest, Invalid

MAX_DEPTH = 64
"""Levels of nesting of a body, itself the first."""
BATCHES = frozenset({"batch.submit_batch", "v1-batch.submit_batch"})
"""Endpoints whose bodies hold many bodies."""
BATCH_BODIES = 16
"""A batch may be so many times as large as one body."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class ApiRequest(Request):
    """A request whose `get_json` (which the validation calls) follows our rules."""

    _body: dict[str, Any] | None = None

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002 - Flask's signature
        """The body as a dict; no body is an empty one. Raises BadRequest, Invalid, RequestEntityTooLarge."""
        if self._body is None:
            try:
                raw = self.get_data(cache=False)
            except ParseException:
                raise BadRequest("the chunks of the body are malformed") from None
            if self.max_content_length is not None and len(raw) >= self.max_content_length:
                raise RequestEntityTooLarge
            self._body = read_object(raw, None if self.endpoint in BATCHES else MAX_DEPTH)
        return self._body


def read_object(raw: bytes, levels: int | None = MAX_DEPTH) -> dict[str, Any]:
    """Parse a body. `levels`: of nesting that it may have; None: each of its parts will be asked for its own.

    Raises BadRequest (cannot be read as JSON, or holds what JSON cannot: NaN, half of a surrogate pair, a number past all bounds, more
    levels), Invalid (JSON, but no object).
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


def bearer(header: str | None) -> str:
    """The token of an Authorization header; empty when there is none (an empty token fits no attempt)."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
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


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest("the body holds half of a surrogate pair (\\ud800 to \\udfff), which is no character") from None


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
