"""What adapters have in common: how a server that knows nothing of this coordinator is asked, and how its reply is read. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson
from yarl import URL

from aitbc.dispatch.guard import parse_url
from aitbc.dispatch.outcome import as_told, body_decides, classify, error_text, invalid, parse_json
from aitbc.dispatch.reading import Unreadable
from aitbc.dispatch.request import Builder, Request, Terms, Unfit, headers_of
from aitbc.errors import Invalid
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

Reader = Callable[[bytes], Outcome]
"""The body of a 2xx → what it means. Raises Unreadable and ValueError for what the kind does not say."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """How agents of one kind are spoken to. `read`: None for those that keep the contract of kind `http`."""

    build: Builder
    read: Reader | None = None


def meaning(
    read: Reader, status: int, headers: Mapping[str, str], body: bytes, *, idempotent: bool, now: float, whole: bool
) -> Outcome | Accepted:
    """As `classify`, for an agent that does not know our contract: a 2xx is read by its kind, and 202 says nothing here."""
    if status // 100 != 2:
        return classify(status, headers, body, idempotent=idempotent, now=now, whole=whole)
    if not body_decides(status):
        return invalid(status, f"the agent answered {status}, and an answer with a body is needed", idempotent=idempotent)
    try:
        outcome = replace(read(body), http_status=status)
    except (Unreadable, ValueError) as exc:
        outcome = invalid(status, f"not an answer of its kind: {exc}: {error_text(body)}", idempotent=idempotent)
    return as_told(outcome, headers)


def done(result: str) -> Outcome:
    """The work is done; `result` as JSON text."""
    return Outcome(Verdict.COMPLETED, result=result)


def broken_off(error: Any) -> Outcome:
    """What a server says inside a 200, because its headers had left: a status when `error` names one, else as a 500."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and HTTPStatus.BAD_REQUEST <= code < 600 else HTTPStatus.INTERNAL_SERVER_ERROR
    outcome = classify(status, {}, orjson.dumps({"error": error}), idempotent=False, now=0.0)
    if isinstance(outcome, Outcome) and outcome.verdict is not Verdict.UNSTARTED:
        return outcome
    return Outcome(Verdict.COUNTED, AgentSays.BAD, code=ErrorCode.AGENT_REFUSED, message=error_text(orjson.dumps(error)))  # it had begun


def fields_of(attempt: Attempt) -> dict[str, Any]:
    """task_data, large numbers whole; without a task_id, which is ours.

    Raises Unfit.
    """
    fields = json.loads(attempt.task_data or b"null")
    if not isinstance(fields, dict):
        raise Unfit("task_data is no object")
    fields.pop("task_id", None)
    return fields


def post(attempt: Attempt, terms: Terms, url: URL, body: Mapping[str, Any], **headers: str) -> Request:
    """A POST of JSON; the agent's secret goes with it as a bearer token. `_` in header names stands for `-`."""
    common = headers_of(attempt, accept="*/*")
    if terms.secret:
        common["Authorization"] = f"Bearer {bearer(terms.secret)}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(url, common | named, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def bearer(secret: str) -> str:
    """The secret, if it can be a token in a header; registration asks this first.

    Raises Invalid.
    """
    if not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise Invalid("a secret that is sent as a bearer token has visible ASCII characters only")
    return secret


def ask_model(attempt: Attempt, terms: Terms, paths_of: Callable[[str], Mapping[str, str] | None]) -> Request:
    """A request to a server of language models: task_data is its body.

    `paths_of`: from the endpoint's own path to which field of task_data means which path below it; None: all tasks go there. A model that
    the task does not name is that of the endpoint (`?model=`), and a stream only comes when asked for.

    Raises Unfit when no field says what is asked, AddressRefused and Invalid.
    """
    url, model = _endpoint(attempt.url)
    fields = fields_of(attempt)
    if (paths := paths_of(url.raw_path)) is not None:
        path = next((path for field, path in paths.items() if field in fields), "")
        if not path:
            raise Unfit(f"task_data for an agent of kind {attempt.kind} needs one of the fields {', '.join(paths)}")
        url = url.with_path(url.raw_path.rstrip("/") + path, encoded=True, keep_query=True)
    return post(attempt, terms, url, {**({"model": model} if model else {}), "stream": False, **fields})


@lru_cache(maxsize=4096)
def _endpoint(text: str) -> tuple[URL, str]:
    url = parse_url(text)
    return url.without_query_params("model"), url.query.get("model", "")


def one_or_lines(body: bytes) -> list[dict[str, Any]]:
    """One JSON object, or one in each line.

    Raises ValueError.
    """
    try:
        found = [parse_json(body)]
    except ValueError:
        lines = [line for line in body.split(b"\n") if line.strip()]
        if len(lines) < 2:
            raise
        found = list(map(parse_json, lines))
    return objects(found)


def events(body: bytes) -> list[bytes]:
    """The data of each server-sent event, as far as they are whole."""
    found: list[bytes] = []
    parts: list[bytes] = []
    for line in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            parts.append(line[5:].removeprefix(b" "))
        elif not line and parts:
            found.append(b"\n".join(parts))
            parts = []
    return found


def objects(found: Any) -> list[dict[str, Any]]:
    """The same, if it is a list of JSON objects.

    Raises ValueError.
    """
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError("a JSON object was expected")
    return found


def joined(pieces: list[dict[str, Any]], field: str) -> dict[str, str]:
    """A text that came in pieces, under its field; empty when it never came."""
    texts = [piece[field] for piece in pieces if isinstance(piece.get(field), str)]
    return {field: "".join(texts)} if texts else {}
