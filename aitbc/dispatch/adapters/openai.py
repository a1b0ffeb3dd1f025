"""Kind `openai`: any server with OpenAI's API (vLLM, llama.cpp, LiteLLM, OpenAI itself): chat, completions, embeddings.

The result is its reply; a stream's chunks are joined to what would have come without streaming, log probabilities aside.
"""

from re import compile as pattern
from typing import Any

import orjson

from aitbc.dispatch.adapter import Adapter, ask_model, broken_off, done, events, joined, objects
from aitbc.dispatch.outcome import parse_json
from aitbc.dispatch.reading import Unreadable
from aitbc.dispatch.request import Request, Terms
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Outcome

PATHS = {"messages": "/chat/completions", "prompt": "/completions", "input": "/embeddings"}
FIRST_PATHS = {field: f"/v1{path}" for field, path in PATHS.items()}
"""For an endpoint without a path."""
DONE = b"[DONE]"
_VERSIONED = pattern(r".*/v[0-9]+/?")


def build(attempt: Attempt, terms: Terms) -> Request:
    """An endpoint is a server, a base URL that ends in a version (`…/v1`), or else the URL for all its tasks.

    Raises Unfit, AddressRefused and Invalid.
    """
    return ask_model(attempt, terms, _paths)


def _paths(path: str) -> dict[str, str] | None:
    if path in {"", "/"}:
        return FIRST_PATHS
    return PATHS if _VERSIONED.fullmatch(path) else None


def read(body: bytes) -> Outcome:
    """One object, or an event stream until `[DONE]`; an error may come as any event. Raises Unreadable and ValueError."""
    text = body.strip()
    if not text.startswith((b"data:", b"event:", b"id:", b":")):
        (document,) = objects([parse_json(text)])
        return broken_off(document["error"]) if document.get("error") else done(text.decode())
    found = events(body + b"\n")
    chunks = objects([parse_json(data) for data in found if data != DONE])
    for chunk in chunks:
        if chunk.get("error"):
            return broken_off(chunk["error"])
    whole = _whole(chunks)
    if DONE not in found and not (whole["choices"] and all(choice.get("finish_reason") for choice in whole["choices"])):
        raise Unreadable("the stream ended before it was done")
    return done(orjson.dumps(whole).decode())


def _whole(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    pieces: dict[int, list[dict[str, Any]]] = {}
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if value is not None}
        for choice in objects(chunk.get("choices") or []):
            pieces.setdefault(_index(choice), []).append(choice)
    if whole.get("object") == "chat.completion.chunk":
        whole["object"] = "chat.completion"
    return {**whole, "choices": [_choice(index, pieces[index]) for index in sorted(pieces)]}


def _choice(index: int, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    reasons = [piece["finish_reason"] for piece in pieces if piece.get("finish_reason")]
    choice = {"index": index, "finish_reason": reasons[-1] if reasons else None, **joined(pieces, "text")}
    if deltas := objects([piece["delta"] for piece in pieces if "delta" in piece]):
        choice["message"] = _message(deltas)
    return choice


def _message(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """All text of a delta comes in pieces, but for the role; servers have fields of their own (`reasoning_content`)."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        for name, value in delta.items():
            if name == "tool_calls":
                for call in objects(value or []):
                    _add_call(calls.setdefault(_index(call), {}), call)
            elif isinstance(value, str) and name != "role":
                message[name] = (message.get(name) or "") + value
            elif value is not None:
                message[name] = value
    return {**message, "tool_calls": [calls[index] for index in sorted(calls)]} if calls else message


def _add_call(call: dict[str, Any], piece: dict[str, Any]) -> None:
    (function,) = objects([piece.get("function") or {}])
    so_far = call.get("function", {})
    call |= {name: value for name, value in piece.items() if name not in {"index", "function"} and value is not None}
    call["function"] = {**so_far, **function, **joined([so_far, function], "arguments")}


def _index(piece: dict[str, Any]) -> int:
    index = piece.get("index", 0)
    if not isinstance(index, int):
        raise ValueError("an index is no number")  # noqa: TRY004 - what every malformed answer raises
    return index


ADAPTER = Adapter(build, read)
