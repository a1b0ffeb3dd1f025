"""Small servers that answer as the real ones do: Ollama, a server with OpenAI's API (vLLM), an A2A agent; and an agent of ours."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """How one kind of server is asked, and answers.

    `task`: task_data; `path`, `asked`: what the server gets for it; `answer`: its body of a 200, `result` of the task; `refusal`: the body
    of its errors, whose message is `no such model`; `rows`: further 200s → state and what stands in result or message.
    """

    task: dict[str, Any]
    path: str
    asked: dict[str, Any]
    answer: bytes
    result: Any
    refusal: dict[str, Any]
    rows: dict[str, tuple[bytes, str, Any]] = field(default_factory=dict)
    unfit: dict[str, Any] | None = None


def lines(*documents: Any) -> bytes:
    """NDJSON."""
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def sse(*documents: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    """Server-sent events."""
    return b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents) + end


HTTP = Case({"n": 1}, "/tasks/execute", {"task_data": {"n": 1}}, b'{"n": 2}', {"n": 2}, {"error": "no such model"})

_COUNTS = {"done": True, "done_reason": "stop", "eval_count": 2, "total_duration": 5043500667}


def chat(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": content}, "done": False, **more}


def generated(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "t", "response": text, "done": False, **more}


_CALL = {"function": {"name": "f", "arguments": {"x": 1}}}
OLLAMA = Case(
    {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "/api/chat",
    {"stream": False, "model": "m", "messages": [{"role": "user", "content": "hi"}]},
    lines(chat("hello", **_COUNTS)),
    chat("hello", **_COUNTS),
    {"error": "no such model"},
    {
        "a stream": (lines(chat("hel"), chat("lo"), chat("", **_COUNTS)), "completed", chat("hello", **_COUNTS)),
        "a stream with tools and thoughts": (
            lines(
                chat("", message={"role": "assistant", "content": "", "thinking": "h"}),
                chat("", message={"role": "assistant", "content": "", "thinking": "m", "tool_calls": [_CALL]}),
                chat("", **_COUNTS),
            ),
            "completed",
            chat("", **_COUNTS) | {"message": {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [_CALL]}},
        ),
        "a stream of generate": (
            lines(generated("hel"), generated("lo"), generated("", **_COUNTS)),
            "completed",
            generated("hello", **_COUNTS),
        ),
        "embeddings": (b'{"model": "m", "embeddings": [[0.5]]}', "completed", {"model": "m", "embeddings": [[0.5]]}),
        "an error in mid-stream": (lines(chat("hel"), {"error": "model runner has stopped"}), "counted", "model runner has stopped"),
        "a stream cut off": (lines(chat("hel"), chat("lo")), "final", "before it was done"),
        "a stream of one piece, cut off": (lines(chat("hel")), "final", "before it was done"),
        "a stream with garbage": (lines(chat("hel")) + b"<html>\n" + lines(chat("", **_COUNTS)), "final", "not an answer of its kind"),
        "a list": (b"[1]", "final", "a JSON object was expected"),
        "a message that is none": (lines(chat("a"), chat("b", message=5), chat("", **_COUNTS)), "final", "a JSON object was expected"),
    },
    {"text": "hi"},
)


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choices = [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}]
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def completion(*messages: tuple[dict[str, Any], str], **more: Any) -> dict[str, Any]:
    choices = [{"index": i, "finish_reason": finish, "message": message} for i, (message, finish) in enumerate(messages)]
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **more}


def told(text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


_USAGE = {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
_TEXT = {"id": "c-1", "object": "text_completion", "created": 1, "model": "m"}


def tool(index: int, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **more}]}


OPENAI = Case(
    {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/chat/completions",
    {"stream": False, "model": "m", "messages": [{"role": "user", "content": "hi"}]},
    json.dumps(completion((told("hello"), "stop"), **_USAGE)).encode(),
    completion((told("hello"), "stop"), **_USAGE),
    {"error": {"message": "no such model", "type": "NotFoundError", "param": None, "code": 404}},
    {
        "a stream": (
            sse(
                chunk({"role": "assistant"}),
                chunk({"content": "hel"}),
                chunk({"content": "lo"}, "stop"),
                chunk({}, **_USAGE) | {"choices": []},
            ),
            "completed",
            completion((told("hello"), "stop"), **_USAGE),
        ),
        "a stream with comments, events and \\r\\n": (
            b": OPENROUTER PROCESSING\r\n\r\nevent: x\r\n" + sse(chunk({"content": "a"}, "stop")).replace(b"\n", b"\r\n"),
            "completed",
            completion((told("a"), "stop")),
        ),
        "a stream without [DONE]": (sse(chunk({"content": "a"}, "length"), end=b""), "completed", completion((told("a"), "length"))),
        "two choices": (
            sse(chunk({"content": "a"}), chunk({"content": "b"}, "stop", 1), chunk({"content": "c"}, "stop")),
            "completed",
            completion((told("ac"), "stop"), (told("b"), "stop")),
        ),
        "tool calls in pieces": (
            sse(
                chunk(tool(0, id="t", type="function", function={"name": "f", "arguments": ""})),
                chunk(tool(0, function={"arguments": '{"x"'})),
                chunk(tool(1, id="u", type="function", function={"name": "g", "arguments": "{}"})),
                chunk(tool(0, function={"arguments": ": 1}"}), "tool_calls"),
            ),
            "completed",
            completion(
                (
                    told(
                        None,
                        tool_calls=[
                            {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                            {"id": "u", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                        ],
                    ),
                    "tool_calls",
                )
            ),
        ),
        "a stream of texts": (
            sse(
                _TEXT | {"choices": [{"index": 0, "text": "a", "finish_reason": None}]},
                _TEXT | {"choices": [{"text": "b", "finish_reason": "stop"}]},
            ),
            "completed",
            _TEXT | {"choices": [{"index": 0, "finish_reason": "stop", "text": "ab"}]},
        ),
        "an error in mid-stream": (
            sse(chunk({"content": "a"}), {"error": {"message": "engine died", "code": 500}}),
            "counted",
            "engine died",
        ),
        "a refusal in mid-stream": (sse({"error": {"message": "too long", "code": 400}}), "final", "too long"),
        "a full server in mid-stream": (sse({"error": {"message": "later", "code": 429}}), "counted", "later"),
        "an error that is a text": (b'{"error": "engine died"}', "counted", "engine died"),
        "no error": (b'{"object": "list", "data": [], "error": null}', "completed", {"object": "list", "data": [], "error": None}),
        "a stream cut off": (sse(chunk({"content": "a"}), end=b""), "final", "before it was done"),
        "a stream cut off in an event": (sse(chunk({"content": "a"}), end=b'data: {"id'), "final", "not an answer of its kind"),
        "a list": (b"[1]", "final", "a JSON object was expected"),
        "choices that are none": (sse(chunk({}) | {"choices": 5}), "final", "a JSON object was expected"),
        "an index that is none": (sse(chunk({}) | {"choices": [{"index": "a"}]}), "final", "an index is no number"),
    },
    {"text": "hi"},
)


def rpc(result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "task-1:1", "result": result}).encode()


def task(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "t-9", "contextId": "c-9", "status": {"state": state, "timestamp": "2026-01-01T00:00:00Z", **more}}


def error(code: int, message: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "task-1:1", "error": {"code": code, "message": message}}).encode()


def sent(part: dict[str, Any]) -> dict[str, Any]:
    message = {"messageId": "task-1", "role": "ROLE_USER", "parts": [part]}
    return {"jsonrpc": "2.0", "id": "task-1:1", "method": "SendMessage", "params": {"message": message}}


_SAID = {"messageId": "a-1", "role": "ROLE_AGENT", "parts": [{"text": "hello"}]}
_WHY = {"message": {"messageId": "a-2", "role": "ROLE_AGENT", "parts": [{"text": "out of"}, {"text": "paper"}, {"data": {}}]}}
_DONE = task("TASK_STATE_COMPLETED") | {"artifacts": [{"artifactId": "x", "parts": [{"text": "hello"}]}]}
A2A = Case(
    {"text": "hi"},
    "/rpc",
    sent({"text": "hi"}),
    rpc({"task": _DONE}),
    _DONE,
    {"error": "no such model"},
    {
        "a message": (rpc({"message": _SAID}), "completed", _SAID),
        "a task of 0.3": (rpc({"kind": "task", **task("completed")}), "completed", {"kind": "task", **task("completed")}),
        "a message of 0.3": (rpc({"kind": "message", **_SAID}), "completed", {"kind": "message", **_SAID}),
        "large numbers": (rpc({"message": {"n": 10**30}}), "completed", {"n": 10**30}),
        "failed": (rpc({"task": task("TASK_STATE_FAILED", **_WHY)}), "final", "the work failed: out of paper"),
        "failed of 0.3": (rpc({"kind": "task", **task("failed")}), "final", "the work failed"),
        "cancelled": (rpc({"task": task("TASK_STATE_CANCELED")}), "final", "cancelled the work"),
        "rejected": (rpc({"task": task("TASK_STATE_REJECTED", **_WHY)}), "counted", "rejected the work: out of paper"),
        "asks for input": (rpc({"task": task("TASK_STATE_INPUT_REQUIRED")}), "final", "asks for more input"),
        "asks for input of 0.3": (rpc(task("input-required")), "final", "asks for more input"),
        "asks for credentials": (rpc({"task": task("TASK_STATE_AUTH_REQUIRED")}), "final", "asks for credentials"),
        "answers at once": (rpc({"task": task("TASK_STATE_WORKING")}), "final", "while its task was WORKING"),
        "no such method": (error(-32601, "Method not found"), "final", "error -32601: Method not found"),
        "not its version": (error(-32009, "use 0.3"), "final", "error -32009: use 0.3"),
        "internal error": (error(-32603, "oops"), "counted", "error -32603: oops"),
        "an error of its own": (error(-32050, "oops"), "counted", "error -32050: oops"),
        "a stream": (sse({"jsonrpc": "2.0"}), "final", "not an answer of its kind"),
        "no result": (b'{"jsonrpc": "2.0"}', "final", "a JSON object was expected"),
        "no status": (rpc({"task": {}}), "final", "a JSON object was expected"),
        "parts that are none": (rpc({"task": task("TASK_STATE_FAILED", message={"parts": [5]})}), "final", "the work failed"),
    },
)

CASES = {"http": HTTP, "a2a": A2A, "openai": OPENAI, "ollama": OLLAMA}
