"""The alert rules and the scrape configuration of deploy/, by Prometheus's own tools: each alert fires when it should, none otherwise."""

import json
import re

import pytest
import yaml

from aitbc.telemetry.metrics import METRICS
from tests.harness.processes import ROOT
from tests.harness.prometheus import RULES, promtool

TWICE = ('instance="a"', 'instance="b"')
"""Two APIs tell the same figures: no alert may come twice, or add them up."""
CASES = {
    "AitbcDown": (
        {"up{job='aitbc'}": "0x60"},
        {"job": "aitbc", "instance": "a"},
        "a does not answer /metrics: the API or its Redis is away",
    ),
    "AitbcNoWorker": ({"aitbc_workers_polling": "0x60"}, {}, "No worker takes jobs"),
    "AitbcWorkersFull": (
        {"aitbc_workers_full": "1x60"},
        {},
        "Leases wait and no worker has room: more workers, or a higher AITBC_WORKER_CONCURRENCY",
    ),
    "AitbcNoSweep": ({"aitbc_sweep_lag_seconds": "60x60"}, {}, "Nobody has swept for 1m 0s: retries, delays and lost jobs stand still"),
    "AitbcTasksWait": (
        {"aitbc_queue_oldest_seconds{priority='low'}": "600x60", "aitbc_queue_paused{priority='low'}": "0x60"},
        {"priority": "low"},
        "The oldest low task has waited 10m 0s",
    ),
    "AitbcNoAgent": (
        {"aitbc_agents_active": "0x60", "aitbc_queue_tasks{priority='low'}": "3x60"},
        {},
        "Tasks wait and no agent may get work",
    ),
    "AitbcDeadLetters": ({"aitbc_tasks_ended_total{state='failed'}": "0x20 40x40"}, {}, "40 tasks failed for good in ten minutes"),
    "AitbcAttemptsFail": (
        {"aitbc_attempts_ended_total{result='bad'}": "0+30x60", "aitbc_attempts_ended_total{result='good'}": "0+70x60"},
        {},
        "More than a fifth of the attempts fail",
    ),
    "AitbcBreakersOpen": ({"aitbc_breakers{state='open'}": "2x60"}, {}, "2 agents fail again and again"),
    "AitbcAgentsAway": ({"aitbc_agents{status='inactive'}": "2x60"}, {"status": "inactive"}, "2 agents are inactive"),
    "AitbcRedisMemory": ({"aitbc_redis_memory_share": "0.75x60"}, {}, "Redis's memory is 75% full; from 80 % on submits are refused"),
}
WELL = {
    "up{job='aitbc'}": "1x60",
    "aitbc_workers_polling": "2x60",
    "aitbc_workers_full": "0x60",
    "aitbc_sweep_lag_seconds": "1x60",
    "aitbc_queue_oldest_seconds{priority='low'}": "600x60",
    "aitbc_queue_paused{priority='low'}": "1x60",
    "aitbc_queue_tasks{priority='low'}": "3x60",
    "aitbc_agents_active": "2x60",
    "aitbc_tasks_ended_total{state='failed'}": "5x60",
    "aitbc_attempts_ended_total{result='bad'}": "0+9x60",
    "aitbc_attempts_ended_total{result='good'}": "0+91x60",
    "aitbc_breakers{state='open'}": "0x60",
    "aitbc_agents{status='inactive'}": "0x60",
    "aitbc_redis_memory_share": "0.5x60",
}


def alerts():
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def of(instance, series):
    name, _, labels = series.partition("{")
    return f"{name}{{{', '.join(filter(None, (instance, labels.rstrip('}').replace(chr(39), chr(34)))))}}}"


def unit_test(values, *expected):
    """15 minutes of these series, told by two APIs. `expected`: alert, labels and summary, or the alert alone when it must be silent."""
    one = {name for name in values if name.startswith("up")}
    series = [{"series": of(i, name), "values": v} for name, v in values.items() for i in (TWICE[:1] if name in one else TWICE)]
    checks = []
    for alert, *rest in expected:
        firing = [{"exp_labels": {**rest[0], "severity": rest[1]}, "exp_annotations": {"summary": rest[2]}}] if rest else []
        checks.append({"eval_time": "14m", "alertname": alert, "exp_alerts": firing})
    return {"interval": "15s", "input_series": series, "alert_rule_test": checks}


def test_configuration():
    promtool("check", "config", "--syntax-only", str(ROOT / "deploy" / "prometheus.yml"))


def test_each_alert_fires_when_it_should_and_only_then(tmp_path):
    rules = alerts()
    assert set(rules) == set(CASES)
    tests = [unit_test(values, (name, labels, rules[name]["labels"]["severity"], text)) for name, (values, labels, text) in CASES.items()]
    tests.append(unit_test(WELL, *[(name,) for name in rules]))
    file = tmp_path / "rules.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": tests}))
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("file", ["prometheus-rules.yml", "grafana/aitbc.json"])
def test_rules_and_dashboard_name_only_what_there_is(file):
    """Every name of a metric, its histogram's and summary's parts included; and the labels that a query groups by are its own."""
    text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
    parts = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
    known = {m.name + part for m in METRICS for part in parts.get(m.kind, ("",))}
    named = set(re.findall(r"\baitbc_\w+", text))
    assert named
    assert named <= known


def test_the_dashboard_can_be_imported():
    """What Grafana asks of a file: panels on its grid that do not overlap, a data source that whoever imports it chooses."""
    board = json.loads((ROOT / "deploy" / "grafana" / "aitbc.json").read_text(encoding="utf-8"))
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]}
    assert len(places) == len({p["id"] for p in board["panels"]}) == len(board["panels"])
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in board["panels"])
    (source,) = board["templating"]["list"]
    assert source["type"] == "datasource"
    assert {t["datasource"]["uid"] for p in board["panels"] for t in p["targets"]} == {f"${{{source['name']}}}"}
