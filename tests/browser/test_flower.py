"""Flower as people use it: under /flower of the nginx example, seen in a real browser. Its row of a task is the task, under the task's own
id, with true state, priority, agent, attempt, runtime and why it failed; it only shows, and it has its rows again after a kill.
"""

import base64
import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from aitbc.cli import commands
from aitbc.settings import Settings
from tests.harness.agents import Agents, accept, status
from tests.harness.cluster import Cluster
from tests.harness.nginx import PASSWORD, Nginx
from tests.harness.processes import Process, environment, free_port, wait_for
from tests.integration.system.test_answers import call_back
from tests.integration.system.test_worker_life import celery

SCREENSHOT = Path(os.environ.get("AITBC_SCREENSHOTS", "/tmp")) / "flower.png"
CHROMIUM = "/usr/bin/chromium"
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
HEADER = ["UUID", "STATE", "KWARGS", "RUNTIME", "RESULT", "EXCEPTION", "WORKER", "RECEIVED"]


class Flower:
    """`aitbc flower` behind nginx."""

    def __init__(self, cluster: Cluster, api_port: int) -> None:
        self.settings = Settings(redis_url=cluster.redis_url, flower_port=free_port(), var=str(cluster.directory / "var"))
        self.cluster, self.nginx = cluster, Nginx(cluster.directory, api_port, self.settings.flower_port)
        self.process: Process

    def start(self, **env: str) -> None:
        given = {"FLOWER_URL_PREFIX": "flower", "FLOWER_STATE_SAVE_INTERVAL": "200", **env}
        ours = commands.flower_environment(self.settings, given)
        env = environment(REDIS_URL=self.cluster.redis_url, **ours, **given)
        self.process = Process("flower", commands.flower(self.settings), self.cluster.directory, env)
        self.cluster.processes.append(self.process)
        self.process.start()
        wait_for(lambda: self.ask("healthcheck")[0] == 200, 20, "Flower")

    def ask(self, path: str, method: str = "GET", authorization: str = PASSWORD) -> tuple[int, Any]:
        return self.nginx.call(method, f"/flower/{path}", **({"Authorization": authorization} if authorization else {}))[:2]

    def rows(self) -> dict[str, Any]:
        """What the page of tasks asks for."""
        query = {"draw": 1, "start": 0, "length": 100, "order[0][column]": 0}
        answer, found = self.ask(f"tasks/datatable?{urllib.parse.urlencode(query)}")
        assert answer == 200, found
        return {row["uuid"]: row for row in found["data"]}

    def states(self) -> dict[str, str]:
        return {task_id: row["state"] for task_id, row in self.rows().items()}


@pytest.fixture
def flower(cluster: Cluster) -> Iterator[Flower]:
    flower = Flower(cluster, cluster.api().port)
    yield flower
    flower.nginx.close()


