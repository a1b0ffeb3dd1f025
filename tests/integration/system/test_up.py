"""`aitbc up --demo`, as `make up` runs it: the examples of the outside world against it, what dies is restarted, Ctrl-C ends all."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.harness.processes import Process, environment, wait_for


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = Path(tmp_path_factory.mktemp("up"))
    env = environment(AITBC_VAR=str(directory / "var"))
    process = Process("up", [sys.executable, "-m", "aitbc", "up", "--demo"], directory, env)
    process.start()
    wait_for(lambda: "Demo: task" in process.log.read_text(), 40, "the demo's result")
    yield process
    if process.alive:
        process.stop(15)


def curl(text: str) -> Any:
    """Run an example as it is written; the answer's JSON."""
    command = text.replace("curl ", "curl -s ", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    return json.loads(done.stdout)


def children(up: Process, word: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(up.pid).children(recursive=True) if word in _command(child)]


def _ready() -> bool:
    try:
        return bool(curl("curl http://localhost:9001/ready").get("status") == "ready")
    except subprocess.CalledProcessError:  # nobody listens yet
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended, or is about to
        return ""


def _runs(process: psutil.Process) -> bool:
    """A zombie has ended: its reaping is its new parent's."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_it_says_where_everything_is(up: Process) -> None:
    said = up.log.read_text()
    for line in ("API       http://127.0.0.1:9001", "Flower    http://127.0.0.1:5555", "Agents    demo-1 http://127.0.0.1:9002"):
        assert line in said
    assert re.search(r'Demo: task \w+ is completed by demo-\d: result \{"words": 10, "longest": "ledger"\}', said)


def test_the_examples_of_the_outside_world(up: Process) -> None:
    registered = curl(
        'curl -X POST http://localhost:9001/agents/register -H "Content-Type: application/json" -d \'{"agent_id":"hermes-agent",'
        '"agent_type":"worker","capabilities":["data-processing","analysis","general"],"services":["task-execution","analysis"],'
        '"endpoints":{"http":"http://localhost:9002"},"metadata":{"version":"1.0.0"}}\''
    )
    assert list(registered) == ["status", "message", "agent_id", "registered_at"]
    assert registered["message"] == "Agent hermes-agent registered successfully"
    submitted = curl(
        'curl -X POST http://localhost:9001/tasks/submit -H "Content-Type: application/json" -d \'{"task_data":{"model":"llama2",'
        '"prompt":"test prompt"},"priority":"normal","requirements":{}}\''
    )
    assert submitted["message"] == "Task submitted successfully"
    task = curl(f"curl 'http://localhost:9001/tasks/{submitted['task_id']}?wait=10'")["task"]
    assert (task["state"], task["result"]) == ("completed", {"words": 3, "longest": "llama2"})
    stats = curl("curl http://localhost:9001/tasks/status")["stats"]
    tasks = curl("curl http://localhost:9001/tasks")["tasks"]
    assert (stats["tasks_distributed"], stats["tasks_failed"]) == (2, 0), tasks
    assert stats["load_balancer_stats"]["active_agents"] == 4
    found = curl(
        'curl -X POST http://localhost:9001/agents/discover -H "Content-Type: application/json" -d \'{"status":"active",'
        '"agent_type":"worker"}\''
    )
    assert {agent["agent_id"] for agent in found["agents"]} == {"hermes-agent", "demo-1", "demo-2", "demo-3"}
    assert curl("curl http://localhost:9001/health")["status"] == "healthy"
    url = re.search(r"redis://\S+", up.log.read_text())
    assert url
    client = redis.Redis.from_url(url[0], decode_responses=True)
    assert {"agent:hermes-agent", "agent:demo-1"} <= set(client.keys("agent:*"))
    assert client.type("agent:hermes-agent") == "hash"
    assert client.sismember("agents:active", "hermes-agent")
    client.close()


@pytest.mark.parametrize("word", ["celery -A aitbc.tasks worker", "redis-server", "gunicorn"])
def test_what_dies_is_started_again(up: Process, word: str) -> None:
    before = children(up, word)
    before[0].kill()  # gunicorn's own children end when they see that their parent is gone
    wait_for(lambda: not any(map(_runs, before)), 15, f"the end of the old {word}")
    wait_for(lambda: children(up, word), 15, f"another {word}")
    wait_for(_ready, 20, "ready again")
    task_id = curl('curl -X POST http://localhost:9001/tasks/submit -d \'{"task_data":{"text":"still here"}}\'')["task_id"]
    assert curl(f"curl 'http://localhost:9001/tasks/{task_id}?wait=15'")["task"]["result"]["words"] == 2


def test_ctrl_c_ends_everything_within_ten_seconds(up: Process) -> None:
    everything = psutil.Process(up.pid).children(recursive=True)
    assert len(everything) >= 7
    began = time.monotonic()
    os.kill(up.pid, signal.SIGINT)
    assert up.child is not None
    assert up.child.wait(10) == 0
    assert time.monotonic() - began < 10
    assert [child for child in everything if _runs(child)] == []
    assert "everything has ended" in up.log.read_text()
