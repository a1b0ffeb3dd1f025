"""Answers off the wire, whole and hostile, in pieces of any size."""

import gzip
from collections.abc import Iterator
from itertools import repeat

import pytest

from aitbc.dispatch.answer import MOST_HEADER_BYTES, MOST_HEADERS, MOST_LINE_BYTES, Answer
from aitbc.dispatch.reading import ResponseTooLarge, Unreadable

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 2\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(wire: bytes, step: int = 1 << 20, cap: int = 1000) -> Answer:
    answer = Answer(cap)
    for i in range(0, len(wire), step):
        answer.feed(wire[i : i + step])
    return answer


WHOLE: list[tuple[bytes, int, bytes, bool]] = [
    (LENGTH + b"\r\n{}", 200, b"{}", True),
    (LENGTH + b"Connection: close\r\n\r\n{}", 200, b"{}", False),
    (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", False),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    (b"HTTP/1.1 500\r\nContent-Length: 1\r\n\r\nx", 500, b"x", True),
    (CHUNKED + b"1\r\n{\r\n1;why=not\r\n}\r\n0\r\n\r\n", 200, b"{}", True),
    (CHUNKED + b"2\r\n{}\r\n0\r\nX-Task-Retry: true\r\n\r\n", 200, b"{}", True),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"\r\n{}", 200, b"{}", True),
    (b"HTTP/1.1 103 Hints\r\nX-Task-Retry: true\r\n\r\n" * 3 + LENGTH + b"\r\n{}", 200, b"{}", True),
    (LENGTH.replace(b"\r", b"") + b"\n{}", 200, b"{}", True),
    (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 101, b"", False),
    (b"HTTP/1.1 101 X\r\n\r\n", 101, b"", False),
]


@pytest.mark.parametrize(("wire", "status", "body", "reusable"), WHOLE)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_whole(wire: bytes, status: int, body: bytes, reusable: bool, step: int) -> None:
    answer = read(wire, step)
    assert answer.complete
    assert (answer.status, bytes(answer.body.data), answer.reusable) == (status, body, reusable)
    assert "x-task-retry" not in answer.headers


def test_headers() -> None:
    answer = read(OK + b"X-A:  1 \r\nx-a: 2\r\nLocation: caf\xc3\xa9\xff\r\n\r\n")
    assert dict(answer.headers) == {"x-a": "1", "location": "caf\u00e9\udcff"}
    assert len(answer.headers) == 2
    assert answer.headers.get("retry-after", "none") == "none"


@pytest.mark.parametrize("step", [1, 1000])
def test_without_a_length_it_ends_with_the_connection(step: int) -> None:
    answer = read(OK + b"\r\n[1]", step)
    assert not answer.complete
    answer.end(None)
    assert answer.complete
    assert (bytes(answer.body.data), answer.reusable) == (b"[1]", False)


BEYOND = [
    b"garbage",
    LENGTH + b"\r\n{}",
    b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n",
    b"\0",
]


