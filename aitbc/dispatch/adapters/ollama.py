"""Kind `ollama`: an Ollama server (POST /api/chat, /api/generate, /api/embed). The result is its reply; a stream's pieces are joined."""

from typing import Any

import orjson

from aitbc.dispatch.adapter import Adapter, ask_model, broken_off, done, joined, objects, one_or_lines
from aitbc.dispatch.reading import Unreadable
from aitbc.dispatch.request import Request, Terms
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Outcome

PATHS = {"messages": "/api/chat", "prompt": "/api/generate", "input": "/api/embed"}


def build(attempt: Attempt, terms: Terms) -> Request:
    """Raises Unfit, AddressRefused and Invalid."""
    return ask_model(attempt, terms, lambda path: PATHS if path in {"", "/"} else None)


def read(body: bytes) -> Outcome:
    """One object, or one a line until `done`; an error may come as any line. Raises Unreadable and ValueError."""
    pieces = one_or_lines(body)
    for piece in pieces:
        if "error" in piece:
            return broken_off(piece["error"])
    if not pieces[-1].get("done", "done" not in pieces[0]):
        raise Unreadable("the stream ended before it was done")
    return done(body.strip().decode() if len(pieces) == 1 else orjson.dumps(_whole(pieces)).decode())


def _whole(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """As it would have come without streaming: the last piece, which has the counts, and all the text."""
    whole = {**pieces[-1], **joined(pieces, "response"), **joined(pieces, "thinking")}
    if messages := objects([piece["message"] for piece in pieces if "message" in piece]):
        whole["message"] = {**messages[-1], **joined(messages, "content"), **joined(messages, "thinking")}
        if calls := [call for message in messages for call in objects(message.get("tool_calls") or [])]:
            whole["message"]["tool_calls"] = calls
    return whole


ADAPTER = Adapter(build, read)