@pytest.mark.browser
def test_rows_are_tasks(flower: Flower, cluster: Cluster, agents: Agents) -> None:
    api = cluster.api("api-2")
    worker = cluster.worker()
    flower.start()
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
    callbacks = [api.submit(task_id=f"later-{n}", requirements={"capabilities": ["later"]}) for n in (1, 2)]
    wait_for(lambda: len(later.received) == 2, 5)
    wait_for(lambda: [flower.states().get(task_id) for task_id in callbacks] == ["STARTED"] * 2, 5, "a 202 to show as STARTED")
    for body in later.received:
        told, end = body["callback"], {"complete": {"result": 1}, "fail": {"error": "out of memory"}}
        kind = "complete" if body["task_id"] == callbacks[0] else "fail"
        assert call_back(told[kind], told["token"], end[kind])[0] == 200
    api.ended([first, second, failed, *callbacks])

    expected = {first: "SUCCESS", second: "SUCCESS", failed: "FAILURE", waiting: "RECEIVED"}
    expected |= {callbacks[0]: "SUCCESS", callbacks[1]: "FAILURE"}
    wait_for(lambda: flower.states() == expected, 10, f"{expected}, not {flower.states()}")
    found = flower.rows()
    assert {row["worker"] for row in found.values()} == {"worker@test"}
    assert all(0.38 < found[t]["runtime"] < 0.8 for t in (first, second))
    assert found[callbacks[0]]["runtime"] > 0
    shown = {
        first: ("high", "completed by slow, attempt 1"),
        second: ("high", "completed by slow, attempt 1"),
        failed: ("urgent", "agent_failed by broken, attempt 1: no model"),
        waiting: ("low", ""),
        callbacks[0]: ("normal", "completed by later, attempt 1, by callback"),
        callbacks[1]: ("normal", "agent_failed by later, attempt 1, by callback: out of memory"),
    }
    for task_id, (priority, words) in shown.items():
        assert f"'priority': '{priority}'" in found[task_id]["kwargs"]
        assert words in f"{found[task_id]['result']} {found[task_id]['exception']}", found[task_id]
    _closed(flower)
    _look(flower, expected, shown)

    rows = cluster.directory / "var/flower"
    assert (rows.stat().st_mode & 0o777, rows.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    saved = max(path.stat().st_mtime_ns for path in rows.iterdir())
    wait_for(lambda: min(path.stat().st_mtime_ns for path in rows.iterdir()) > saved, 5, "the rows on disk")
    flower.process.kill()
    flower.start(FLOWER_BASIC_AUTH="me:secret")
    assert flower.states() == expected
    assert flower.rows()[failed] == found[failed]
    _read_only(flower)
    assert worker.alive


def _closed(flower: Flower) -> None:
    """Without nginx's password nothing; with it the pages, but not Flower's API, which nobody has given a password."""
    assert [flower.ask(path, authorization="")[0] for path in ("", "tasks", "api/tasks", "metrics", "healthcheck")] == [401] * 5
    status, text = flower.ask("api/tasks")
    assert (status, "FLOWER_UNAUTHENTICATED_API" in text) == (401, True)
    assert flower.ask("api/worker/shutdown/worker@test", "POST")[0] == 401


def _read_only(flower: Flower) -> None:
    """With a password of its own Flower's API shows, and does nothing."""
    assert flower.ask("api/tasks", authorization="Basic " + base64.b64encode(b"me:wrong").decode())[0] == 401
    assert set(flower.ask("api/tasks")[1]) == set(flower.states())
    for path in ("worker/shutdown/worker@test", "task/revoke/slow-1?terminate=true", "task/send-task/aitbc.route"):
        assert flower.ask(f"api/{path}", "POST")[0] == 403, path


def _look(flower: Flower, expected: dict[str, str], shown: dict[str, tuple[str, str]]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = browser.new_context(
            http_credentials={"username": "me", "password": "secret"}, viewport={"width": 1800, "height": 620}, ignore_https_errors=True
        )
        page = context.new_page()
        missing: list[str] = []
        page.on("response", lambda answer: missing.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{flower.nginx.url}/flower")
        page.get_by_role("link", name="Tasks").first.click()
        page.get_by_text("later-1").first.wait_for()
        assert page.locator(".dataTables_scrollHead thead th").all_inner_texts() == HEADER
        table = {line.split("\t")[0].strip(): line for line in page.locator("tbody tr").all_inner_texts()}
        page.screenshot(path=SCREENSHOT)
        for task_id, (priority, words) in shown.items():
            assert re.search(rf"{expected[task_id]}.*{priority}", table[task_id]), table[task_id]
            assert words in table[task_id], table[task_id]
        _look_at_one(page, missing)
        browser.close()


def _look_at_one(page: Page, missing: list[str]) -> None:
    """The page of a failed task says why; nothing on these pages was missing, and no button does anything."""
    page.get_by_role("link", name="broken-1").first.click()
    page.get_by_text("agent_failed by broken, attempt 1: no model").first.wait_for()
    assert page.get_by_role("button", name=re.compile("Terminate|Revoke")).count() == 0
    assert missing == []
