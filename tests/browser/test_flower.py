"""Flower as people use it: its row of a task is the task, under the task's own id, with true state and runtime; seen in a real browser."""

import base64
import json
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from aitbc.cli import commands
from aitbc.settings import Settings
from tests.harness.agents import Agents, accept, status
from tests.harness.cluster import Cluster
from tests.harness.processes import Process, environment, free_port, wait_for
from tests.integration.system.test_answers import call_back
from tests.integration.system.test_worker_life import celery

SCREENSHOT = Path(os.environ.get("AITBC_SCREENSHOTS", "/tmp")) / "flower.png"
CHROMIUM = "/usr/bin/chromium"
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]


def flower(cluster: Cluster) -> tuple[str, Process]:
    settings = Settings(redis_url=cluster.redis_url, flower_port=free_port())
    env = environment(REDIS_URL=cluster.redis_url, **commands.flower_environment(settings), FLOWER_BASIC_AUTH="me:secret")
    process = Process("flower", commands.flower(settings), cluster.directory, env)
    cluster.processes.append(process)
    process.start()
    url = f"http://127.0.0.1:{settings.flower_port}"
    wait_for(lambda: urllib.request.urlopen(f"{url}/healthcheck", timeout=2).status == 200, 20, "Flower")
    return url, process


def rows(url: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{url}/api/tasks", headers={"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()})
    with urllib.request.urlopen(request, timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.browser
def test_rows_are_tasks(cluster: Cluster, agents: Agents) -> None:
    api, _ = cluster.api(), cluster.worker()
    url, _ = flower(cluster)
    assert "enabled" in celery(cluster, "control", "enable_events")  # as Flower does itself, every 5 s
    slow = agents.start("slow", delay=0.4)
    later, broken = agents.start("later", accept), agents.start("broken", status(424, {"error": "no model"}))
    api.register("slow", slow.url, max_concurrency=1, capabilities=["slow"])
    api.register("later", later.url, capabilities=["later"])
    api.register("broken", broken.url, capabilities=["broken"])

    # Two for one slot: the second waits, and is run directly after the first, without a job of its own.
    first, second = (api.submit(task_id=f"slow-{n}", priority="high", requirements={"capabilities": ["slow"]}) for n in (1, 2))
    failed = api.submit(task_id="broken-1", priority="urgent", requirements={"capabilities": ["broken"]})
    waiting = api.submit(task_id="nobody-1", priority="low", requirements={"capabilities": ["nobody-has-this"]})
    callback = api.submit(task_id="later-1", requirements={"capabilities": ["later"]})
    wait_for(lambda: later.received, 5)
    wait_for(lambda: rows(url).get(callback, {}).get("state") == "STARTED", 5, "a 202 to show as STARTED")
    told = later.received[0]["callback"]
    assert call_back(told["complete"], told["token"], {"result": 1})[0] == 200
    api.ended([first, second, failed, callback])

    expected = {first: "SUCCESS", second: "SUCCESS", failed: "FAILURE", waiting: "RECEIVED", callback: "SUCCESS"}
    wait_for(lambda: {t: rows(url).get(t, {}).get("state") for t in expected} == expected, 10, f"{expected}, not {rows(url)}")
    found = rows(url)
    assert set(found) == set(expected)
    assert all(0.38 < found[t]["runtime"] < 0.8 for t in (first, second))
    assert "slow" in found[second]["result"]
    assert {row["worker"] for row in found.values()} == {"worker@test"}
    assert found[callback]["runtime"] > 0
    assert "no model" in found[failed]["exception"]
    assert "urgent" in found[failed]["kwargs"]
    _look(url, expected)


def _look(url: str, expected: dict[str, str]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(http_credentials={"username": "me", "password": "secret"}, viewport={"width": 1400, "height": 620})
        page.goto(f"{url}/tasks")
        page.get_by_text("later-1").first.wait_for()
        shown = "\n".join(page.locator("tbody tr").all_inner_texts())
        page.screenshot(path=SCREENSHOT)
        browser.close()
    for task_id, state in expected.items():
        assert re.search(rf"{task_id}\b.*{state}", shown), shown
