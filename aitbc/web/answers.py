"""What goes out: the success body, times, and agents and tasks as the API shows them."""

import json
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask import g
from flask.json.provider import DefaultJSONProvider

from aitbc.model.agent import Agent
from aitbc.model.task import Task

Answer = dict[str, Any]


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


def request_id() -> str:
    """The id of this request: the client's, or made once."""
    if "request_id" not in g:
        g.request_id = uuid.uuid4().hex
    return str(g.request_id)
