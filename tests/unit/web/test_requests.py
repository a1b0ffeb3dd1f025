"""Bytes to bodies, headers to values."""

import pytest

from aitbc.errors import BadRequest, Invalid
from aitbc.web import requests


@pytest.mark.parametrize(
    ("value", "levels"),
    [(1, 0), ("x", 0), ({}, 1), ([], 1), ({"a": 1}, 1), ({"a": [{}]}, 3), ([[], [[]]], 3), ({"a": {}, "b": {"c": [1]}}, 3)],
)
def test_depth(value, levels):
    assert requests.depth(value) == levels


def test_depth_of_what_no_recursion_reaches():
    value = []
    for _ in range(100_000):
        value = [value]
    assert requests.depth(value) == 100_001


@pytest.mark.parametrize("raw", [b"", b"  \r\n\t"])
def test_no_body_is_an_empty_one(raw):
    assert requests.read_object(raw) == {}


def test_a_wide_body_is_not_a_deep_one():
    assert len(requests.read_object(b'{"a":[' + b"{}," * 500 + b"{}]}")["a"]) == 501


@pytest.mark.parametrize("raw", [b'{"a":1,"a":2}', b'{"b":[{"a":1,"c":2,"a":1}]}'])
def test_equal_keys_are_refused(raw):
    with pytest.raises(BadRequest, match="the name 'a' twice in one object"):
        requests.read_object(raw)


def test_large_integers_keep_their_digits():
    assert requests.read_object(b'{"a":9007199254740993}') == {"a": 9007199254740993}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "line 1, column 2"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":1e999}', "1e999"),
        (b'{"a":-1e999}', "out of range"),
        (b"\xff", "UTF-8"),
        (b'{"a":"\\uD800"}', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b"[" * 100_000, "64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b'{"a":' + b"1" * 5000 + b"}", "too long"),
    ],
)
def test_what_cannot_be_read_says_why(raw, words):
    with pytest.raises(BadRequest, match=words):
        requests.read_object(raw)


@pytest.mark.parametrize(
    ("raw", "words"), [(b"[]", "an array"), (b'"x"', "a string"), (b"null", "null"), (b"true", "true or false"), (b"1", "a number")]
)
def test_what_is_no_object_says_what_it_is(raw, words):
    with pytest.raises(Invalid, match=words):
        requests.read_object(raw)


def test_an_escaped_pair_and_an_escaped_backslash_are_no_lone_surrogates():
    assert requests.read_object(b'{"a":"\\ud83d\\ude00","b":"\\\\ud800"}') == {"a": "\U0001f600", "b": "\\ud800"}


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", ""), (None, "")],
)
def test_bearer(header, token):
    assert requests.bearer(header) == token


@pytest.mark.parametrize(("sent", "used"), [("abc-1", "abc-1"), ("a b", None), ("", None), ("x" * 65, None), ("a\n", None)])
def test_request_id(sent, used):
    assert requests.client_request_id(sent) == used


@pytest.mark.parametrize("sent", ["k", "a b", "x" * 255])
def test_idempotency_key(sent):
    assert requests.idempotency_key(sent) == sent
    assert requests.idempotency_key(None) == ""


@pytest.mark.parametrize("sent", ["", "x" * 256, "\x7f", "é"])
def test_idempotency_keys_of_another_form(sent):
    with pytest.raises(Invalid, match="1 to 255 printable"):
        requests.idempotency_key(sent)
