"""The answer table over the wire."""

import gzip
import zlib
from typing import Any

import orjson
import pytest

from aitbc.model.outcome import Accepted, AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

COMPLETED, FINAL, COUNTED, UNSTARTED = Verdict.COMPLETED, Verdict.FINAL, Verdict.COUNTED, Verdict.UNSTARTED
OK, BAD, ERROR, GONE = AgentSays.OK, AgentSays.BAD, AgentSays.ERROR, AgentSays.GONE
REFUSED, FAILED, INVALID = ErrorCode.AGENT_REFUSED, ErrorCode.AGENT_FAILED, ErrorCode.INVALID_RESPONSE


def done(status: int, result: str) -> Outcome:
    return Outcome(COMPLETED, OK, result, http_status=status)


ROWS: list[tuple[int, bytes, dict[str, str], Outcome | Accepted]] = [
    (200, b'{"n": 1}', {}, done(200, '{"n": 1}')),
    (200, b'{"n": 1}', {"Content_Type": "text/html"}, done(200, '{"n": 1}')),
    (201, b"[1]", {}, done(201, "[1]")),
    (200, b"", {}, done(200, "null")),
    (204, b"", {}, done(204, "null")),
    (206, b"1", {}, done(206, "1")),
    (202, b"", {}, Accepted()),
    (202, b'{"status": "failed"}', {}, Accepted()),
    (200, b'{"status": "failed", "error": "e"}', {}, Outcome(FINAL, OK, code=FAILED, message="e", http_status=200)),
    (424, b'{"retryable": true, "error": "e"}', {}, Outcome(COUNTED, OK, code=FAILED, message="e", http_status=424)),
    *((s, b"e", {}, Outcome(COUNTED, OK, code=REFUSED, message="e", http_status=s)) for s in (408, 409, 425)),
    *((s, b"e", {}, Outcome(COUNTED, BAD, code=FAILED, message="e", http_status=s)) for s in (500, 502, 504, 599)),
    *((s, b"e", {}, Outcome(FINAL, OK, code=REFUSED, message="e", http_status=s)) for s in (400, 404, 405, 413, 415, 418, 422, 501)),
    (429, b"e", {"Retry_After": "2"}, Outcome(UNSTARTED, BAD, code=REFUSED, message="e", http_status=429, pause=2)),
    (503, b"e", {}, Outcome(COUNTED, BAD, code=REFUSED, message="e", http_status=503)),
    (503, b"e", {"Retry_After": "9999"}, Outcome(UNSTARTED, BAD, code=REFUSED, message="e", http_status=503, pause=3600)),
    (401, b"e", {}, Outcome(COUNTED, ERROR, code=REFUSED, message="e", http_status=401)),
    (403, b"e", {}, Outcome(COUNTED, ERROR, code=REFUSED, message="e", http_status=403)),
    (410, b"e", {}, Outcome(COUNTED, GONE, code=REFUSED, message="e", http_status=410)),
    (500, b"e", {"x_task_no_RETRY": "true"}, Outcome(FINAL, BAD, code=FAILED, message="e", http_status=500)),
    (400, b"e", {"X_Task_Retry": "true"}, Outcome(COUNTED, OK, code=REFUSED, message="e", http_status=400)),
]


@pytest.mark.parametrize(("status", "body", "headers", "outcome"), ROWS)
def test_row(kit: Any, status: int, body: bytes, headers: dict[str, str], outcome: Outcome | Accepted) -> None:
    assert kit.call(kit.answering(kit.reply(status, body, **headers))).outcome == outcome


@pytest.mark.parametrize(("idempotent", "verdict"), [(False, FINAL), (True, COUNTED)])
@pytest.mark.parametrize("body", [b"<html>", b"NaN", b'"\xff"'])
def test_not_json(kit: Any, body: bytes, idempotent: bool, verdict: Verdict) -> None:
    outcome = kit.call(kit.answering(kit.reply(200, body)), idempotent=idempotent).ended
    assert (outcome.verdict, outcome.agent_says, outcome.code, outcome.http_status) == (verdict, BAD, INVALID, 200)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(kit: Any, status: int) -> None:
    called = kit.call(kit.answering(kit.reply(status, b"", Location="/elsewhere")))
    assert (called.ended.verdict, called.ended.code) == (FINAL, ErrorCode.REDIRECT_REFUSED)
    assert "/elsewhere" in called.ended.message
    assert len(called.agent.requests) == 1


