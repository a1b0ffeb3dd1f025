"""What clients send by mistake or on purpose, and the status of each: `tests/contract/test_corpus.py` sends it, docs/api.md lists it."""

from dataclasses import dataclass

SUBMIT, REGISTER, READ = "POST /tasks/submit", "POST /agents/register", "GET /tasks/{}"


@dataclass(frozen=True)
class Case:
    """`what` is the row of the table; rows of the same words and call are one."""

    what: str
    call: str
    status: int
    body: bytes = b""
    headers: tuple[bytes, ...] = ()


def _data(value: bytes, what: str, status: int = 400) -> Case:
    return Case(what, SUBMIT, status, b'{"task_data":{"a":' + value + b"}}")


def _id(name: bytes, what: str) -> list[Case]:
    return [
        Case(what, SUBMIT, 422, b'{"task_data":{},"task_id":"' + name + b'"}'),
        Case(what, REGISTER, 422, b'{"agent_type":"worker","agent_id":"' + name + b'"}'),
    ]


def _field(name: bytes, value: bytes, what: str, call: str = SUBMIT) -> Case:
    head = b'{"task_data":{},"' if call == SUBMIT else b'{"agent_id":"corpus","agent_type":"worker","'
    return Case(what, call, 422, head + name + b'":' + value + b"}")


def _key(sent: bytes) -> Case:
    what = "an `Idempotency-Key` of 256 characters or with others than printable ASCII"
    return Case(what, SUBMIT, 422, b'{"task_data":{}}', (b"Idempotency-Key: " + sent,))


GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
BODIES = [
    Case("no body", SUBMIT, 422),
    Case("`null`, an array, a text, a number, true", SUBMIT, 422, b"null"),
    Case("`null`, an array, a text, a number, true", SUBMIT, 422, b"[]"),
    Case("`null`, an array, a text, a number, true", SUBMIT, 422, b'"{}"'),
    Case("`null`, an array, a text, a number, true", SUBMIT, 422, b"7"),
    Case("`null`, an array, a text, a number, true", SUBMIT, 422, b"true"),
    Case("JSON that is cut off or has something behind it", SUBMIT, 400, b'{"task_data":'),
    Case("JSON that is cut off or has something behind it", SUBMIT, 400, b'{"task_data":{}}{}'),
    Case("a byte order mark", SUBMIT, 400, b'\xef\xbb\xbf{"task_data":{}}'),
    Case("UTF-16, bytes that are no UTF-8", SUBMIT, 400, '{"task_data":{}}'.encode("utf-16")),
    _data(b'"\xff"', "UTF-16, bytes that are no UTF-8"),
    _data(b'"\\ud800"', "half of a surrogate pair"),
    _data(b'"\xed\xa0\x80"', "half of a surrogate pair"),
    _data(b"NaN", "NaN, Infinity, 1e400, a number of 5,000 digits"),
    _data(b"-Infinity", "NaN, Infinity, 1e400, a number of 5,000 digits"),
    _data(b"1e400", "NaN, Infinity, 1e400, a number of 5,000 digits"),
    _data(b"9" * 5000, "NaN, Infinity, 1e400, a number of 5,000 digits"),
    Case("a name twice in one object", SUBMIT, 400, b'{"task_data":{},"task_data":{"a":1}}'),
    _data(b'{"b":1,"b":2}', "a name twice in one object"),
    _data(b"[" * 100 + b"]" * 100, "more than 64 levels, 10,000 too"),
    _data(b"[" * 10_000 + b"]" * 10_000, "more than 64 levels, 10,000 too"),
    Case("a `Content-Encoding`", SUBMIT, 415, GZIP, (b"Content-Encoding: gzip",)),
    Case("a body larger than 1 MiB", SUBMIT, 413, b'{"task_data":{"a":"' + b"x" * (1 << 20) + b'"}}'),
]
IDS = [
    *_id(b"", "an id that is empty, has 129 characters or is a word of the paths"),
    *_id(b"x" * 129, "an id that is empty, has 129 characters or is a word of the paths"),
    *_id(b"status", "an id that is empty, has 129 characters or is a word of the paths"),
    *_id(b"..", "an id that is empty, has 129 characters or is a word of the paths"),
    *_id(b"a\\u0000b", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"a\\r\\nb", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"a b", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"../x", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"agent:*", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"<b>", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"\\u001b[31m", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"a\\u200bb", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
    *_id(b"\\u202egpj", "an id with NUL, CR LF, a blank, `/`, `*`, `:`, `<`, an escape, zero-width or right-to-left characters"),
]
FIELDS = [
    _field(b"max_attempts", b"9007199254740993", "an integer past its bounds: 2^53 + 1, 2^63, -1"),
    _field(b"max_attempts", b"9223372036854775808", "an integer past its bounds: 2^53 + 1, 2^63, -1"),
    _field(b"max_attempts", b"-1", "an integer past its bounds: 2^53 + 1, 2^63, -1"),
    _field(b"max_concurrency", b"9223372036854775808", "an integer past its bounds: 2^53 + 1, 2^63, -1", REGISTER),
    _field(b"run_timeout", b"-1", "a duration that is negative or a text (`30s`)"),
    _field(b"run_timeout", b'"30s"', "a duration that is negative or a text (`30s`)"),
    _field(b"run_at", b'"0000-01-01T00:00:00Z"', "a time of the year 0 or 9999, or without a zone"),
    _field(b"run_at", b'"9999-12-31T23:59:59Z"', "a time of the year 0 or 9999, or without a zone"),
    _field(b"run_at", b'"2099-01-01T00:00:00"', "a time of the year 0 or 9999, or without a zone"),
    _field(b"requirements", b'{"capabilities":["a\\nb"]}', "a capability or tag with a control character"),
    _field(b"tags", b'["a\\u0000b"]', "a capability or tag with a control character", REGISTER),
    Case("an unknown priority", SUBMIT, 400, b'{"task_data":{},"priority":"soon"}'),
]
PATHS = [
    Case("a path with `%00`, `%0d%0a`, `%2e%2e`, `%ff`, `%E2%80%AE`", READ.format("a%00b"), 404),
    Case("a path with `%00`, `%0d%0a`, `%2e%2e`, `%ff`, `%E2%80%AE`", READ.format("a%0d%0aX-A:b"), 404),
    Case("a path with `%00`, `%0d%0a`, `%2e%2e`, `%ff`, `%E2%80%AE`", READ.format("%2e%2e/x"), 404),
    Case("a path with `%00`, `%0d%0a`, `%2e%2e`, `%ff`, `%E2%80%AE`", READ.format("%ff"), 404),
    Case("a path with `%00`, `%0d%0a`, `%2e%2e`, `%ff`, `%E2%80%AE`", READ.format("%E2%80%AE"), 404),
    Case("an id of 5,000 characters in a path", READ.format("x" * 5000), 404),
    Case("a capability of 5,000 characters, or with NUL, in a path", "GET /agents/capability/" + "x" * 5000, 422),
    Case("a capability of 5,000 characters, or with NUL, in a path", "GET /agents/capability/a%00b", 422),
    Case("a query of 5,000 characters in `cursor`", "GET /tasks?cursor=" + "x" * 5000, 422),
    Case("a request line of more than 8,190 bytes", "GET /tasks?x=" + "x" * 9000, 414),
    Case("a method that the path does not have (with `Allow`)", "DELETE /tasks/submit", 405),
    Case("a method that the path does not have (with `Allow`)", "BREW /tasks/submit", 405),
    Case("a method that the path does not have (with `Allow`)", "GET /agents/discover", 405),
    Case("an unknown path, `/../`", "GET /nothing", 404),
    Case("an unknown path, `/../`", "GET /health/../tasks", 404),
]
HEADERS = [
    Case("more than 64 headers, or one larger than 8,190 bytes", "GET /health", 431, headers=tuple(b"X-%d: y" % n for n in range(80))),
    Case("more than 64 headers, or one larger than 8,190 bytes", "GET /health", 431, headers=(b"X-A: " + b"y" * 9000,)),
    Case("a header with NUL, or without a name", "GET /health", 400, headers=(b"X-A: a\0b",)),
    Case("a header with NUL, or without a name", "GET /health", 400, headers=(b": a",)),
    Case("two lengths of one body", SUBMIT, 400, b'{"task_data":{}}', (b"Transfer-Encoding: chunked",)),
    _key(b"k" * 256),
    _key(b"\xe4"),
]  # fmt: skip
REFUSED = [*BODIES, *IDS, *FIELDS, *PATHS, *HEADERS]

TAKEN = [
    Case("any `Content-Type`, or none", SUBMIT, 200, b'{"task_data":{}}', (b"Content-Type: text/plain",)),
    Case("any `Content-Type`, or none", SUBMIT, 200, b'{"task_data":{}}', (b"Content-Type: application/json; charset=latin-1",)),
    Case("any `Content-Type`, or none", SUBMIT, 200, b'{"task_data":{}}'),
    Case("integers of any size in `task_data`: kept exactly", SUBMIT, 200, b'{"task_data":{"a":9223372036854775809}}'),
    Case("ids `__proto__`, `A.b_c~d-9`", SUBMIT, 200, b'{"task_data":{},"task_id":"__proto__"}'),
    Case("a slash at the end of a path", "POST /tasks/submit/", 200, b'{"task_data":{}}'),
    Case("NUL, HTML and escapes in `task_data`: never read", SUBMIT, 200, b'{"task_data":{"a":"\\u0000<script>\\u001b[31m"}}'),
]


def table() -> str:
    """The rows of docs/api.md, in order; what is the same but for the call stands once."""
    rows: dict[tuple[str, int], None] = {}
    for case in [*REFUSED, *TAKEN]:
        rows[case.what, case.status] = None
    return "\n".join(["| sent | status |", "| - | - |", *(f"| {what} | {status} |" for what, status in rows)])
