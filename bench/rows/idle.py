"""Idle latency: from the first byte of a submit to the agent's receipt of the whole POST; one submit every 20 to 40 ms."""

import http.client
import json
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median

from bench.apis import BODY, hand_live, ours_live
from bench.lab import Lab
from bench.servers import AgentServer, Gunicorn, Redis, ask
from bench.table import Bar, Plot, Ratios, Result, Table
from tests.harness.processes import wait_for

SUBMITS, WARM = 250, 50
Live = Callable[[Lab, AgentServer], AbstractContextManager[tuple[Redis, Gunicorn]]]


def run(lab: Lab) -> Result:
    """p50 and p99 of ours and of the hand-written one."""
    found: dict[str, list[tuple[float, float]]] = {"aitbc": [], "Flask + Celery, hand-written": []}
    for _ in range(lab.rounds):
        for values, live in zip(found.values(), (ours_live, hand_live), strict=True):
            values.append(_latency(lab, live))
    ours, hand = found.values()
    halves = [Ratios(a[k] / b[k] for a, b in zip(ours, hand, strict=True)) for k in (0, 1)]
    rows = [(name, *(f"{median(value[k] for value in values):.2f}" for k in (0, 1))) for name, values in found.items()]
    table = Table("Idle latency", ("submit to receipt, ms", "p50", "p99"), [*rows, ("ratio", *map(str, halves))])
    bars = [Bar.most("idle: submit to the agent's receipt ÷ hand-written, p50", 1.1, halves[0])]
    bars.append(Bar.most("idle: the same, p99", 0.8, halves[1]))
    series = {name: [[value[k] for value in values] for k in (0, 1)] for name, values in found.items()}
    return Result([table], bars, [Plot("idle", "Idle latency", ("p50", "p99"), series, "ms", bars=True)])


def _latency(lab: Lab, live: Live) -> tuple[float, float]:
    with AgentServer(lab.folder, "--record") as server, live(lab, server) as (_, gunicorn):
        sent: dict[str, float] = {}
        ask(gunicorn.port, "POST", "/tasks/submit", json.loads(BODY))
        wait_for(lambda: server.counts()["posts"], 60, "the first receipt")
        link = http.client.HTTPConnection("127.0.0.1", gunicorn.port, timeout=30)
        for _ in range(SUBMITS):
            at = time.monotonic()
            sent[_send(link)] = at
            time.sleep(random.uniform(0.02, 0.04))
        wait_for(lambda: server.counts()["posts"] > SUBMITS, 30, "every receipt")
        received = {body["task_id"]: at for at, body in server.counts()["received"]}
        link.close()
    delays = sorted(1000 * (received[task_id] - at) for task_id, at in list(sent.items())[WARM:])
    return median(delays), delays[int(0.99 * len(delays))]


def _send(link: http.client.HTTPConnection) -> str:
    link.request("POST", "/tasks/submit", BODY, {"Content-Type": "application/json"})
    return str(json.loads(link.getresponse().read())["task_id"])
