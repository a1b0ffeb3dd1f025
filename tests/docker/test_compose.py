"""The committed docker-compose.yml as a user brings it up: healthy, closed to the outside, and nothing lost when a container is killed."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.test_flower import CHROMIUM, QUIET
from tests.docker.project import SERVICES, Project
from tests.harness.load import Load
from tests.harness.processes import Process, environment, wait_for

OURS = [service for service in SERVICES if service not in ("redis", "prometheus")]
SCREENSHOT = Path(os.environ.get("AITBC_SCREENSHOTS", "/tmp")) / "flower-compose.png"
REGISTER = """curl -s -X POST http://localhost:9001/agents/register -H "Content-Type: application/json" -d '{"agent_id":"hermes-agent",
    "agent_type":"worker","capabilities":["data-processing","analysis","general"],"services":["task-execution","analysis"],
    "endpoints":{"http":"http://demo-1:9002"},"metadata":{"version":"1.0.0"}}'"""
SUBMIT = """curl -s -X POST http://localhost:9001/tasks/submit -H "Content-Type: application/json" -d '{"task_data":{"model":"llama2",
    "prompt":"test prompt"},"priority":"normal","requirements":{}}'"""
DISCOVER = """curl -s -X POST http://localhost:9001/agents/discover -H "Content-Type: application/json" -d '{"status":"active",
    "agent_type":"worker"}'"""


def curl(project: Project, command: str) -> Any:
    """Run it with the project's port in the place of 9001, and its key."""
    words = shlex.split(command.replace("localhost:9001", f"localhost:{project.api_port}"))
    words[1:1] = ["-H", f"Authorization: Bearer {project.api.key}"]
    return json.loads(subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout)


def get(url: str, login: tuple[str, str] | None = None, method: str = "GET") -> tuple[int, str]:
    headers = {"Authorization": "Basic " + b64encode(":".join(login).encode()).decode()} if login else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers, method=method), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()


def test_it_comes_up_healthy(project: Project, say: Callable[[str], None]) -> None:
    say(f"docker-compose up, until all {len(SERVICES)} are healthy: {project.healthy_after:.1f} s")
    image = project.client.images.get("aitbc-test/aitbc").attrs["Size"]
    base = project.client.images.get("aitbc-test/base").attrs["Size"]
    say(f"image: {image / 1e6:.0f} MB, {(image - base) / 1e6:.0f} of them above its base")
    assert project.healthy_after < 60
    assert image - base < 120e6


def test_the_examples_of_the_outside_world(project: Project, say: Callable[[str], None]) -> None:
    registered = curl(project, REGISTER)
    assert registered["message"] == "Agent hermes-agent registered successfully"
    submitted = curl(project, SUBMIT)
    assert submitted["message"] == "Task submitted successfully"
    task = curl(project, f"curl -s 'http://localhost:9001/tasks/{submitted['task_id']}?wait=10'")["task"]
    assert (task["state"], task["result"]) == ("completed", {"words": 3, "longest": "llama2"})
    stats = curl(project, "curl -s http://localhost:9001/tasks/status")["stats"]
    assert (stats["tasks_completed"], stats["tasks_failed"]) == (1, 0)
    assert stats["load_balancer_stats"]["active_agents"] == 4
    assert {agent["agent_id"] for agent in curl(project, DISCOVER)["agents"]} == {"hermes-agent", "demo-1", "demo-2", "demo-3"}
    assert curl(project, "curl -s http://localhost:9001/health")["status"] == "healthy"
    assert curl(project, "curl -s http://localhost:9001/ready")["warnings"] == []
    curl(project, "curl -s -X DELETE http://localhost:9001/agents/hermes-agent")
    say(f"registered, submitted, {task['state']} by {task['agent_id']}: {json.dumps(task['result'])}")


