"""The wire: one HTTP call to the coordinator, its JSON answer, and the errors it may end in."""

import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from aitbc.errors import AitbcError, Fault, Invalid

Answer = dict[str, Any]
"""A JSON object as the API sent it."""


class ApiError(AitbcError):
    """The API refused: `status` and `detail` as it said them, `faults` for wrong fields, `retry_after` seconds or None."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str = "",
        faults: Sequence[Fault] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        """The text of the error is `detail`, with each wrong field after it."""
        super().__init__("; ".join([detail, *(f"{fault.pointer}: {fault.detail}" for fault in faults)]))
        self.status, self.detail, self.title = status, detail, title
        self.faults, self.retry_after, self.request_id = list(faults), retry_after, request_id


class Unreachable(AitbcError):
    """Nobody answers at the coordinator's address, or the connection broke: whether the request was carried out is unknown."""

    status = 503
    title = "Unreachable"


class WaitTimedOut(AitbcError):
    """The task had not ended in time; `task` as it was at the last look."""

    status = 504
    title = "Wait timed out"

    def __init__(self, task: Answer, timeout: float) -> None:
        """`timeout`: the seconds that were waited."""
        super().__init__(f"Task {task.get('task_id')} is still {task.get('state')} after {timeout:g} s")
        self.task = task


class NoMoreEvents(Exception):
    """The client has heard all that will ever come."""


@dataclass(frozen=True, slots=True)
class Event:
    """`name`: the state that a task reached, `progress` or `reset` (events were lost: look for yourself); `event_id`: its place."""

    event_id: str
    name: str
    data: Answer


@dataclass(frozen=True, slots=True)
class Reply:
    """`retry_after`: seconds that the answer asked for, or None."""

    status: int
    retry_after: float | None
    body: Answer


class Caller:
    """One HTTP call at a time to one coordinator; the nouns of Client speak through it."""

    def __init__(self, url: str, timeout: float, api_key: str = "") -> None:
        """Raises Invalid for a url that is none, or a key that no header can hold."""
        if not (api_key.isascii() and api_key.isprintable()):
            raise Invalid("the API key holds characters that no key has")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Invalid(f"{url!r} is no coordinator's URL: one that begins with http:// or https:// is needed")
        self.url, self.timeout = url.rstrip("/"), timeout
        self._always = {"Accept": "application/json", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
        self._prefix = parts.path.rstrip("/")
        self._secure, self._address = parts.scheme == "https", (parts.hostname, parts.port)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, its JSON answer. Fields of `body` that are None are left out. Raises ApiError, Unreachable."""
        return self.reply(method, path, body, headers=headers).body

    def reply(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None, hold: float = 0
    ) -> Reply:
        """As `call`, with the Retry-After of the answer; `hold`: seconds that the API may take beyond the timeout."""
        text = None if body is None else json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        sent = {**self._always, "Content-Type": "application/json", **(headers or {})}
        connection = self._connect(self.timeout + hold)
        try:
            connection.request(method, self._prefix + path, text, sent if text is not None or headers else self._always)
            response = connection.getresponse()
            raw, status, retry_after = response.read(), response.status, _seconds(response.headers.get("Retry-After"))
        except (OSError, HTTPException) as exc:
            raise Unreachable(f"The coordinator at {self.url} cannot be reached: {_why(exc)}") from exc
        finally:
            connection.close()
        if status >= 300:
            raise _problem(status, raw, retry_after)
        return Reply(status, retry_after, _object(status, raw, self.url))

    def events(self, path: str, last_id: str, timeout: float) -> Iterator[Event]:
        """Server-sent events until the answer ends; nothing, when there are no more to come (204).

        `timeout`: seconds of silence, keep-alive comments included, after which the connection is taken for broken.
        Raises ApiError, Unreachable (also when the connection breaks).
        """
        connection = self._connect(timeout)
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        try:
            connection.request("GET", self._prefix + path, headers=headers)
            response = connection.getresponse()
            if response.status >= 300:
                raise _problem(response.status, response.read(), _seconds(response.headers.get("Retry-After")))
            yield from _events(iter(response.readline, b""))
        except (OSError, HTTPException) as exc:
            raise Unreachable(f"The coordinator at {self.url} cannot be reached: {_why(exc)}") from exc
        finally:
            connection.close()
        if response.status == 204:
            raise NoMoreEvents

    def _connect(self, timeout: float) -> HTTPConnection:
        host, port = self._address
        if self._secure:
            return HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        return HTTPConnection(host, port, timeout=timeout)


def _events(lines: Iterator[bytes]) -> Iterator[Event]:
    """Events as they come; comments are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() else None


def _why(exc: Exception) -> str:
    return (exc.strerror if isinstance(exc, OSError) else "") or str(exc) or type(exc).__name__


def _object(status: int, raw: bytes, url: str) -> Answer:
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ApiError(status, f"{url} answered {status} without a JSON object: is this the coordinator?")
    return answer


def _problem(status: int, raw: bytes, retry_after: float | None) -> ApiError:
    """The error that a problem+json body (or any other) tells of."""
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return ApiError(status, f"The coordinator answered {status}", retry_after=retry_after)
    detail = str(body.get("detail") or body.get("message") or f"The coordinator answered {status}")
    faults = [Fault(str(e.get("pointer", "")), str(e.get("detail", ""))) for e in body.get("errors") or () if isinstance(e, dict)]
    title, request_id = str(body.get("title") or ""), str(body.get("request_id") or "")
    return ApiError(status, detail, title=title, faults=faults, retry_after=retry_after, request_id=request_id)
