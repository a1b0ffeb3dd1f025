"""Bodies: decoded inside the cap."""

import gzip
import zlib

import pytest

from aitbc.dispatch.reading import Body, ResponseTooLarge, Unreadable

TEXT = b'{"a": "' + b"x" * 3000 + b'"}'


def raw_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


ENCODED = [
    ("", TEXT),
    ("identity", TEXT),
    ("gzip", gzip.compress(TEXT, mtime=0)),
    ("GZIP ", gzip.compress(TEXT, mtime=0)),
    ("x-gzip", gzip.compress(TEXT, mtime=0)),
    ("gzip", gzip.compress(TEXT[:1000], mtime=0) + gzip.compress(TEXT[1000:], mtime=0)),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", raw_deflate(TEXT)),
]


@pytest.mark.parametrize(("encoding", "wire"), ENCODED)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_decoded_in_pieces_of_any_size(encoding: str, wire: bytes, step: int) -> None:
    body = Body(encoding, len(TEXT))
    for i in range(0, len(wire), step):
        body.feed(wire[i : i + step])
    body.finish()
    assert bytes(body.data) == TEXT


@pytest.mark.parametrize(("encoding", "wire"), ENCODED)
def test_one_byte_over_the_cap(encoding: str, wire: bytes) -> None:
    body = Body(encoding, len(TEXT) - 1)
    with pytest.raises(ResponseTooLarge, match=f"larger than {len(TEXT) - 1} bytes"):
        body.feed(wire)
    assert bytes(body.data) == TEXT[:-1]


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "br"])
def test_empty_bodies_have_no_encoding(encoding: str) -> None:
    body = Body(encoding, 10)
    body.finish()
    assert not body.data


def test_a_bomb_is_cut_at_the_cap() -> None:
    bomb = gzip.compress(b"0" * 20_000_000)
    body = Body("gzip", 1000)
    with pytest.raises(ResponseTooLarge):
        body.feed(bomb)
    assert len(body.data) == 1000


def test_a_stream_of_empty_members_ends() -> None:
    nothing, body = gzip.compress(b"") * 50, Body("gzip", 1000)
    body.feed(nothing)
    body.feed(nothing)
    with pytest.raises(ResponseTooLarge):
        body.feed(nothing)
    assert not body.data


@pytest.mark.parametrize(
    ("encoding", "wire", "says"),
    [
        ("br", b"x", "'br' was not asked for"),
        ("gzip, gzip", b"x", "not asked for"),
        ("gzip", b"plain text", "damaged"),
        ("deflate", b"\xff\xff\xff", "damaged"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-1], "cut off"),
        ("gzip", gzip.compress(TEXT, mtime=0) + b"trailing", "damaged"),
    ],
)
def test_unreadable(encoding: str, wire: bytes, says: str) -> None:
    body = Body(encoding, 10_000)
    with pytest.raises(Unreadable, match=says):
        feed_all(body, wire)


def feed_all(body: Body, wire: bytes) -> None:
    body.feed(wire)
    body.finish()
