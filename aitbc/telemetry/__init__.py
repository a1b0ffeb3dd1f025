"""What the coordinator tells of itself.

logs.py       its log lines; `once.py`: one line an outage
metrics.py    what GET /metrics shows; `histogram.py`: what a worker counts of it
tracing.py    trace context; `spans.py`: spans, with OpenTelemetry
steps.py      where tests stop it
"""
