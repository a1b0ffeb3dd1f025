"""/metrics: every name of the table, true figures, bounded, and as dear with many agents as with few."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aitbc.ledger import leases, metrics, workers
from aitbc.ledger.step import text
from aitbc.model.lease import token_hash
from aitbc.model.outcome import Outcome, Verdict
from aitbc.telemetry.histogram import Histogram
from aitbc.telemetry.metrics import METRICS

W = "w@m:0123456789abcdef"


@pytest.fixture
def scrape(client):
    """Every sample of the page: name and label values → value."""

    def do():
        answer = client.get("/metrics")
        assert (answer.status_code, answer.content_type.partition(";")[0]) == (200, "text/plain")
        families = list(text_string_to_metric_families(answer.text))
        samples = [sample for family in families for sample in family.samples]
        return {(s.name, *(s.labels[name] for name in sorted(s.labels, key="le".__eq__))): s.value for s in samples}

    return do


def test_every_name_of_the_table_and_no_other(client, ledger, register, submit):
    register()
    submit()
    ledger.run(workers.alive(W, first=True, totals={"dispatch:completed:0": 1, "dispatch:completed:us": 7, "lease:call:0": 1}))
    shown = text_string_to_metric_families(client.get("/metrics").text)
    named = {family.name + "_total" * (family.type == "counter"): family for family in shown}
    assert {name: (f.type, f.documentation) for name, f in named.items()} == {m.name: (m.kind, m.meaning) for m in METRICS}
    for metric in METRICS:
        labels = {tuple(set(sample.labels) - {"le"}) for sample in named[metric.name].samples}
        assert labels == {metric.labels}, metric.name


def test_the_form_that_the_scraper_asks_for(client):
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_a_tasks_life(scrape, ledger, register, submit, begin, kill):
    register(max_concurrency=2)
    first, second = submit(priority="high"), submit()
    before = scrape()
    assert [before["aitbc_queue_tasks", p] for p in ("urgent", "high", "normal")] == [0, 1, 1]
    assert before["aitbc_queue_oldest_seconds", "high"] > before["aitbc_queue_oldest_seconds", "normal"] > 0
    assert before["aitbc_queue_oldest_seconds", "urgent"] == 0
    attempt, token = begin(first, accepted=False)
    begin(second)
    now = scrape()
    assert [now["aitbc_leases", stage] for stage in ("granted", "call", "accepted")] == [0, 1, 1]
    assert (now["aitbc_agent_active", "a1"], now["aitbc_agent_slots", "a1"]) == (2, 2)
    ledger.run(leases.finish(attempt.lease_id, token_hash(token), Outcome(Verdict.COMPLETED), worker="w@contract:0123456789abcdef"))
    third = submit()
    kill(third)
    end = scrape()
    assert [end["aitbc_tasks_ended_total", s] for s in ("completed", "failed", "cancelled")] == [1, 1, 0]
    assert end["aitbc_tasks_submitted_total",] == 3
    assert (end["aitbc_grants_total", "begun"], end["aitbc_distribution_seconds_count",]) == (3, 3)
    assert (end["aitbc_attempts_ended_total", "good"], end["aitbc_attempts_ended_total", "bad"]) == (1, 1)
    assert end["aitbc_lease_seconds_count", "accepted"] == 1  # the 202 that `kill` ended by callback
    assert 0 < end["aitbc_lease_seconds_sum", "accepted"] < 5
    assert [end["aitbc_leases", stage] for stage in ("granted", "call", "accepted")] == [0, 0, 1]


def test_granted_leases_that_go_back_are_counted(scrape, client, register, submit):
    submit("t1")
    register()  # grants it
    assert scrape()["aitbc_leases", "granted"] == 1
    client.post("/tasks/t1/cancel")
    assert scrape()["aitbc_grants_total", "returned"] == 1


def test_workers_without_room(scrape, ledger, register, submit):
    ledger.run(workers.alive(W, first=True, room=0))
    assert scrape()["aitbc_workers_full",] == 0  # nothing waits
    submit()
    register()
    found = scrape()
    assert (found["aitbc_workers_full",], found["aitbc_workers_room",], found["aitbc_workers_polling",]) == (1, 0, 1)
    ledger.run(workers.alive(W, room=3))
    found = scrape()
    assert (found["aitbc_workers_full",], found["aitbc_workers_room",]) == (0, 3)


def test_a_report_that_is_repeated_adds_nothing_and_a_worker_that_leaves_takes_nothing_away(scrape, ledger):
    times = Histogram("dispatch")
    for seconds in (0.001, 0.02, 400, 4000):
        times.observe("completed", seconds)
    ledger.run(workers.alive(W, first=True))
    for _ in range(3):
        ledger.run(workers.alive(W, totals=times.totals()))
    times.observe("completed", 0.02)
    ledger.run(workers.alive(W, totals=times.totals()))
    ledger.run(workers.leave(W))
    other = Histogram("dispatch")
    other.observe("completed", 0.02)
    ledger.run(workers.alive(W[:-1] + "e", first=True, totals=other.totals()))
    found = scrape()
    by_bound = [found["aitbc_dispatch_seconds_bucket", "completed", le] for le in ("0.005", "0.025", "300.0", "1800.0", "+Inf")]
    assert by_bound == [1, 4, 4, 5, 6]
    assert found["aitbc_dispatch_seconds_count", "completed"] == 6
    assert found["aitbc_dispatch_seconds_sum", "completed"] == pytest.approx(4400.061)
    assert not [key for key in ledger.redis.keys("workers:told:*") if text(key).endswith(W)]


def test_agents_beyond_two_hundred_have_no_series_and_cost_nothing(scrape, ledger, register):
    """Commands that a scrape makes: as many with 500 agents as with 200."""

    def commands():
        ledger.redis.config_resetstat()
        ledger.run(metrics.read())
        counted = ledger.redis.info("commandstats")
        return sum(figures["calls"] for name, figures in counted.items() if "client" not in name)  # those of a new connection

    for n in range(200):
        register(f"a{n:03d}")
    scrape()  # the script is known from now on
    few = commands()
    for n in range(200, 500):
        register(f"a{n:03d}", capabilities=[f"c{n}"])
    assert commands() == few
    found = scrape()
    shown = {key[1] for key in found if key[0] == "aitbc_agent_active"}
    assert shown == {f"a{n:03d}" for n in range(200)}
    assert (found["aitbc_agents_shown",], found["aitbc_agents", "active"], found["aitbc_breakers", "closed"]) == (200, 500, 500)


def test_a_field_of_another_version_is_left_out(scrape, ledger):
    ledger.run(workers.alive(W, first=True, totals={"cooking:done:1": 3, "dispatch:completed:77": 3, "dispatch:completed:0": 1}))
    assert scrape()["aitbc_dispatch_seconds_count", "completed"] == 1


def test_paused_queues_and_the_strategy(scrape, client):
    client.post("/tasks/queues/low/pause")
    client.put("/load-balancer/strategy?strategy=round_robin")
    found = scrape()
    assert [found["aitbc_queue_paused", p] for p in ("normal", "low")] == [0, 1]
    assert ("aitbc_strategy", "round_robin") in found or ("aitbc_strategy", "least_connections") in found


def test_the_step_answers_on_an_empty_ledger(ledger):
    assert ledger.run(metrics.read()).values["aitbc_agents_shown"] == {(): 0}
