"""Which lines of a service are shown."""

import pytest

from aitbc.cli.children import Volume


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("[2026-11-25 00:00:00,000: INFO/MainProcess] celery@h ready.", False),
        ("[2026-11-25 00:00:00,000: WARNING/MainProcess] slow [INFO]", True),
        ("[2026-11-25 00:00:00 +0000] [12] [INFO] Starting gunicorn", False),
        ("[2026-11-25 00:00:00 +0000] [12] [ERROR] Connection in use", True),
        ("[I 261125 00:00:00 command:168] Visit me", False),
        ("[W 261125 00:00:00 web:1] 404", True),
        ("12:M 25 Nov 2026 00:00:00.000 * Ready to accept connections", False),
        ("12:M 25 Nov 2026 00:00:00.000 # Can't save", True),
        ('{"event": "x", "level": "info"}', False),
        ('{"level":"error","event":"x"}', True),
        ('{"event": "[1 ERROR] quoted", "level": "info"}', False),
        ("ERROR it broke", True),
        ("Traceback (most recent call last):", True),
    ],
)
def test_warnings_and_above(line, shown):
    assert Volume(everything=False, unknown=True).passes(line) is shown
    assert Volume(everything=True, unknown=False).passes(line)


def test_what_looks_like_a_warning_and_is_none():
    volume = Volume(everything=False, unknown=True, hush="SecurityWarning: You")
    assert [volume.passes(line) for line in ("x.py:1: SecurityWarning: You're root", "  more of it", "[x: ERROR/M] it broke")] == [
        False,
        False,
        True,
    ]
    assert Volume(everything=True, unknown=True, hush="x").passes("x")


def test_a_line_without_a_level_goes_with_the_one_before():
    volume = Volume(everything=False, unknown=False)
    lines = ["banner", "[x: ERROR/M] it broke", "  File x", "[x: INFO/M] on", "banner"]
    assert [volume.passes(line) for line in lines] == [False, True, True, False, False]
