"""Kind `a2a`: an agent of the Agent2Agent protocol 1.0, at the URL of its JSON-RPC interface.

It is asked with SendMessage, which answers when the agent's task has ended. The result is that task, or the message it answered with.
"""

import json
from typing import Any

from aitbc.dispatch.adapter import Adapter, done, fields_of, objects, post
from aitbc.dispatch.guard import parse_url
from aitbc.dispatch.outcome import clip, parse_json
from aitbc.dispatch.reading import Unreadable
from aitbc.dispatch.request import Request, Terms
from aitbc.model.lease import Attempt
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

VERSION = "1.0"

_REFUSED, _FAILED = ErrorCode.AGENT_REFUSED, ErrorCode.AGENT_FAILED
ENDS: dict[str, tuple[Verdict, ErrorCode, str]] = {
    "FAILED": (Verdict.FINAL, _FAILED, "the work failed"),
    "CANCELED": (Verdict.FINAL, _FAILED, "the agent cancelled the work"),
    "REJECTED": (Verdict.COUNTED, _REFUSED, "the agent rejected the work"),
    "INPUT_REQUIRED": (Verdict.FINAL, _REFUSED, "the agent asks for more input, and nobody is there to answer"),
    "AUTH_REQUIRED": (Verdict.FINAL, _REFUSED, "the agent asks for credentials, and nobody is there to give them"),
}
"""States of a task that is not done. Rejected is this agent's word; another may take it."""
ITS_FAULT = {-32603, -32006}
"""Internal error, invalid agent response. The other named ones are about what was asked."""
_NAMED = {-32700, -32600, -32601, -32602, -32603, *range(-32009, -32000)}


def build(attempt: Attempt, terms: Terms) -> Request:
    """task_data is the message: its `message` (an A2A message) or `text`, or else all of it as one part of data.

    The messageId stays the same over automatic attempts.  Raises Unfit, AddressRefused and Invalid.
    """
    fields = fields_of(attempt)
    given, text = fields.get("message"), fields.get("text")
    message: dict[str, Any]
    if isinstance(given, dict) and isinstance(given.get("parts"), list):
        message = given
    elif isinstance(text, str):
        message = {"parts": [{"text": text}]}
    else:
        message = {"parts": [{"data": fields, "mediaType": "application/json"}]}
    message = {"messageId": attempt.idempotency_key, "role": "ROLE_USER", **message}
    call = {"jsonrpc": "2.0", "id": attempt.lease_id, "method": "SendMessage", "params": {"message": message}}
    return post(attempt, terms, parse_url(attempt.url), call, A2A_Version=VERSION)


def read(body: bytes) -> Outcome:
    """Of 1.0 and of 0.3, whose results have no wrapper and whose states are spelt otherwise. Raises Unreadable and ValueError."""
    (answer,) = objects([parse_json(body)])
    if answer.get("error") is not None:
        (error,) = objects([answer["error"]])
        return _refusal(error)
    (result,) = objects([json.loads(body).get("result")])  # with its large numbers whole
    if "message" in result or result.get("kind") == "message":
        return _done(result.get("message", result))
    (task,) = objects([result.get("task", result)])
    (status,) = objects([task.get("status")])
    state = str(status.get("state")).upper().replace("-", "_").removeprefix("TASK_STATE_")
    if state == "COMPLETED":
        return _done(task)
    if state not in ENDS:
        raise Unreadable(f"the agent answered while its task was {clip(state)[:40]}")
    verdict, code, what = ENDS[state]
    return Outcome(verdict, code=code, message=clip(": ".join(filter(None, (what, _text(status.get("message")))))))


def _done(result: Any) -> Outcome:
    return done(json.dumps(result, ensure_ascii=False, separators=(",", ":")))


def _refusal(error: dict[str, Any]) -> Outcome:
    code, text = error.get("code"), clip(f"the agent answered with error {error.get('code')}: {error.get('message')}")
    if code in ITS_FAULT or code not in _NAMED:
        return Outcome(Verdict.COUNTED, AgentSays.BAD, code=_FAILED, message=text)
    return Outcome(Verdict.FINAL, code=_REFUSED, message=text)


def _text(message: Any) -> str:
    parts = message.get("parts") if isinstance(message, dict) else None
    return " ".join(part["text"] for part in parts or [] if isinstance(part, dict) and isinstance(part.get("text"), str))


ADAPTER = Adapter(build, read)