def test_the_api_asks_for_the_key_that_was_made(project: Project) -> None:
    assert get(f"{project.api.url}/tasks")[0] == 401
    assert get(f"{project.api.url}/health")[0] == 200
    assert project.run_in("api", "aitbc", "queues", "list")[0] == 0  # it has the node's own
    code, made = project.run_in("api", "aitbc", "keys", "create", "reader", "--scope", "read")
    assert code == 0, made
    (text,) = re.findall(r"aitbc_[0-9a-f]{12}_\S+", made)
    assert project.api.call("GET", "/tasks", Authorization=f"Bearer {text}")[0] == 200
    assert project.api.call("POST", "/tasks/submit", {"task_data": {}}, Authorization=f"Bearer {text}")[0] == 403
    assert project.run_in("demo-1", "sh", "-c", "ls /keys")[1].strip() == ""


@pytest.mark.parametrize("service", [*SERVICES, "keys"])
def test_nothing_may_more_than_it_must(project: Project, service: str) -> None:
    about = project.container(service).attrs
    host = about["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert about["Config"]["User"] not in ("", "root", "0")
    assert {binding["HostIp"] for bindings in (host["PortBindings"] or {}).values() for binding in bindings} <= {"127.0.0.1"}
    if service == "keys":
        assert about["State"]["ExitCode"] == 0
        return
    code, status = project.run_in(service, "cat", "/proc/1/status")
    assert code == 0
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (found["CapEff"].strip("0"), found["NoNewPrivs"]) == ("", "1")
    assert "0" not in found["Uid"].split()
    assert project.run_in(service, "sh", "-c", "echo x > /x")[0] != 0


def test_redis_is_reached_by_those_who_need_it_alone(project: Project) -> None:
    assert project.container("redis").attrs["HostConfig"]["PortBindings"] in ({}, None)
    assert "NOAUTH" in project.run_in("redis", "redis-cli", "ping")[1]
    connect = "import socket; socket.create_connection(('redis', 6379), 2)"
    assert project.run_in("worker", "python", "-c", connect)[0] == 0
    assert project.run_in("demo-1", "python", "-c", connect)[0] != 0
    _, address = project.run_in("worker", "python", "-c", "import socket; print(socket.gethostbyname('redis'))")
    body = {"agent_id": "redis", "agent_type": "worker", "endpoints": {"http": f"http://{address.strip()}:6379"}}
    status, answer = project.api.call("POST", "/agents/register", body)
    assert (status, answer["title"]) == (422, "Address refused"), answer


def test_the_image_holds_what_runs_and_nothing_else(project: Project) -> None:
    _, listed = project.run_in("worker", "python", "-c", "from importlib.metadata import distributions as d\nfor x in d(): print(x.name)")
    installed = {name.lower().replace("_", "-").replace(".", "-") for name in listed.split()}
    lock = re.findall(r"^([a-z0-9-]+)==", Path("constraints.txt").read_text(), re.MULTILINE)
    assert installed - set(lock) == {"aitbc"}
    assert set(lock) - installed <= {"async-timeout", "tzdata"}  # for other systems and Pythons
    names = "('aitbc', 'celeryconfig', 'tests', 'bench', 'docs', 'pip')"
    ours = f"from importlib.util import find_spec\nprint([name for name in {names} if find_spec(name)])"
    assert project.run_in("worker", "python", "-c", ours) == (0, "['aitbc', 'celeryconfig']\n")


def test_flower_shows_the_task_to_those_with_the_password(project: Project, say: Callable[[str], None]) -> None:
    url, login = f"http://127.0.0.1:{project.flower_port}", project.flower_login()
    assert get(f"{url}/tasks")[0] == get(f"{url}/api/tasks")[0] == get(f"{url}/tasks", ("aitbc", "guess"))[0] == 401
    assert get(f"{url}/tasks", login)[0] == 200
    worker = "aitbc@" + project.container("worker").id[:12]
    assert get(f"{url}/api/worker/shutdown/{worker}", login, "POST")[0] == 403
    for n in range(6):
        project.api.submit(task_id=f"compose-{n}", task_data={"text": "words to count"}, priority=("normal", "urgent")[n % 2])
    assert {project.api.task(f"compose-{n}", wait=10)["state"] for n in range(6)} == {"completed"}
    wait_for(lambda: get(f"{url}/api/tasks", login)[1].count('"SUCCESS"') >= 6, 15, "Flower's rows")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(
            http_credentials=dict(zip(("username", "password"), login, strict=True)), viewport={"width": 1900, "height": 600}
        )
        page.goto(f"{url}/tasks")
        page.get_by_text("compose-5").first.wait_for()
        page.screenshot(path=SCREENSHOT)
        browser.close()
    say(f"screenshot: {SCREENSHOT}")
    project.compose("restart", "flower")
    wait_for(lambda: project.health()["flower"] == "healthy", 60, "Flower to be back")
    assert get(f"{url}/api/tasks", login)[1].count('"SUCCESS"') >= 6, "the rows of before its restart"


def test_prometheus_has_flowers_figures(project: Project) -> None:
    def counted() -> Any:
        status, text = get(f"http://127.0.0.1:{project.prometheus_port}/api/v1/query?query=sum(flower_events_total)")
        return status == 200 and json.loads(text)["data"]["result"]

    def targets() -> Any:
        found = json.loads(get(f"http://127.0.0.1:{project.prometheus_port}/api/v1/targets")[1])["data"]["activeTargets"]
        assert {target["health"] for target in found} == {"up"}, [(target["scrapeUrl"], target["lastError"]) for target in found]
        return {target["labels"]["job"] for target in found}

    assert wait_for(targets, 40, "a scrape of each") == {"aitbc", "flower"}  # every 15 s
    done = project.api.submit(task_id="counted", task_data={"text": "words to count"})  # it counts tasks' events since it started
    assert project.api.task(done, wait=10)["state"] == "completed"
    (found,) = wait_for(counted, 40, "Flower's figures")  # type: ignore[misc]
    assert float(found["value"][1]) > 0


@pytest.mark.parametrize("killed", ["redis", "api", "worker", "flower prometheus", "demo-1 demo-2 demo-3"])
def test_killed_containers_come_back_and_no_task_is_lost(project: Project, killed: str, say: Callable[[str], None]) -> None:
    services = killed.split()
    load = Load(lambda: project.api, name=f"{services[0]}-killed", pause=0.02)
    load.start()
    wait_for(lambda: len(load.accepted) >= 20, 10, "the load to begin")
    began = time.monotonic()
    started = project.kill(services)
    before = len(load.accepted)
    wait_for(lambda: len(load.accepted) >= before + 20, 30, "submits to be accepted")
    assert project.api.task(load.accepted[before + 10], wait=30)["state"] == "completed"
    served = time.monotonic() - began
    wait_for(lambda: {project.health()[service] for service in services} == {"healthy"}, 60, f"{killed} to be healthy")
    healthy = time.monotonic() - began
    ids = load.end()
    tasks = project.api.ended(ids, 60)
    assert {task["state"] for task in tasks.values()} == {"completed"}
    code, report = project.run_in("api", "aitbc", "doctor", "--ledger")
    assert code == 0, report
    assert "every invariant holds" in report
    again = sum(len(task["attempts"]) - 1 for task in tasks.values())
    say(
        f"{killed}: kill -9; started again after {started:.1f} s, tasks accepted and done after {served:.1f} s, healthy after"
        f" {healthy:.1f} s; {len(ids)} accepted, {len(ids)} completed, {again} second attempts"
    )


def test_an_agent_on_the_host_is_reached_at_the_networks_gateway(project: Project, tmp_path: Path) -> None:
    options = ["--exec", "cat", "--id", "host", "--host", "172.31.91.1", "--capability", "host", "--url", project.api.url]
    agent = Process("agent", [sys.executable, "-m", "aitbc", "agent", *options], tmp_path, environment(AITBC_API_KEY=project.api.key))
    agent.start()
    try:
        task_id = project.api.submit(task_data={"n": 1}, requirements={"capabilities": ["host"]})
        assert project.api.task(task_id, wait=20)["result"] == {"n": 1}, agent.tail()
    finally:
        assert agent.stop() == 0


def test_a_stop_is_an_orderly_end(project: Project) -> None:
    ours = ["worker", "api", "flower", "demo-1", "redis"]
    project.compose("stop", *ours)
    assert {name: project.container(name).attrs["State"]["ExitCode"] for name in ours} == dict.fromkeys(ours, 0)
