"""Spans by OpenTelemetry's SDK: the only module that imports it (`aitbc[otel]`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_FORM = TraceContextTextMapPropagator()


class Span:
    """A span of the SDK, as `tracing.Span` has it."""

    def __init__(self, own: trace.Span) -> None:
        """`own` is being recorded."""
        self._own = own
        carrier: dict[str, str] = {}
        _FORM.inject(carrier, trace.set_span_in_context(own))
        self.traceparent = carrier.get("traceparent", "")

    def note(self, **facts: str | int) -> None:
        """Add attributes."""
        for name, value in facts.items():
            self._own.set_attribute(f"aitbc.{name}", value)

    def fail(self, why: str) -> None:
        """Its status is an error."""
        self._own.set_status(StatusCode.ERROR, why)


class OpenTelemetry:
    """A tracer of this process; what is left to send is sent when it ends. Other settings are the OTEL_ variables of the SDK."""

    def __init__(self, *, console: bool) -> None:
        """`console`: spans go to stdout."""
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "aitbc"}
        self._own = TracerProvider(resource=Resource.create(named))
        self._own.add_span_processor(BatchSpanProcessor(_exporter(console=console)))
        self._tracer = self._own.get_tracer("aitbc")

    @contextmanager
    def open(self, name: str, traceparent: str, kind: str) -> Iterator[Span]:
        """See `tracing.span`."""
        parent = _FORM.extract({"traceparent": traceparent}) if traceparent else None
        with self._tracer.start_as_current_span(name, parent, KINDS[kind]) as own:
            yield Span(own)


def _exporter(*, console: bool) -> SpanExporter:
    if console:
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
