"""docs/operations.md, done as it says: its own commands back up, restore and move a Redis with work in it, and nothing is lost."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.harness.agents import Agents, HttpAgent
from tests.harness.brokers import debian_redis
from tests.harness.cluster import Api, Cluster
from tests.harness.load import Load
from tests.harness.processes import ROOT, Process, environment, free_port, redis_binary, wait_for


def commands(section: str, **variables: str) -> str:
    """The section's first block of shell, its variables as given."""
    page = (ROOT / "docs/operations.md").read_text()
    (text,) = re.findall(rf"^## {section}\n.*?^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    for name, value in variables.items():
        text, found = re.subn(rf"^{name}=.*$", lambda _, line=f'{name}="{value}"': line, text, count=1, flags=re.MULTILINE)
        assert found == 1, f"{section} has no line that sets {name}"
    return text


def shell(text: str) -> None:
    done = subprocess.run(["bash", "-eu", "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


class On(Cluster):
    """A cluster on this redis-server, and on what its folder holds."""

    def __init__(self, directory: Path, server: str, **env: str) -> None:
        self.server = server
        super().__init__(directory, **env)

    def _redis(self) -> Process:
        process = super()._redis()
        process.command[process.command.index(redis_binary())] = self.server
        return process

    def doctor(self, api: Api) -> str:
        """`aitbc doctor --ledger`, as an operator calls it."""
        command = [sys.executable, "-m", "aitbc", "doctor", "--ledger"]
        env = environment(REDIS_URL=self.redis_url, AITBC_URL=api.url)
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Of the old Redis and of the new one."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    yield tmp_path / "old", tmp_path / "new"  # noqa: PT022 - a pair reads better than two fixtures


def work_of_all_kinds(api: Api, agents: Agents) -> tuple[HttpAgent, dict[str, list[str]]]:
    """Tasks that have ended, run, wait for a slot, for an agent, for a paused queue and for their time."""
    agent = agents.start("a")
    api.register("a", agent.url, max_concurrency=3, capabilities=["x"], heartbeat_timeout=0)
    known = {"requirements": {"capabilities": ["x"]}}
    found = {"ended": [api.submit(**known) for _ in range(5)]}
    api.ended(found["ended"])
    agent.delay = 3600
    found["running"] = [api.submit(**known) for _ in range(3)]
    wait_for(lambda: agent.working == 3, 10, "calls in flight")
    found["waiting"] = [api.submit(**known, priority=priority) for priority in ("urgent", "normal", "low")]
    found["nobody"] = [api.submit(requirements={"capabilities": ["y"]})]
    api.ok("POST", "/tasks/queues/high/pause")
    found["paused"] = [api.submit(**known, priority="high")]
    found["later"] = [api.submit(**known, delay=5)]
    return agent, found


@pytest.mark.parametrize("before", ["7", "6.2"])
def test_a_backup_is_restored_into_a_new_redis(folders: tuple[Path, Path], tmp_path: Path, agents: Agents, before: str) -> None:
    """Under load, with work of all kinds. 6.2, which has one file, is restored into a 7, which has a folder."""
    server, backup = debian_redis(tmp_path), tmp_path / "backup"
    old = On(folders[0], server if before == "7" else redis_binary())
    api, _ = old.api(), old.worker()
    agent, found = work_of_all_kinds(api, agents)
    load = Load(lambda: api, pause=0.01)
    load.start()
    wait_for(lambda: len(load.accepted) > 20, 10, "load")
    with redis.Redis(port=old.redis_port) as client:
        client.config_set("rdb-key-save-delay", 2000)
        client.bgrewriteaof()  # the copy waits until a rewrite that is under way has ended
    shell(commands("Back up", redis=f"redis-cli -p {old.redis_port}", data=str(folders[0]), backup=str(backup)))
    accepted = [task_id for task_ids in found.values() for task_id in task_ids]
    with redis.Redis(port=old.redis_port, decode_responses=True) as client:
        assert client.config_get("auto-aof-rewrite-percentage") == {"auto-aof-rewrite-percentage": "100"}
    load.end()
    old.close()

    agent.delay = 0
    shell(commands("Restore", data=str(folders[1]), backup=str(backup)))
    new = On(folders[1], server)
    try:
        api, _ = new.api(), new.worker()
        api.ok("POST", "/tasks/queues/high/resume")
        assert [api.task(task_id)["state"] for task_id in found["ended"]] == ["completed"] * 5
        api.register("b", agents.start("b").url, capabilities=["x", "y"])
        late = [str(task["task_id"]) for task in listed(api)]
        tasks = api.ended(sorted({*accepted, *late}), 30)
        assert {task["state"] for task in tasks.values()} == {"completed"}
        outcomes = {tuple(attempt["outcome"] for attempt in tasks[task_id]["attempts"]) for task_id in found["running"]}
        assert outcomes == {("lost", "completed")}
        assert "every invariant holds" in new.doctor(api)
    finally:
        new.close()


def listed(api: Api) -> list[Any]:
    """Every task that has not ended."""
    states = ("queued", "waiting", "scheduled", "running")
    return [task for state in states for task in api.ok("GET", f"/tasks?state={state}&limit=200")["tasks"]]


def test_redis_is_moved_and_nothing_runs_twice(folders: tuple[Path, Path], tmp_path: Path, agents: Agents) -> None:
    server = debian_redis(tmp_path)
    cluster = On(folders[0], server, AITBC_SHUTDOWN_TIMEOUT="10")
    api, worker = cluster.api(), cluster.worker()
    agent = agents.start("a", delay=0.5)
    api.register("a", agent.url, max_concurrency=20)
    load = Load(lambda: api, pause=0.02)
    load.start()
    wait_for(lambda: agent.working >= 5, 10, "calls in flight")

    with redis.Redis(port=cluster.redis_port) as client:
        client.config_set("repl-diskless-sync-delay", 0)
    port, words = free_port(), [*cluster.redis.command]
    words[words.index(str(cluster.redis_port))], words[words.index(str(folders[0]))] = str(port), str(folders[1])
    new = Process("redis-new", [*words, "--replicaof", "127.0.0.1", str(cluster.redis_port)], tmp_path, environment())
    new.start()
    cli = {"old": f"redis-cli -p {cluster.redis_port}", "new": f"redis-cli -p {port}", "address": f"127.0.0.1 {port}"}
    wait_up, rest = re.split(r"^systemctl stop .*\n", commands("Move Redis", **cli), flags=re.MULTILINE)
    try:
        shell(wait_up)
        assert worker.stop(30) == 0
        before = len(load.accepted)
        wait_for(lambda: len(load.accepted) > before + 10, 10, "submits to be accepted without a worker")
        variables = "".join(line for line in wait_up.splitlines(keepends=True) if "=" in line)
        shell(variables + rest)
        refused = load.answers[503]
        wait_for(lambda: load.answers[503] > refused, 10, "submits to be refused at the old Redis")
        cluster.redis_url = f"redis://127.0.0.1:{port}/1"
        api.process.stop()
        api = cluster.api("api-2")
        cluster.worker("worker-2")
        before = len(load.accepted)
        wait_for(lambda: len(load.accepted) > before + 10, 10, "submits to be accepted at the new one")
        accepted = load.end()
        cluster.redis.kill()
        tasks = api.ended(accepted, 30)
        assert {task["state"] for task in tasks.values()} == {"completed"}
        assert agents.sends == dict.fromkeys(accepted, 1)
        assert "every invariant holds" in cluster.doctor(api)
    finally:
        cluster.close()
        new.kill()
