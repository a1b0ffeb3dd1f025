"""What goes out: the success body, times, and agents and tasks as the API shows them."""

import hashlib
import json
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask import Response, g, request
from flask.json.provider import DefaultJSONProvider

from aitbc.model.agent import Agent
from aitbc.model.task import Task

Answer = dict[str, Any]

MAX_TAGS = 16
"""ETags of an If-Match header that are looked at."""


class Json(DefaultJSONProvider):
    """Fields in the order in which they are written; no blanks. ASCII only, so that whatever an agent answered can be written."""

    def dumps(self, obj: Any, **_options: Any) -> str:
        """One encoder for all answers: `json.dumps` with options makes one each time."""
        return _encoder.encode(obj)


_encoder = json.JSONEncoder(separators=(",", ":"), default=DefaultJSONProvider.default)


def now() -> str:
    """The time as ISO-8601 UTC with microseconds and `+00:00`."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def at(unix: float) -> str:
    """Unix seconds in the same form."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="microseconds")


def success(**fields: Any) -> Answer:
    """`status`, the fields, `timestamp`."""
    return {"status": "success", **fields, "timestamp": now()}


def agents(found: list[Agent], **more: Any) -> Answer:
    """A list of agents and its count."""
    return success(**more, agents=[asdict(agent) for agent in found], count=len(found))


def tasks(found: list[Task], next_cursor: str | None) -> Answer:
    """A page of tasks."""
    return success(tasks=[asdict(task) for task in found], count=len(found), next_cursor=next_cursor)


def tagged(name: str, thing: Agent | Task, version: str, **headers: str) -> Response:
    """One thing with its ETag; 304 when the client has it already.

    An ETag is `version-hash`: the hash is of all that is shown, so a 304 is exact; If-Match asks for the version alone, since a
    heartbeat or a load is no change that a client could overwrite.
    """
    shown = _encoder.encode(asdict(thing))
    tag = f'"{version}-{hashlib.blake2b(shown.encode(), digest_size=8).hexdigest()}"'
    given = {"ETag": tag, **headers}
    if request.if_none_match.contains_weak(tag[1:-1]):
        return Response(status=304, headers=given)
    body = f'{{"status":"success","{name}":{shown},"timestamp":"{now()}"}}\n'
    return Response(body, headers=given, content_type="application/json")


def version_of_task(task: Task) -> str:
    """What a client that cancels or retries may have seen: state, last attempt, retries by hand."""
    return f"{task.state.value}.{task.attempts[-1].attempt if task.attempts else 0}.{task.retries}"


def if_match() -> tuple[str, ...]:
    """The versions of which the thing must have one; empty when all will do. A weak ETag never matches (RFC 9110), nor one of another's."""
    wanted = request.if_match
    if "If-Match" not in request.headers or wanted.star_tag:
        return ()
    return tuple(tag.rpartition("-")[0] for tag in sorted(wanted.as_set()))[:MAX_TAGS] or ("",)


def request_id() -> str:
    """The id of this request: the client's, or made once."""
    if "request_id" not in g:
        g.request_id = uuid.uuid4().hex
    return str(g.request_id)
