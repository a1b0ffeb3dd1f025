"""What a log line holds, and what it never holds."""

import io
import json
import logging

import pytest
import structlog

from aitbc.telemetry import logs


@pytest.fixture
def lines():
    """The parsed lines of a configured process; the set-up of the test run is put back."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], level = before
    root.setLevel(level)
    logs.unbind()
    structlog.reset_defaults()


def test_a_standard_library_line_is_json(lines):
    logging.getLogger("aitbc.x").warning("agent %s went", "a1", extra={"agent_id": "a1"})
    (line,) = lines()
    assert line["event"] == "agent a1 went"
    assert line["agent_id"] == "a1"
    assert (line["level"], line["logger"]) == ("warning", "aitbc.x")
    assert line["timestamp"].endswith("Z")


def test_structlog_lines_look_the_same(lines):
    structlog.get_logger("aitbc.y").info("hello", n=1)
    (line,) = lines()
    assert line["event"] == "hello"
    assert line["n"] == 1
    assert line["logger"] == "aitbc.y"


def test_the_request_id_is_on_every_line_until_unbound(lines):
    logs.bind(request_id="r1")
    logging.getLogger("aitbc.x").info("a")
    logs.unbind()
    logging.getLogger("aitbc.x").info("b")
    assert [line.get("request_id") for line in lines()] == ["r1", None]


def test_secrets_inside_a_text_or_a_traceback_are_redacted(lines):
    exc = OSError("redis://:hush-1@h:6379/1 and amqp://user:hush-2@h refused Bearer hush-3.of_a-token")
    logging.getLogger("aitbc.x").error("call to https://u:hush-4@h/p?q failed: %s", exc, exc_info=exc)
    (line,) = lines()
    assert "hush" not in json.dumps(line)
    assert line["event"].startswith(f"call to https://u:{logs.REDACTED}@h/p?q failed: redis://:{logs.REDACTED}@h:6379/1 and amqp://user:")
    assert f"Bearer {logs.REDACTED}" in line["exception"]


def test_urls_without_a_password_stay(lines):
    logging.getLogger("aitbc.x").info("http://127.0.0.1:9001/a@b and a bearer of news: redis://h:6379/1")
    assert lines()[0]["event"] == "http://127.0.0.1:9001/a@b and a bearer of news: redis://h:6379/1"


def test_secrets_are_redacted_by_name_at_any_level(lines):
    extra = {"Authorization": "Bearer x", "body": {"agent": [{"api_key": "k", "callback_token": "t", "ok": 1}]}, "secret": ""}
    logging.getLogger("aitbc.x").info("in", extra=extra)
    (line,) = lines()
    assert line["Authorization"] == logs.REDACTED
    assert line["body"] == {"agent": [{"api_key": logs.REDACTED, "callback_token": logs.REDACTED, "ok": 1}]}
    assert line["secret"] == ""


def test_exceptions_are_one_line(lines):
    try:
        int("no")
    except ValueError:
        logging.getLogger("aitbc.x").exception("failed")
    (line,) = lines()
    assert "ValueError: invalid literal" in line["exception"]


def test_the_level_holds_and_an_unknown_one_is_info(lines):
    logging.getLogger("aitbc.x").debug("not shown")
    assert lines() == []
    logs.configure("chatty", stream=io.StringIO())
    assert logging.getLogger().level == logging.INFO


def test_for_people_there_is_no_json():
    root = logging.getLogger()
    before = root.handlers[:]
    stream = io.StringIO()
    logs.configure("info", json=False, stream=stream)
    try:
        logging.getLogger("aitbc.x").warning("plain")
        assert "plain" in stream.getvalue()
        assert not stream.getvalue().startswith("{")
    finally:
        root.handlers[:] = before
        structlog.reset_defaults()
