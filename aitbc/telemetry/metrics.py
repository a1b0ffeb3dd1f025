"""What /metrics shows: every name once. docs/metrics.md is generated from this table; whoever fills it is aitbc/ledger/metrics.py."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

from aitbc.telemetry.histogram import BOUNDS

MOST_AGENTS = 200
"""Agents that have series of their own: the first by id, so that the same ones are shown at every scrape."""


class Metric(NamedTuple):
    """`kind`: counter, gauge, summary or histogram, as Prometheus means them."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("aitbc_tasks_submitted_total", "counter", (), "Tasks accepted."),
    Metric("aitbc_tasks_ended_total", "counter", ("state",), "Tasks that reached completed, failed or cancelled."),
    Metric("aitbc_tasks_retried_total", "counter", (), "Tasks reopened by hand."),
    Metric("aitbc_tasks", "gauge", ("state",), "Tasks that are in this state now; ended ones as long as they are kept."),
    Metric("aitbc_tasks_kept_bytes", "gauge", (), "Bytes that ended tasks take in Redis, about (AITBC_KEEP_BYTES)."),
    Metric("aitbc_queue_tasks", "gauge", ("priority",), "Tasks queued or waiting."),
    Metric("aitbc_queue_oldest_seconds", "gauge", ("priority",), "Since when the oldest of them has been runnable; 0 when there is none."),
    Metric("aitbc_queue_paused", "gauge", ("priority",), "1 while grants from this queue are paused."),
    Metric("aitbc_grants_total", "counter", ("end",), "Leases granted: begun by a worker, or returned unbegun."),
    Metric("aitbc_leases", "gauge", ("stage",), "Live leases: granted (no worker has begun it), call (a worker calls), accepted (202)."),
    Metric("aitbc_lease_seconds", "histogram", ("kind",), "How long an ended lease lived, from its begin: call, or accepted (202)."),
    Metric("aitbc_attempts_ended_total", "counter", ("result",), "Attempts that ended good or bad."),
    Metric("aitbc_distribution_seconds", "summary", (), "From runnable to begun."),
    Metric(
        "aitbc_dispatch_seconds",
        "histogram",
        ("outcome",),
        "The call to the agent: completed, final (failed for good), counted (failed, may be tried again), unstarted (the work never began),"
        " stopped, accepted (202), cancelled.",
    ),
    Metric("aitbc_agents", "gauge", ("status",), "Registered agents."),
    Metric("aitbc_agents_active", "gauge", (), "Agents that may get work: active, breaker not open, heartbeat in time."),
    Metric("aitbc_breakers", "gauge", ("state",), "Agents whose breaker is closed, open or half_open."),
    Metric("aitbc_workers", "gauge", (), "Workers that live."),
    Metric("aitbc_workers_polling", "gauge", (), "Workers that take jobs."),
    Metric("aitbc_workers_room", "gauge", (), "Calls that they have room for, at their last signs of life (every 2 s)."),
    Metric("aitbc_workers_full", "gauge", (), "1 while leases wait and no worker has room."),
    Metric("aitbc_sweep_lag_seconds", "gauge", (), "Since the last sweep began; about 1 while workers live."),
    Metric("aitbc_signatures", "gauge", (), "Different requirements in use (AITBC_MAX_SIGNATURES)."),
    Metric("aitbc_strategy", "gauge", ("strategy",), "1: the strategy that decides."),
    Metric("aitbc_redis_memory_share", "gauge", (), "Share of Redis's memory in use; from 0.8 on submits are refused."),
    Metric("aitbc_agents_shown", "gauge", (), f"Agents with series of their own below: at most {MOST_AGENTS}, the first by id."),
    Metric("aitbc_agent_active", "gauge", ("agent",), "Its live leases."),
    Metric("aitbc_agent_slots", "gauge", ("agent",), "Its max_concurrency."),
    Metric("aitbc_agent_health", "gauge", ("agent",), "Its health score, 0 to 1."),
    Metric("aitbc_agent_takes_work", "gauge", ("agent",), "1 when it may get work."),
    Metric("aitbc_agent_breaker", "gauge", ("agent",), "0 closed, 0.5 half open, 1 open."),
)
HISTOGRAMS = {"dispatch": "aitbc_dispatch_seconds", "lease": "aitbc_lease_seconds"}
"""What workers count (`telemetry.histogram`), and as what it is shown."""

Labels = tuple[str, ...]


@dataclass(slots=True)
class Found:
    """Values by name and label. `histograms`: counts of each bucket, one more than BOUNDS, and the sum in seconds."""

    values: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, tuple[list[int], float]]] = field(default_factory=dict)

    def put(self, name: str, value: float, *labels: str) -> None:
        """One value. A summary has two: `{name}_count` and `{name}_sum`."""
        self.values.setdefault(name, {})[labels] = value

    def put_all(self, name: str, labels: Sequence[str], values: Sequence[float]) -> None:
        """A value for each label."""
        for label, value in zip(labels, values, strict=True):
            self.put(name, float(value), label)


def render(found: Found, accept: str) -> tuple[bytes, str]:
    """The page and its content type, in the form that the scraper's Accept header asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(cast("CollectorRegistry", _Page(found))), content_type


class _Page:
    """What prometheus_client calls a registry: here it lives for one scrape."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def collect(self) -> Iterator[Family]:
        return (_family(metric, self._found) for metric in METRICS)


def _family(metric: Metric, found: Found) -> Family:
    name, kind, labels, meaning = metric
    values = found.values.get(name, {})
    if kind == "histogram":
        return _histogram(metric, found.histograms.get(name, {}))
    if kind == "summary":
        (count,), (total,) = found.values[f"{name}_count"].values(), found.values[f"{name}_sum"].values()
        return SummaryMetricFamily(name, meaning, count_value=int(count), sum_value=total)
    family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, meaning, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _histogram(metric: Metric, series: Mapping[Labels, tuple[list[int], float]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for label, (counts, total) in series.items():
        below, buckets = 0, []
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        family.add_metric(label, buckets, sum_value=total)
    return family
