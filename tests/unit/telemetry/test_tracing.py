"""Trace context: which headers count, and that nothing is made without an exporter."""

import logging
import sys

import pytest

from aitbc.telemetry import tracing

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (GOOD, GOOD),
        ("cc" + GOOD[2:] + "-what-comes-later", "cc" + GOOD[2:]),
        (None, ""),
        ("", ""),
        (GOOD + "-01", ""),
        (GOOD.upper(), ""),
        ("ff" + GOOD[2:], ""),
        (GOOD.replace("00f067aa0ba902b7", "0" * 16), ""),
        (GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), ""),
        (GOOD + "\r\nX-Evil: 1", ""),
        (GOOD + "\n", ""),
    ],
)
def test_a_clients_header(sent, kept):
    assert tracing.client_traceparent(sent) == kept


@pytest.fixture
def process(monkeypatch):
    """No spans are made yet."""
    monkeypatch.setattr(tracing._Process, "spans", None)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_SERVICE_NAME": "x"},
    ],
)
def test_off_unless_an_exporter_is_named(process, environ):
    tracing.start(environ)
    assert not tracing.on()
    with tracing.span("submit", GOOD) as span:
        span.note(task_id="t")
        span.fail("nobody asks")
        assert span.traceparent == GOOD


def test_asked_for_and_not_installed_is_told(process, monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "aitbc.telemetry.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with caplog.at_level(logging.WARNING):
        tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert not tracing.on()
    assert "pip install 'aitbc[otel]'" in caplog.text
