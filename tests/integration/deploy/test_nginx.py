"""deploy/examples/nginx/aitbc.conf with a real nginx before a real API: who may, what passes, what nginx itself refuses."""

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aitbc.settings import Settings
from aitbc.web.requests import BATCH_BODIES
from tests.harness.agents import Agents, accept
from tests.harness.cluster import Api, Cluster
from tests.harness.examples import example
from tests.harness.nginx import PASSWORD, TRUSTED, Nginx
from tests.harness.processes import free_port, wait_for

PROBLEM = {"type", "title", "status", "detail", "message", "request_id"}


@dataclass
class Site:
    """nginx, the API behind it, and the worker's cluster."""

    nginx: Nginx
    api: Api
    cluster: Cluster


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster = Cluster(Path(tmp_path_factory.mktemp("site")))
    api = cluster.api(AITBC_HELD_REQUESTS="1")
    cluster.worker()
    site = Site(Nginx(cluster.directory, api.port, free_port()), api, cluster)
    yield site
    site.nginx.close()
    cluster.close()


def test_without_a_password_only_what_needs_none(site: Site, agents: Agents) -> None:
    assert site.nginx.call("GET", "/health")[0] == 200
    status, _, headers = site.nginx.call("GET", "/tasks")
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="aitbc"')
    for path in ("/", "/flower/", "/agents/register", "/tasks/x/cancel", "/v1/tasks/status", "/health/../tasks"):
        assert site.nginx.call("POST", path, {})[0] == 401, path
    assert site.nginx.call("GET", "/tasks", Authorization=PASSWORD)[0] == 200
    assert site.nginx.call("GET", "/tasks", source=TRUSTED)[0] == 200
    assert site.nginx.call("POST", "/v1/tasks/nobody/complete", {"result": 1}, Authorization="Bearer x")[0] == 404


def test_an_agent_calls_back_with_its_token(site: Site, agents: Agents) -> None:
    later = agents.start("later", accept)
    site.api.register("later", later.url, capabilities=["later"])
    body = {"task_data": {}, "requirements": {"capabilities": ["later"]}}
    status, answer, _ = site.nginx.call("POST", "/tasks/submit", body, source=TRUSTED)
    assert status == 200
    wait_for(lambda: later.received, 10, "the 202")
    callback = later.received[0]["callback"]
    path = "/" + callback["complete"].split("/", 3)[3]
    status, done, _ = site.nginx.call("POST", path, {"result": 7}, Authorization=f"Bearer {callback['token']}")
    assert (status, done["state"]) == (200, "completed")
    assert site.api.task(answer["task_id"])["result"] == 7


def test_one_request_id_from_the_client_to_the_log(site: Site) -> None:
    def asked(**headers: str) -> str:
        return site.nginx.call("GET", "/tasks", source=TRUSTED, **headers)[2]["x-request-id"]

    assert asked(**{"X-Request-ID": "mine.1"}) == "mine.1"
    made = asked()
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert re.fullmatch(r"[0-9a-f]{32}", asked(**{"X-Request-ID": 'no"id'}))
    wait_for(lambda: made in site.nginx.log.read_text(), 5, "the log")
    assert "mine.1" in site.nginx.log.read_text()


def test_a_request_that_waits_is_not_cut_off(site: Site, agents: Agents) -> None:
    site.api.register("slow", agents.start("slow", delay=2).url, capabilities=["slow"])
    task_id = site.api.submit(requirements={"capabilities": ["slow"]})
    status, answer, _ = site.nginx.call("GET", f"/tasks/{task_id}?wait=30", source=TRUSTED)
    assert (status, answer["task"]["state"]) == (200, "completed")
    conf = example("nginx/aitbc.conf", {})
    (limit,) = re.findall(r"proxy_read_timeout +(\d+)s;", conf)
    assert int(limit) > 60  # the longest wait
    (idle,) = re.findall(r"keepalive_timeout (\d+)s;", conf)
    assert int(idle) < 30  # gunicorn's, aitbc/web/gunicorn_conf.py


def test_a_batch_passes_and_what_is_too_large_is_a_problem(site: Site) -> None:
    largest = Settings().max_request_bytes * BATCH_BODIES
    task = {"task_data": {"filler": "x" * 900_000}, "priority": "low"}
    body = json.dumps({"tasks": [task] * 18}).encode()
    assert 0.95 * largest < len(body) < largest
    status, answer, _ = site.nginx.call("POST", "/tasks/submit/batch", body, source=TRUSTED)
    assert (status, answer["accepted_count"]) == (200, 18)
    for path, size in (("/tasks/submit", 2 << 20), ("/tasks/submit/batch", 18 << 20)):  # the API's own refusal, then nginx's
        status, problem, headers = site.nginx.call("POST", path, b"x" * size, source=TRUSTED)
        assert (status, headers["content-type"]) == (413, "application/problem+json")
        assert set(problem) == PROBLEM
        assert problem["request_id"] == headers["x-request-id"]


def test_plain_http_is_sent_to_https(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.nginx.plain_port, timeout=5)
    connection.request("GET", "/tasks?limit=1")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://127.0.0.1:{site.nginx.plain_port}/tasks?limit=1")
    connection.close()


def test_an_api_that_restarts_costs_503_for_a_moment(site: Site) -> None:
    """Last: the API ends."""
    answers: list[tuple[int, Any, dict[str, str]]] = []
    halt = threading.Event()

    def ask() -> None:
        while not halt.is_set():
            answers.append(site.nginx.call("GET", "/tasks/status", source=TRUSTED))

    asking = threading.Thread(target=ask)
    asking.start()
    site.api.process.stop()
    status, problem, headers = site.nginx.call("GET", "/health")
    assert (status, headers["retry-after"], headers["content-type"]) == (503, "2", "application/problem+json")
    assert set(problem) == PROBLEM
    began = time.monotonic()
    site.api.process.start()
    wait_for(lambda: site.nginx.call("GET", "/health")[0] == 200, 20, "the API's return")
    assert time.monotonic() - began < 15
    halt.set()
    asking.join(10)
    assert {status for status, _, _ in answers} == {200, 503}
    assert all(set(body) == PROBLEM for status, body, _ in answers if status == 503)
