"""What an agent's answer, or the lack of one, means. Pure: no I/O, no clock. The table is section 6 of the design.

Where the table leaves a choice: an answer that is no answer (malformed, a redirect) counts towards the agent's breaker, or a web page
registered as an agent would look like the least loaded agent and ruin task after task.  401, 403 and 410 count as an attempt: an agent
that works and then answers 403 would otherwise send one task through the whole fleet and mark every agent of it `error`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from re import compile as pattern
from typing import Any

import orjson

from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

LEAST_PAUSE, MOST_PAUSE = 1.0, 3600.0
"""Bounds of Retry-After, seconds."""
MOST_DEPTH = 64
"""Levels of nesting in a result; deeper is `invalid_response` (readers of the API recurse)."""
MOST_TEXT = 500
"""Characters of an error message that are kept."""

# Looking a member up in its enum runs Python code (3.11).
_ACCEPTED, _NO_CONTENT, _FAILED_DEPENDENCY = HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT, HTTPStatus.FAILED_DEPENDENCY
_COMPLETED = Verdict.COMPLETED
_SECONDS = pattern(r"[0-9]+(\.[0-9]*)?")
_JSON_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a status says; `pauses`: Retry-After is heeded."""

    verdict: Verdict
    says: AgentSays
    code: ErrorCode
    pauses: bool = False


_WRONG_TASK = Meaning(Verdict.FINAL, AgentSays.OK, ErrorCode.AGENT_REFUSED)
_LATER = Meaning(Verdict.COUNTED, AgentSays.OK, ErrorCode.AGENT_REFUSED, pauses=True)
_BROKEN = Meaning(Verdict.COUNTED, AgentSays.BAD, ErrorCode.AGENT_FAILED, pauses=True)
_LOCKED = Meaning(Verdict.COUNTED, AgentSays.ERROR, ErrorCode.AGENT_REFUSED)
_REDIRECT = Meaning(Verdict.FINAL, AgentSays.BAD, ErrorCode.REDIRECT_REFUSED)

MEANINGS: dict[int, Meaning] = {
    **dict.fromkeys((400, 404, 405, 413, 415, 422, 501), _WRONG_TASK),
    **dict.fromkeys((401, 403), _LOCKED),
    **dict.fromkeys((408, 409, 425), _LATER),
    **dict.fromkeys((500, 502, 504), _BROKEN),
    410: Meaning(Verdict.COUNTED, AgentSays.GONE, ErrorCode.AGENT_REFUSED),
    429: Meaning(Verdict.UNSTARTED, AgentSays.BAD, ErrorCode.AGENT_REFUSED, pauses=True),
    503: Meaning(Verdict.COUNTED, AgentSays.BAD, ErrorCode.AGENT_REFUSED, pauses=True),  # UNSTARTED with Retry-After, or when early
}
"""Statuses of a refusal; the others go by their class."""
BY_CLASS: dict[int, Meaning] = {3: _REDIRECT, 4: _WRONG_TASK, 5: _BROKEN}


def body_decides(status: int) -> bool:
    """The meaning is in the body, so it must be read whole; else the status alone says it and the body is a remark."""
    return (200 <= status < 300 and status not in {202, 204}) or status == _FAILED_DEPENDENCY


def classify(
    status: int, headers: Mapping[str, str], body: bytes, *, idempotent: bool, now: float, whole: bool = True
) -> Outcome | Accepted:
    """What an answer means.

    `headers`: looked up by lower-case name; `body`: decoded; `idempotent`: the task says that it may
    be sent again after an answer that cannot be read; `now`: Unix seconds, for a Retry-After that is a date; `whole`: the request had
    left completely when the answer came.
    """
    if status == _ACCEPTED:
        return Accepted()
    if status == _NO_CONTENT:
        return Outcome(_COMPLETED, http_status=status)
    outcome = (
        _of_body(status, body, idempotent)
        if body_decides(status)
        else _of_status(status, headers, body, idempotent=idempotent, now=now, whole=whole)
    )
    return as_told(outcome, headers)


def invalid(status: int, message: str, *, idempotent: bool, code: ErrorCode = ErrorCode.INVALID_RESPONSE) -> Outcome:
    """An answer that cannot be read: the work may be done, so only an idempotent task is sent again."""
    verdict = Verdict.COUNTED if idempotent else Verdict.FINAL
    # Too large is the work's fault; an agent must not lose its other work over it.
    says = AgentSays.OK if code is ErrorCode.RESPONSE_TOO_LARGE else AgentSays.BAD
    return Outcome(verdict, says, code=code, message=clip(message), http_status=status)


