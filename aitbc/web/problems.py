"""Errors as RFC 9457 `application/problem+json`: one shape for all, never a stack trace."""

import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from flask import Flask, Response, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from aitbc.errors import AitbcError, Fault, Invalid, TooLarge, TryLater, Unauthorized
from aitbc.web.answers import request_id

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
MAX_DETAIL = 500
"""Characters of a detail: it may echo what a client sent."""
MAX_FAULTS = 50


def problem(status: int, title: str, detail: str, *, faults: Iterable[Fault] = (), headers: Mapping[str, str] | None = None) -> Response:
    """An error answer. `message` repeats `detail` for older clients."""
    body = {**_told(status, title, detail), "request_id": request_id(), **_listed(faults)}
    return Response(json.dumps(body, separators=(",", ":")), status, headers, content_type=CONTENT_TYPE)


def of_one(exc: AitbcError) -> dict[str, object]:
    """The error of one task of a batch: the same members; `retry_after` (s) in place of the header, no `request_id` of its own."""
    faults = exc.faults if isinstance(exc, Invalid) else ()
    later = {"retry_after": exc.retry_after} if isinstance(exc, TryLater) else {}
    return {**_told(exc.status, exc.title, str(exc)), **_listed(faults), **later}


def _told(status: int, title: str, detail: str) -> dict[str, object]:
    text = detail if len(detail) <= MAX_DETAIL else detail[:MAX_DETAIL] + "…"
    return {"type": "about:blank", "title": title, "status": status, "detail": text, "message": text}


def _listed(faults: Iterable[Fault]) -> dict[str, object]:
    errors = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    return {"errors": errors[:MAX_FAULTS]} if errors else {}


def of_validation(exc: ValidationError) -> Response:
    """What flask-openapi3 calls for a body, query or path that its schema refuses: a 422 that names each field."""
    return of_error(invalid(exc))


def invalid(exc: ValidationError) -> Invalid:
    """What a schema refused, in our words."""
    faults = [
        Fault(pointer(error["loc"]), error["msg"].removeprefix("Value error, "))
        for error in exc.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    name = first.pointer.removeprefix("/").replace("/", ".")
    return Invalid(f"{name}: {first.detail}{more}" if name else first.detail, faults)


def pointer(place: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901) to a field."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def of_error(exc: AitbcError) -> Response:
    """One of our own errors: it knows its status and says what is wrong and what is allowed."""
    if exc.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return of_bug(exc)
    headers = {"Retry-After": str(exc.retry_after)} if isinstance(exc, TryLater) else None
    if isinstance(exc, Unauthorized):
        headers = {"WWW-Authenticate": exc.challenge}
    faults = exc.faults if isinstance(exc, Invalid) else ()
    return problem(exc.status, exc.title, str(exc), faults=faults, headers=headers)


def of_http(exc: HTTPException) -> Response | HTTPException:
    """What Flask itself refuses: an unknown path, a method, a body that is too large."""
    if exc.code is None or exc.code < 400 or exc.response is not None:
        return exc
    headers = {name: value for name, value in exc.get_headers() if name.lower() in {"allow", "retry-after"}}
    return problem(exc.code, title_of(exc.code), _in_words(exc), headers=headers)


def of_bug(exc: Exception) -> Response:
    """Anything else is ours to mend: logged whole, told without its inside."""
    log.error("%s %s failed", request.method, request.path, exc_info=exc)
    return problem(500, "Internal error", "the coordinator failed at this request; its log says why, under this request_id")


def register(app: Flask) -> None:
    """Give every error of the application this shape."""
    app.register_error_handler(AitbcError, of_error)
    app.register_error_handler(HTTPException, of_http)
    app.register_error_handler(Exception, of_bug)


def title_of(status: int) -> str:
    """The name of a status that none of our own errors carries."""
    return TooLarge.title if status == TooLarge.status else HTTPStatus(status).phrase.capitalize()


def _in_words(exc: HTTPException) -> str:
    if isinstance(exc, NotFound):
        return f"path {request.path} not found: GET / lists the calls"
    if isinstance(exc, MethodNotAllowed):
        return f"{request.method} is not allowed here; allowed: {', '.join(sorted(exc.valid_methods or ()))}"
    if isinstance(exc, RequestEntityTooLarge):
        return f"the body is larger than {(request.max_content_length or 1) - 1} bytes; AITBC_MAX_REQUEST_BYTES sets the limit"
    return exc.description or "the request cannot be answered"
