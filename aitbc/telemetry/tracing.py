"""W3C trace context: a client's `traceparent` goes through ledger and worker to the agent, and with `aitbc[otel]` our spans between.

Without OpenTelemetry, or without an exporter named in the environment (OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=otlp or
console), the header is handed on as it came, and nothing else is done.
"""

import logging
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

log = logging.getLogger(__name__)

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """Something that is being done. `traceparent`: what whoever is called for it must be sent; empty: nothing."""

    traceparent: str

    def note(self, **facts: str | int) -> None:
        """Add attributes `aitbc.{fact}`."""

    def fail(self, why: str) -> None:
        """It did not succeed."""


class _Passed:
    """No span: the client's own header is handed on."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to end."""

    def note(self, **facts: str | int) -> None:
        """Nobody asks."""

    def fail(self, why: str) -> None:
        """Nobody asks."""


class Spans(Protocol):
    """Makes spans; `kind`: server or client."""

    def open(self, name: str, traceparent: str, kind: str) -> AbstractContextManager[Span]:
        """A span from now to the end of the block, a child of `traceparent` (empty: of none)."""


class _Process:
    spans: Spans | None = None


def start(environ: Mapping[str, str] = os.environ) -> None:
    """Make spans in this process from now on, when the environment names an exporter. After a fork: exporters have a thread."""
    if not _wanted(environ) or _Process.spans is not None:
        return
    try:
        from aitbc.telemetry import spans
    except ImportError as exc:
        log.warning("OTEL_ variables name an exporter, and OpenTelemetry is not installed (pip install 'aitbc[otel]'): no spans: %s", exc)
        return
    _Process.spans = spans.OpenTelemetry(console=environ.get("OTEL_TRACES_EXPORTER") == "console")


def on() -> bool:
    """Whether this process makes spans."""
    return _Process.spans is not None


def span(name: str, traceparent: str, kind: str = "server") -> AbstractContextManager[Span]:
    """A span from now to the end of the block; without OpenTelemetry one that only hands `traceparent` on."""
    return _Process.spans.open(name, traceparent, kind) if _Process.spans else _Passed(traceparent)


def client_traceparent(sent: str | None) -> str:
    """The traceparent that a client sent when it has the form; else empty, as the standard says: never an error."""
    if sent is None:
        return ""
    if sent[:2] != "00":
        sent = sent[:55]  # a later version may have more behind it
    return sent if _FORM.fullmatch(sent) else ""


def _wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    named = environ.get("OTEL_TRACES_EXPORTER") in {"otlp", "console"}
    return named or any(environ.get(f"OTEL_EXPORTER_OTLP_{which}ENDPOINT") for which in ("", "TRACES_"))
