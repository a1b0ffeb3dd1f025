"""The request that an attempt becomes, for an agent that keeps our contract (kind `http`). Pure; other kinds are in `adapters`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson
from yarl import URL

from aitbc.dispatch.guard import parse_url
from aitbc.dispatch.reading import ACCEPTED_ENCODINGS
from aitbc.dispatch.signing import webhook_headers
from aitbc.model.lease import Attempt

PATH = "/tasks/execute"
"""Where a task is POSTed when the endpoint names no path of its own."""
COMMON_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": ACCEPTED_ENCODINGS, "User-Agent": "aitbc"}
"""Of every request that leaves a worker."""


class Unfit(Exception):
    """The task's data is nothing that could be asked of an agent of this kind."""


@dataclass(slots=True)  # not frozen: one is made for every call, and that would take a microsecond
class Terms:
    """What a request needs beside its attempt.

    `token`: proves the attempt in callbacks; `secret`: the agent's, empty = not signed; `callback_base`: no slash at the end; `now`:
    Unix seconds by the ledger's clock; `seconds`: how long the call may take.
    """

    token: str
    secret: str
    callback_base: str
    now: float
    seconds: float


class Origin(NamedTuple):
    """Whom a connection is to. `host`: a name, or an address without brackets."""

    tls: bool
    host: str
    port: int


@dataclass(slots=True)
class Request:
    """A POST, ready to send."""

    url: URL
    headers: dict[str, str]
    body: bytes

    @property
    def origin(self) -> Origin:
        """Whom it is for."""
        return _target(self.url)[0]

    def head(self) -> bytes:
        """All before the body, as it goes over the wire.

        Raises ValueError when a header holds a line break.
        """
        lines = "\r\n".join(map(": ".join, self.headers.items()))
        if not lines.count("\r") == lines.count("\n") == len(self.headers) - 1:
            raise ValueError("a header of the request holds a line break")
        return f"{_target(self.url)[1]}{lines}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode()


@lru_cache(maxsize=4096)
def _target(url: URL) -> tuple[Origin, str]:
    """Whom a URL is at, and how a request to it begins."""
    start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
    return Origin(url.scheme == "https", url.raw_host or "", url.port or 0), start


def build_http(attempt: Attempt, terms: Terms) -> Request:
    """The contract of kind `http`: an agent written for this coordinator.

    Raises AddressRefused for a URL, and Invalid for a secret, that cannot be used.
    """
    task_id = attempt.task_id
    deadline = rfc3339(attempt.deadline)
    body = orjson.dumps(
        {
            "lease_id": attempt.lease_id,
            "task_id": task_id,
            "attempt": attempt.attempt,
            "priority": attempt.priority.value,
            # Spliced in unread: parsing would cost time and damage large numbers.
            "task_data": orjson.Fragment(attempt.task_data or b"null"),
            "requirements": orjson.Fragment(attempt.requirements or b"null"),
            "deadline": deadline,
            "callback": _callback(f"{terms.callback_base}/tasks/{task_id}", terms.token),
        }
    )
    headers = {
        **headers_of(attempt, accept="application/json"),
        **webhook_headers(terms.secret, task_id, int(terms.now), body),
        "X-Task-Attempt": str(attempt.attempt),
        "X-Task-Deadline": deadline,
        "X-Task-Timeout": f"{terms.seconds:.3f}",
    }
    return Request(execute_url(attempt.url), headers, body)


def headers_of(attempt: Attempt, *, accept: str) -> dict[str, str]:
    """What an agent of any kind is sent: the idempotency key and, when the client sent one, its trace context."""
    headers = {**COMMON_HEADERS, "Accept": accept, "Idempotency-Key": attempt.idempotency_key}
    if attempt.traceparent:
        headers["traceparent"] = attempt.traceparent
    return headers


def _callback(base: str, token: str) -> dict[str, str]:
    return {"complete": f"{base}/complete", "fail": f"{base}/fail", "progress": f"{base}/progress", "token": token}


def rfc3339(unix: float) -> str:
    """A time in UTC, to the millisecond."""
    second, millisecond = divmod(int(unix * 1000), 1000)
    return f"{_second(second)}.{millisecond:03d}+00:00"


@lru_cache(maxsize=1024)
def _second(unix: int) -> str:
    """Most deadlines of a moment lie in a few seconds."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=4096)
def execute_url(endpoint: str) -> URL:
    """`{endpoint}/tasks/execute`; an endpoint that already has a path is used as it is.

    Raises AddressRefused.
    """
    url = parse_url(endpoint)
    return url if url.raw_path not in {"", "/"} else url.with_path(PATH, keep_query=True)


Builder = Callable[[Attempt, Terms], Request]
"""Raises AddressRefused for a URL, Invalid for a secret and Unfit for task_data that cannot be used."""
