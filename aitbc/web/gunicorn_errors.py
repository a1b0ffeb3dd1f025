"""What gunicorn refuses before the application sees it (malformed HTTP, limits), in the shape of `problems.py`.

Read in gunicorn's first process: it must not import Flask (see gunicorn_conf).
"""

import json
import logging
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors

log = logging.getLogger(__name__)

STATUSES: dict[type[Exception], int] = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    errors.ForbiddenProxyRequest: 403,
}
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
"""Headers that the application tried to send."""


def handle(_request: object, client: Any, _address: object, exc: Exception) -> None:
    """In place of a worker's `handle_error`: answer, then gunicorn closes the connection."""
    answer = refusal(exc)
    if answer.startswith(b"HTTP/1.1 500"):
        log.error("a request failed outside the application", exc_info=exc)
    else:
        log.info("refused what is no HTTP request: %s", exc)
    try:
        client.settimeout(1)
        client.sendall(answer)
    except OSError:
        log.debug("the client was gone before its refusal")


def refusal(exc: Exception) -> bytes:
    """The whole answer to an error that gunicorn met."""
    malformed = isinstance(exc, errors.ParseException) and not isinstance(exc, OURS)
    status = HTTPStatus(STATUSES.get(type(exc), 400) if malformed else 500)
    detail = f"the request is no HTTP that can be answered: {str(exc)[:200]}" if malformed else "the coordinator failed at this request"
    title, request_id = status.phrase.capitalize(), uuid.uuid4().hex
    problem = {"type": "about:blank", "title": title, "status": status.value, "detail": detail, "message": detail, "request_id": request_id}
    body = json.dumps(problem, separators=(",", ":")).encode()
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
