"""The answer table of the agent contract, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orjson import dumps

from aitbc.dispatch.outcome import classify as classify_answer
from aitbc.dispatch.outcome import clip, error_text, parse_json, retry_after
from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
COMPLETED, FINAL, COUNTED, UNSTARTED = Verdict.COMPLETED, Verdict.FINAL, Verdict.COUNTED, Verdict.UNSTARTED
OK, BAD, ERROR, GONE = AgentSays.OK, AgentSays.BAD, AgentSays.ERROR, AgentSays.GONE
REFUSED, FAILED, INVALID, REDIRECT = (
    ErrorCode.AGENT_REFUSED,
    ErrorCode.AGENT_FAILED,
    ErrorCode.INVALID_RESPONSE,
    ErrorCode.REDIRECT_REFUSED,
)


def classify(status: int, headers: dict[str, str], body: bytes, *, idempotent: bool = False, whole: bool = True) -> Outcome:
    outcome = classify_answer(status, headers, body, idempotent=idempotent, now=NOW, whole=whole)
    assert isinstance(outcome, Outcome)
    assert outcome.http_status == status
    return outcome


DONE = [
    (200, b'{"n": 1}', '{"n": 1}'),
    (200, b' {"n": 18446744073709551617} \r\n', '{"n": 18446744073709551617}'),
    (201, b"[]", "[]"),
    (200, b'"text"', '"text"'),
    (200, b"null", "null"),
    (200, b"false", "false"),
    (200, b'{"status": "ok"}', '{"status": "ok"}'),
    (200, b'["status", "failed"]', '["status", "failed"]'),
    (203, b"1", "1"),
    (206, b"1", "1"),
    (299, b"{}", "{}"),
    (200, b"", "null"),
    (201, b" \n", "null"),
    (205, b"", "null"),
    (204, b"never read", "null"),
]


@pytest.mark.parametrize(("status", "body", "result"), DONE)
def test_done(status: int, body: bytes, result: str) -> None:
    assert classify(status, {}, body) == Outcome(COMPLETED, OK, result, http_status=status)


@pytest.mark.parametrize("headers", [{"x-task-no-retry": "true"}, {"x-task-retry": "true"}, {"retry-after": "5"}])
def test_retry_headers_change_nothing_about_a_success(headers: dict[str, str]) -> None:
    assert classify(200, headers, b"1") == Outcome(COMPLETED, OK, "1", http_status=200)


def test_started() -> None:
    assert classify_answer(202, {"retry-after": "9"}, b"no JSON", idempotent=False, now=NOW) == Accepted()


NOT_JSON = [
    b"<html>",
    b"NaN",
    b'{"a": Infinity}',
    b"-Infinity",
    b'"\xff"',
    b'"\\ud800"',
    b"{} {}",
    b'{"a": 1',
    b"\xef\xbb\xbf{}",
    b"{'a': 1}",
    "{}".encode("utf-16"),
    b"[" * 65 + b"]" * 65,
    b'{"a":' * 65 + b"1" + b"}" * 65,
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", NOT_JSON)
@pytest.mark.parametrize(("idempotent", "verdict"), [(False, FINAL), (True, COUNTED)])
def test_what_is_no_json_is_retried_only_when_idempotent(body: bytes, idempotent: bool, verdict: Verdict) -> None:
    outcome = classify(200, {}, body, idempotent=idempotent)
    assert (outcome.verdict, outcome.agent_says, outcome.code) == (verdict, BAD, INVALID)
    assert outcome.message.startswith("not JSON: ")
    assert len(outcome.message) < 1200


@pytest.mark.parametrize("depth", [1, 2, 64])
def test_depth_that_is_allowed(depth: int) -> None:
    body = b"[" * depth + b"]" * depth
    assert classify(200, {}, body).result == body.decode()


def test_many_shallow_containers_are_not_deep() -> None:
    assert len(parse_json(b"[" + b",".join([b'{"a": [1]}'] * 100) + b"]")) == 100


FAILED_WORK = [
    (200, b'{"status": "failed"}', FINAL, '{"status": "failed"}'),
    (200, b'{"status": "failed", "error": "no such model"}', FINAL, "no such model"),
    (201, b'{"status": "failed", "retryable": true, "error": "busy"}', COUNTED, "busy"),
    (200, b'{"status": "failed", "retryable": "true"}', FINAL, None),
    (200, b'{"status": "failed", "retryable": 1}', FINAL, None),
    (424, b'{"error": "x"}', FINAL, "x"),
    (424, b'{"retryable": true, "message": "y"}', COUNTED, "y"),
    (424, b"", FINAL, "the work failed"),
    (424, b"plain text", FINAL, "plain text"),
    (424, b"[1]", FINAL, "[1]"),
]


@pytest.mark.parametrize(("status", "body", "verdict", "message"), FAILED_WORK)
def test_failed_work_says_nothing_against_the_agent(status: int, body: bytes, verdict: Verdict, message: str | None) -> None:
    outcome = classify(status, {}, body)
    assert (outcome.verdict, outcome.agent_says, outcome.code, outcome.pause) == (verdict, OK, FAILED, 0)
    assert message is None or outcome.message == message


STATUSES: list[tuple[int, Verdict, AgentSays, ErrorCode]] = [
    *((status, FINAL, OK, REFUSED) for status in (400, 404, 405, 413, 415, 422, 501)),
    *((status, FINAL, OK, REFUSED) for status in (402, 406, 411, 414, 418, 423, 426, 451, 499)),
    *((status, COUNTED, OK, REFUSED) for status in (408, 409, 425)),
    *((status, COUNTED, BAD, FAILED) for status in (500, 502, 504, 505, 507, 520, 599)),
    (429, UNSTARTED, BAD, REFUSED),
    (503, COUNTED, BAD, REFUSED),
    (401, COUNTED, ERROR, REFUSED),
    (403, COUNTED, ERROR, REFUSED),
    (410, COUNTED, GONE, REFUSED),
    *((status, FINAL, BAD, REDIRECT) for status in (300, 301, 302, 303, 304, 307, 308)),
    *((status, FINAL, BAD, INVALID) for status in (101, 600, 999, 0)),
]


@pytest.mark.parametrize(("status", "verdict", "says", "code"), STATUSES)
def test_statuses(status: int, verdict: Verdict, says: AgentSays, code: ErrorCode) -> None:
    outcome = classify(status, {}, b"")
    assert (outcome.verdict, outcome.agent_says, outcome.code, outcome.pause, outcome.result) == (verdict, says, code, 0, "null")
    assert str(status) in outcome.message


def test_a_status_that_is_none_is_retried_when_idempotent() -> None:
    assert classify(101, {}, b"", idempotent=True).verdict is COUNTED


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 599])
def test_retry_after_pauses_the_agent(status: int) -> None:
    assert classify(status, {"retry-after": "7"}, b"").pause == 7


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 413, 424, 501])
def test_retry_after_elsewhere_is_not_heeded(status: int) -> None:
    assert classify(status, {"retry-after": "7"}, b"").pause == 0


@pytest.mark.parametrize(
    ("headers", "whole", "verdict"),
    [
        ({}, True, COUNTED),
        ({"retry-after": "1"}, True, UNSTARTED),
        ({"retry-after": "soon"}, True, COUNTED),
        ({}, False, UNSTARTED),
    ],
)
def test_503_that_is_not_counted(headers: dict[str, str], whole: bool, verdict: Verdict) -> None:
    assert classify(503, headers, b"", whole=whole).verdict is verdict


def test_500_before_the_whole_request_was_sent_is_counted() -> None:
    assert classify(500, {}, b"", whole=False).verdict is COUNTED


NO, YES = {"x-task-no-retry": "true"}, {"x-task-retry": "TRUE "}


@pytest.mark.parametrize(
    ("status", "headers", "body", "verdict"),
    [
        (500, NO, b"", FINAL),
        (429, NO, b"", FINAL),
        (503, NO | {"retry-after": "5"}, b"", FINAL),
        (401, NO, b"", FINAL),
        (424, NO, b'{"retryable": true}', FINAL),
        (400, YES, b"", COUNTED),
        (301, YES, b"", COUNTED),
        (424, YES, b"", COUNTED),
        (200, YES, b'{"status": "failed"}', COUNTED),
        (200, YES, b"<html>", COUNTED),
        (429, YES, b"", UNSTARTED),
        (500, YES, b"", COUNTED),
        (400, NO | YES, b"", FINAL),
        (500, NO | YES, b"", FINAL),
        (500, {"x-task-no-retry": "false"}, b"", COUNTED),
        (500, {"x-task-no-retry": "1"}, b"", COUNTED),
        (400, {"x-task-retry": ""}, b"", FINAL),
    ],
)
def test_retry_headers_beat_the_status(status: int, headers: dict[str, str], body: bytes, verdict: Verdict) -> None:
    assert classify(status, headers, body).verdict is verdict


def test_no_retry_leaves_the_pause_of_the_agent() -> None:
    assert classify(503, NO | {"retry-after": "5"}, b"").pause == 5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        (" 5 ", 5),
        ("1.5", 1.5),
        ("0", 1),
        ("99999", 3600),
        ("9" * 400, 3600),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("Fri, 15 Jan 2027 08:00:30 -0000", 30),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 1),
        ("Sat, 16 Jan 2027 08:00:00 GMT", 3600),
        ("Friday, 15-Jan-27 08:00:30 GMT", 30),
        ("", 0),
        ("-5", 0),
        ("soon", 0),
        ("5s", 0),
        ("\u0665", 0),
        ("nan", 0),
        ("1e3", 0),
        ("Fri, 99 Jan 2027 08:00:30 GMT", 0),
        ("Fri, 15 Jan 99999 08:00:30 GMT", 0),
    ],
)
def test_retry_after(text: str, seconds: float) -> None:
    assert retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"plain\ntext\x1b[31m", "plain\\ntext\\x1b[31m"),
        (b"  spaced  ", "spaced"),
        (b'{"error": "a", "message": "b"}', "a"),
        (b'{"message": "b", "detail": "c"}', "b"),
        (b'{"detail": "c"}', "c"),
        (b'{"error": "", "detail": "c"}', "c"),
        (b'{"error": null, "message": "b"}', "b"),
        (b'{"error": {"message": "deep", "type": "x"}}', "deep"),
        (b'{"error": {"type": "x"}}', '{"error": {"type": "x"}}'),
        (b'{"error": {"error": {"error": "too deep"}}}', '{"error": {"error": {"error": "too deep"}}}'),
        (b'{"detail": [{"loc": ["a"], "msg": "b"}]}', '{"detail": [{"loc": ["a"], "msg": "b"}]}'),
        (b'{"error": true, "message": "b"}', "b"),
        (b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}", '{"error": ' + "[" * 490),
        (b'{"other": 1}', '{"other": 1}'),
        (b'{"error": "\\u202erot"}', "\\u202erot"),
        (b'["error"]', '["error"]'),
        (b"\xff", "\ufffd"),
        ('{"error": "Zeit überschritten"}'.encode(), "Zeit überschritten"),
    ],
)
def test_error_text(body: bytes, text: str) -> None:
    assert error_text(body) == text


@pytest.mark.parametrize("body", [b"x" * 9000, b'{"error": "' + b"x" * 9000 + b'"}'])
def test_error_text_is_bounded(body: bytes) -> None:
    assert error_text(body) == "x" * 500


def test_clip_escapes_what_does_not_print() -> None:
    assert clip("a\tb\u2028c\ud800 d") == "a\\tb\\u2028c\\ud800 d"


def test_redirect_names_its_target() -> None:
    assert "redirect to https://b/\\x00: " in classify(302, {"location": "https://b/\x00"}, b"ignored").message


def test_message_falls_back_to_the_phrase() -> None:
    assert classify(503, {}, b"").message == "the agent answered 503 Service Unavailable"
    assert classify(599, {}, b"").message == "the agent answered 599"


HEADERS = ["retry-after", "location", "x-task-retry", "x-task-no-retry"]


@given(
    st.one_of(st.sampled_from([200, 202, 301, 400, 424, 429, 503]), st.integers(0, 999)),
    st.dictionaries(st.sampled_from(HEADERS), st.text()),
    st.one_of(st.binary(), st.recursive(st.none() | st.text() | st.floats(), lambda s: st.dictionaries(st.text(), s)).map(dumps)),
)
def test_whatever_comes_has_a_meaning(status: int, headers: dict[str, str], body: bytes) -> None:
    outcome = classify_answer(status, headers, body, idempotent=False, now=NOW)
    if isinstance(outcome, Outcome):
        outcome.message.encode()
        outcome.result.encode()
        assert (outcome.code is None) == (outcome.verdict is COMPLETED)
        assert 0 <= outcome.pause <= 3600
