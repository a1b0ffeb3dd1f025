"""A real Prometheus scrapes a real fleet: every panel of the dashboard has figures, an alert fires, counters outlive the processes."""

import json

import pytest

from tests.harness.agents import accept, status
from tests.harness.processes import ROOT, wait_for
from tests.harness.prometheus import Prometheus

DASHBOARD = ROOT / "deploy" / "grafana" / "aitbc.json"


@pytest.fixture
def queries():
    """Every query of the dashboard, with its panel's title."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


def empty(prometheus, queries):
    return [title for title, query in queries if not prometheus.query(query.replace("$__rate_interval", "1m"))]


def some_work(api, requirements="good", tasks=5):
    return api.ended([api.submit(requirements={"capabilities": [requirements]}) for _ in range(tasks)])


def test_scraped_by_prometheus(cluster, agents, tmp_path, queries):
    """Two processes of the API, one worker; agents that succeed, fail for good, and answer 202."""
    api = cluster.api(AITBC_API_WORKERS="2")
    worker = cluster.worker()
    for name, answer in {"good": None, "bad": status(400), "later": accept}.items():
        agent = agents.start(name, answer) if answer else agents.start(name)
        api.register(name, agent.url, capabilities=[name])
    prometheus = Prometheus(tmp_path, api.port)
    try:
        some_work(api)
        later = agents.all[2]
        held = api.submit(requirements={"capabilities": ["later"]})
        wait_for(lambda: later.received, 10, "the 202 agent to be called")
        callback = later.received[0]["callback"]
        api.ok("POST", f"/tasks/{held}/complete", {"result": {}}, Authorization=f"Bearer {callback['token']}")
        wait_for(lambda: prometheus.query('aitbc_dispatch_seconds_count{outcome="completed"} == 5'), 10, "the worker's first report")
        assert prometheus.firing() == set()

        # A task fails for good: its alert has no `for`, so it fires at the next evaluation.
        assert {task["state"] for task in some_work(api, "bad", 2).values()} == {"failed"}
        some_work(api)
        wait_for(lambda: prometheus.firing() == {"AitbcDeadLetters"}, 10, "the alert")
        wait_for(lambda: not empty(prometheus, queries), 10, "every panel's figures")
        assert prometheus.query('max(aitbc_tasks_ended_total{state="completed"})') == [11]
        wait_for(lambda: prometheus.query('aitbc_lease_seconds_count{kind="accepted"} == 1'), 10, "the lease of the 202")

        # Counters hold over the end of the worker and of the API; what a worker counted last it reports as it leaves.
        some_work(api, tasks=3)
        assert worker.stop() == 0
        api.process.stop()
        again = cluster.api("again", port=api.port)
        again.ok("GET", "/health")
        wait_for(lambda: prometheus.query('aitbc_dispatch_seconds_count{outcome="completed"} == 13'), 10, "the counters of before")
        assert prometheus.query("max(resets(aitbc_tasks_submitted_total[5m]))") == [0]
        wait_for(lambda: prometheus.query("max(aitbc_workers_polling) == 0"), 10, "the worker to be missed")
    finally:
        prometheus.close()