def _of_body(status: int, body: bytes, idempotent: bool) -> Outcome:
    text = body.strip(_JSON_SPACE)
    failed = status == _FAILED_DEPENDENCY
    if not text and not failed:
        return Outcome(_COMPLETED, http_status=status)
    try:
        document = parse_json(text)
    except ValueError as exc:
        # A 424 says what it says, whatever its body.
        return _failed_work(status, {}, body) if failed else invalid(status, f"not JSON: {exc}: {_raw(body)}", idempotent=idempotent)
    if failed or (isinstance(document, dict) and document.get("status") == "failed"):
        return _failed_work(status, document if isinstance(document, dict) else {}, body)
    return Outcome(_COMPLETED, result=text.decode(), http_status=status)


def _failed_work(status: int, document: dict[str, Any], body: bytes) -> Outcome:
    verdict = Verdict.COUNTED if document.get("retryable") is True else Verdict.FINAL
    return Outcome(verdict, code=ErrorCode.AGENT_FAILED, message=error_text(body) or "the work failed", http_status=status)


def _of_status(status: int, headers: Mapping[str, str], body: bytes, *, idempotent: bool, now: float, whole: bool) -> Outcome:
    meaning = MEANINGS.get(status) or BY_CLASS.get(status // 100)
    if meaning is None:
        return invalid(status, f"the agent answered {status}, which is no final status", idempotent=idempotent)
    pause = retry_after(headers.get("retry-after", ""), now) if meaning.pauses else 0.0
    unstarted = status == HTTPStatus.SERVICE_UNAVAILABLE and (pause > 0 or not whole)
    return Outcome(
        Verdict.UNSTARTED if unstarted else meaning.verdict,
        meaning.says,
        code=meaning.code,
        message=_remark(status, headers, body),
        http_status=status,
        pause=pause,
    )


def _remark(status: int, headers: Mapping[str, str], body: bytes) -> str:
    if status // 100 == 3:
        target = clip(headers.get("location", "")) or "nowhere"
        return f"the agent answered {status}, a redirect to {target}: redirects are never followed, register the final URL"
    return error_text(body) or f"the agent answered {status} {responses.get(status, '')}".rstrip()


def as_told(outcome: Outcome, headers: Mapping[str, str]) -> Outcome:
    """X-Task-No-Retry and X-Task-Retry beat the status; both: no retry. They change nothing about a success."""
    if outcome.verdict is _COMPLETED:
        return outcome
    if _is_true(headers, "x-task-no-retry"):
        return replace(outcome, verdict=Verdict.FINAL)
    if _is_true(headers, "x-task-retry") and outcome.verdict is Verdict.FINAL:
        return replace(outcome, verdict=Verdict.COUNTED)
    return outcome


def _is_true(headers: Mapping[str, str], name: str) -> bool:
    return headers.get(name, "").strip().lower() == "true"


def retry_after(text: str, now: float) -> float:
    """Seconds of a Retry-After, given as seconds or as an HTTP date, within 1 to 3,600; 0 when there is none or it cannot be read."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return 0.0
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    return min(max(seconds, LEAST_PAUSE), MOST_PAUSE)


def parse_json(text: bytes) -> Any:
    """Read strict JSON: no NaN, no Infinity, valid UTF-8, at most 64 levels.

    Raises ValueError.
    """
    document = orjson.loads(text)
    if text.count(b"[") + text.count(b"{") > MOST_DEPTH and _deeper(document, MOST_DEPTH):
        raise ValueError(f"nested deeper than {MOST_DEPTH} levels")
    return document


def _deeper(document: Any, most: int) -> bool:
    """Whether it has more than `most` levels; level by level, because recursion is what such a document attacks."""
    level = [document] if isinstance(document, (dict, list)) else []
    for _ in range(most):
        inner = (v for node in level for v in (node.values() if isinstance(node, dict) else node))
        level = [v for v in inner if isinstance(v, (dict, list))]
    return bool(level)


def error_text(body: bytes) -> str:
    """What the body says went wrong: `error`, `message` or `detail` of a JSON object, else its beginning; control characters escaped."""
    try:
        document = orjson.loads(body)
    except ValueError:
        document = None
    return clip(_said(document, nested=True)) or _raw(body)


def _said(document: Any, *, nested: bool) -> str:
    if not isinstance(document, dict):
        return ""
    for value in map(document.get, ("error", "message", "detail")):
        # {"error": {"message": …}} is OpenAI's form. Other values (FastAPI's lists) say most in the body as it came.
        text = value if isinstance(value, str) else _said(value, nested=False) if nested else ""
        if text:
            return text
    return ""


def _raw(body: bytes) -> str:
    return clip(body[: 4 * MOST_TEXT].decode("utf-8", "replace").strip())


def clip(text: str) -> str:
    """The first 500 characters, with control and other invisible characters escaped: logs and terminals show messages."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:MOST_TEXT])
