"""The Grafana dashboard as a table: deploy/grafana/aitbc.json is generated from it (`make docs`)."""

import json
from typing import Any, NamedTuple

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 3, 8, 7
"""Grafana's grid is 24 wide."""


class Panel(NamedTuple):
    """`queries`: PromQL and the legend of its series. All APIs tell the same figures: a query takes the highest."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def _rate(name: str, label: str) -> str:
    return f"max by ({label}) (rate({name}[$__rate_interval]))"


def _quantile(q: float, name: str, label: str) -> str:
    return f"histogram_quantile({q}, max by (le, {label}) (rate({name}_bucket[$__rate_interval])))"


PANELS = (
    Panel("Workers that take jobs", "none", (("max(aitbc_workers_polling)", ""),), "stat"),
    Panel("Agents that may get work", "none", (("max(aitbc_agents_active)", ""),), "stat"),
    Panel("Oldest waiting task", "s", (("max(aitbc_queue_oldest_seconds)", ""),), "stat"),
    Panel("Waiting, by priority", "none", (("max by (priority) (aitbc_queue_tasks)", "{{priority}}"),)),
    Panel("Age of the oldest waiting", "s", (("max by (priority) (aitbc_queue_oldest_seconds)", "{{priority}}"),)),
    Panel(
        "Tasks a second",
        "ops",
        (
            ("max(rate(aitbc_tasks_submitted_total[$__rate_interval]))", "submitted"),
            (_rate("aitbc_tasks_ended_total", "state"), "{{state}}"),
        ),
    ),
    Panel("Grants a second", "ops", ((_rate("aitbc_grants_total", "end"), "{{end}}"),)),
    Panel(
        "From runnable to begun, mean",
        "s",
        (
            (
                "max(rate(aitbc_distribution_seconds_sum[$__rate_interval]) / rate(aitbc_distribution_seconds_count[$__rate_interval]))",
                "mean",
            ),
        ),
    ),
    Panel("Attempts a second", "ops", ((_rate("aitbc_attempts_ended_total", "result"), "{{result}}"),)),
    Panel("Calls a second, by outcome", "ops", ((_rate("aitbc_dispatch_seconds_count", "outcome"), "{{outcome}}"),)),
    Panel(
        "Time of calls",
        "s",
        tuple((_quantile(q, "aitbc_dispatch_seconds", "outcome"), f"p{round(100 * q)} {{{{outcome}}}}") for q in (0.5, 0.99)),
    ),
    Panel("Lease time, p99", "s", ((_quantile(0.99, "aitbc_lease_seconds", "kind"), "{{kind}}"),)),
    Panel("Live leases", "none", (("max by (stage) (aitbc_leases)", "{{stage}}"),)),
    Panel("Room of the workers", "none", (("max(aitbc_workers_room)", "room"), ("max(aitbc_workers_full)", "full"))),
    Panel("Agents, by status", "none", (("max by (status) (aitbc_agents)", "{{status}}"),)),
    Panel("Breakers", "none", (("max by (state) (aitbc_breakers)", "{{state}}"),)),
    Panel("Sweep lag", "s", (("max(aitbc_sweep_lag_seconds)", "lag"),)),
    Panel(
        "Redis's memory",
        "percentunit",
        (("max(aitbc_redis_memory_share)", "memory"),),
    ),
    Panel(
        "Busiest agents: leases ÷ slots",
        "percentunit",
        (("topk(10, max by (agent) (aitbc_agent_active / aitbc_agent_slots))", "{{agent}}"),),
    ),
    Panel("Least healthy agents", "percentunit", (("bottomk(10, max by (agent) (aitbc_agent_health))", "{{agent}}"),)),
    Panel("Tasks kept, by state", "none", (("max by (state) (aitbc_tasks)", "{{state}}"),)),
)


def dashboard() -> str:
    """The file that Grafana imports."""
    choice = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    board = {
        "title": "aitbc",
        "uid": "aitbc",
        "tags": ["aitbc"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [choice]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(board, indent=1, ensure_ascii=False) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    targets = [
        {"refId": chr(ord("A") + n), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        for n, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
