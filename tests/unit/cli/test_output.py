"""Printing for people: aligned, bounded, and harmless to a terminal."""

import pytest

from aitbc.cli.output import dig, plain, table, without_password


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (0, "0"),
        (False, "false"),
        (["a", "b"], "a, b"),
        ([1, "b"], '[1, "b"]'),
        ({"ä": 1}, '{"ä": 1}'),
        ("red\x1b[31m\n", "red�[31m�"),
        ("x" * 61, "x" * 59 + "…"),
    ],
)
def test_plain(value, text):
    assert plain(value) == text


def test_table_is_aligned_without_trailing_spaces():
    assert table(["id", "state"], [["task-1", "queued"], ["t", "-"]]) == "ID      STATE\ntask-1  queued\nt       -"


def test_dig():
    assert dig({"error": {"code": "poison"}}, "error.code") == "poison"
    assert dig({"error": None}, "error.code") is None


def test_passwords_are_left_out():
    assert without_password("redis://user:pw@h:1/1") == "redis://h:1/1"
    assert without_password("redis://h:1/1") == "redis://h:1/1"