@pytest.mark.parametrize("beyond", BEYOND)
@pytest.mark.parametrize("whole", [LENGTH + b"\r\n{}", LENGTH + b"Connection: close\r\n\r\n{}", CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"])
def test_what_comes_behind_the_end_changes_nothing_but_ends_the_connection(whole: bytes, beyond: bytes) -> None:
    """Also a Content-Length that is too small."""
    answer = read(whole + beyond)
    assert (answer.complete, answer.status, bytes(answer.body.data), answer.reusable) == (True, 200, b"{}", False)


CUT_OFF = [LENGTH + b"\r\n{", CHUNKED + b"5\r\n{}", CHUNKED + b"2\r\n{}\r\n", CHUNKED + b"2\r\n{}\r\n0\r\nX: y\r\n"]


@pytest.mark.parametrize("wire", CUT_OFF)
@pytest.mark.parametrize("exc", [None, ConnectionResetError(104, "reset")])
def test_cut_off(wire: bytes, exc: Exception | None) -> None:
    """Also a Content-Length that is too large."""
    answer = read(wire)
    with pytest.raises(Unreadable, match="before its end"):
        answer.end(exc)
    assert answer.status == 200
    assert not answer.complete


def test_a_reset_is_no_end_of_a_body() -> None:
    answer = read(OK + b"\r\n[1]")
    with pytest.raises(Unreadable):
        answer.end(ConnectionResetError(104, "reset"))
    assert not answer.complete


def test_a_compressed_body_that_ends_too_early() -> None:
    squeezed = gzip.compress(b"{}" * 500, mtime=0)[:20]
    with pytest.raises(Unreadable, match="cut off"):
        read(OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + squeezed)


@pytest.mark.parametrize("wire", [b"", b"HTT", OK, OK + b"Content-Length: 2\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_closed_before_an_answer(wire: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        read(wire).end(None)


MALFORMED = [
    b"SSH-2.0-OpenSSH_9\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET / HTTP/1.1\r\n\r\n",
    b"HTTP/3.7 200 OK\r\n\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    OK + b"no colon\r\n\r\n",
    OK + b"X: a\0b\r\n\r\n",
    OK + b"Content-Length: -1\r\n\r\n",
    OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    LENGTH + b"Content-Length: 3\r\n\r\n{}",
    LENGTH + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    CHUNKED + b"x\r\n",
    CHUNKED + b"-1\r\n",
    CHUNKED + b"fffffffffffffffff\r\n",
    CHUNKED + b"2\r\n{}garbage",
]


@pytest.mark.parametrize("wire", MALFORMED)
@pytest.mark.parametrize("step", [1, 1000])
def test_malformed(wire: bytes, step: int) -> None:
    with pytest.raises(Unreadable):
        read(wire, step)


def endless(start: bytes, piece: bytes) -> Iterator[bytes]:
    yield start
    yield from repeat(piece)


BOMBS = [
    (b"", b"\r\n"),
    (b"HTTP/1.1 200 ", b"O" * 100),
    (OK, b"X: y\r\n"),
    (OK, b"X: " + b"y" * 5000 + b"\r\n"),
    (OK + b"X: ", b"y"),
    (OK, b"X" * 100),
    (b"", b"HTTP/1.1 102 X\r\nX: y\r\n\r\n"),
    (CHUNKED + b"2;", b"x" * 100),
    (CHUNKED + b"0\r\nX: ", b"y" * 100),
    (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    (CHUNKED, b"0" * 100),
]


@pytest.mark.parametrize(("start", "piece"), BOMBS)
def test_bombs_are_noticed_within_their_bound(start: bytes, piece: bytes) -> None:
    answer, taken = Answer(1000), 0
    with pytest.raises(Unreadable):  # noqa: PT012 - whichever piece it is
        for data in endless(start, piece):
            taken += len(data)
            assert taken <= MOST_HEADER_BYTES + 2 * len(piece)
            answer.feed(data)


@pytest.mark.parametrize("piece", [b"1;" + b"x" * 1000 + b"\r\n1\r\n", b"2\r\n{}\r\n"])
def test_endless_chunks_end_at_the_cap(piece: bytes) -> None:
    answer, taken = Answer(1000), 0
    with pytest.raises(ResponseTooLarge):  # noqa: PT012 - as above
        for data in endless(CHUNKED, piece):
            taken += 1
            assert taken < 1100
            answer.feed(data)
    assert len(answer.body.data) == 1000


def headers(count: int, size: int) -> bytes:
    return b"".join(b"H: %s\r\n" % (b"x" * (size - 5)) for _ in range(count))


@pytest.mark.parametrize(("count", "size"), [(MOST_HEADERS, 10), (1, MOST_LINE_BYTES), (4, MOST_HEADER_BYTES // 4)])
def test_the_bounds_of_headers_are_exact(count: int, size: int) -> None:
    end = b"\r\n"
    assert read(OK + headers(count, size) + end).status == 200
    over = headers(count + 1, size) if count > 1 else headers(1, size + 1)
    with pytest.raises(Unreadable, match="its headers are over"):
        read(OK + over + end)


def test_a_status_decides_though_its_headers_are_over_the_bounds() -> None:
    answer = Answer(1000)
    with pytest.raises(Unreadable):
        answer.feed(b"HTTP/1.1 500 X\r\n" + headers(200, 10) + b"\r\n")
    assert (answer.status, answer.status_decides) == (500, True)