@pytest.mark.parametrize(("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)])
def test_encoded(kit: Any, encoding: str, squeeze: Any) -> None:
    body = orjson.dumps({"x": "y" * 5000})
    called = kit.call(kit.answering(kit.reply(200, squeeze(body), Content_Encoding=encoding)))
    assert called.outcome == done(200, body.decode())
    assert called.agent.requests[0].headers["accept-encoding"] == "gzip, deflate"


def test_an_encoding_that_nobody_asked_for(kit: Any) -> None:
    outcome = kit.call(kit.answering(kit.reply(200, b"{}", Content_Encoding="br"))).ended
    assert (outcome.verdict, outcome.code) == (FINAL, INVALID)


def test_chunked(kit: Any) -> None:
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    assert kit.call(kit.answering(wire)).outcome == done(200, "[1,2]")


def test_old_agents_that_end_with_the_connection(kit: Any) -> None:
    assert kit.call(kit.answering(b"HTTP/1.0 200 OK\r\n\r\n[1]", close=True)).outcome == done(200, "[1]")


def test_interim_answers_are_skipped(kit: Any) -> None:
    assert kit.call(kit.answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + kit.reply(200, b"1"))).outcome == done(200, "1")


def test_switching_protocols_is_no_answer(kit: Any) -> None:
    wire = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    called = kit.call(kit.answering(wire, close=True))
    assert (called.ended.verdict, called.ended.code, called.ended.http_status) == (FINAL, INVALID, 101)


MALFORMED = [
    b"SSH-2.0-OpenSSH_9\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBig: " + b"x" * 20_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"".join(b"H%d: x\r\n" % i for i in range(200)) + b"\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"".join(b"H%d: %s\r\n" % (i, b"x" * 8000) for i in range(9)) + b"Content-Length: 2\r\n\r\n{}",
]


@pytest.mark.parametrize("wire", MALFORMED)
@pytest.mark.parametrize(("idempotent", "verdict"), [(False, FINAL), (True, COUNTED)])
def test_malformed_and_oversized_headers(kit: Any, wire: bytes, idempotent: bool, verdict: Verdict) -> None:
    outcome = kit.call(kit.answering(wire, close=True), idempotent=idempotent).ended
    assert (outcome.verdict, outcome.agent_says, outcome.code) == (verdict, BAD, INVALID)


CUT_OFF = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}" * 500, mtime=0)[:20],
    b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}" * 500, mtime=0)[:20],
]


@pytest.mark.parametrize("wire", CUT_OFF)
def test_cut_off(kit: Any, wire: bytes) -> None:
    outcome = kit.call(kit.answering(wire, close=True)).ended
    assert (outcome.verdict, outcome.code, outcome.http_status) == (FINAL, INVALID, 200)


def test_cut_off_with_a_word_about_retries(kit: Any) -> None:
    wire = b"HTTP/1.1 200 OK\r\nX-Task-Retry: true\r\nContent-Length: 10\r\n\r\n{}"
    assert kit.call(kit.answering(wire, close=True)).ended.verdict is COUNTED


def test_a_status_counts_though_its_body_is_cut_off(kit: Any) -> None:
    wire = b"HTTP/1.1 400 X\r\nContent-Length: 100\r\n\r\nwrong"
    outcome = kit.call(kit.answering(wire, close=True)).ended
    assert outcome == Outcome(FINAL, OK, code=REFUSED, message="wrong", http_status=400)


SMALL = {"max_response_bytes": 1024}


@pytest.mark.parametrize(("size", "fits"), [(1022, True), (1023, False), (500_000, False)])
def test_the_cap_is_exact(kit: Any, size: int, fits: bool) -> None:
    outcome = kit.call(kit.answering(kit.reply(200, b'"' + b"x" * size + b'"')), settings=SMALL).ended
    if fits:
        assert outcome.verdict is COMPLETED
    else:
        assert (outcome.verdict, outcome.agent_says, outcome.code) == (FINAL, OK, ErrorCode.RESPONSE_TOO_LARGE)


@pytest.mark.parametrize(("idempotent", "verdict"), [(False, FINAL), (True, COUNTED)])
def test_a_gzip_bomb(kit: Any, idempotent: bool, verdict: Verdict) -> None:
    wire = kit.reply(200, gzip.compress(b"0" * 30_000_000), Content_Encoding="gzip")
    outcome = kit.call(kit.answering(wire), settings=SMALL, idempotent=idempotent).ended
    assert (outcome.verdict, outcome.code) == (verdict, ErrorCode.RESPONSE_TOO_LARGE)


def test_an_endless_body_is_not_read_on(kit: Any) -> None:
    sent = 0

    async def script(_seen: Any, writer: Any) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"1" * 10_000)
            await writer.drain()
            sent += 10_000

    called = kit.call(script, settings=SMALL)
    assert called.ended.code is ErrorCode.RESPONSE_TOO_LARGE
    assert sent < 20_000_000  # the kernel's buffers


def test_an_endless_remark_is_cut(kit: Any) -> None:
    wire = b"HTTP/1.1 500 X\r\n\r\n" + b"y" * 1_000_000
    outcome = kit.call(kit.answering(wire)).ended
    assert outcome == Outcome(COUNTED, BAD, code=FAILED, message="y" * 500, http_status=500)
