"""Redis is killed, frozen, flushed of its scripts, filled: every accepted task ends, once, and everything goes on by itself.

AOF with `appendfsync always`, as docs/running.md asks for: nothing that was acknowledged may be lost.
"""

import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
import redis

from tests.harness.cluster import Api
from tests.harness.load import Load
from tests.harness.matrix import Row
from tests.harness.processes import ROOT, environment, wait_for


def started(world: Row, agents: int = 3, **env: str) -> Api:
    """An API, a worker and some agents."""
    api = world.node()
    world.worker(**env)
    for _ in range(agents):
        world.agent(api, delay=0.05)
    return api


def under_load(world: Row, api: Api, strikes: Callable[[], None]) -> Load:
    """Load before, during and for a second after the strikes; what was accepted is the world's to settle."""
    load = Load(lambda: api)
    load.start()
    time.sleep(1)
    strikes()
    before = len(load.accepted)
    wait_for(lambda: len(load.accepted) > before + 20, 10, "submits to be accepted again")
    world.accepted += load.end()
    return load


def asked(world: Row) -> redis.Redis:
    return redis.Redis(port=world.cluster.redis_port, decode_responses=True)


def restart(world: Row, down: float) -> None:
    world.struck = time.monotonic()
    world.cluster.redis.kill()
    time.sleep(down)
    world.cluster.start_redis()


def idle(world: Row) -> None:
    """Killed while nothing runs: the next task is done within 5 s of the return."""
    api = started(world)
    time.sleep(1)
    restart(world, 1)
    task_id = wait_for(lambda: world.submit(api), 5, "a submit")
    assert api.task(str(task_id), wait=5)["state"] == "completed"
    world.settle(api, faults=1)


def load(world: Row) -> None:
    """Killed five times at random moments under load."""
    api, chance = started(world), random.Random()

    def strikes() -> None:
        for _ in range(5):
            time.sleep(chance.uniform(0.2, 1.2))
            restart(world, chance.uniform(0, 0.5))

    under_load(world, api, strikes)
    world.settle(api, faults=5)


def rewrite(world: Row) -> None:
    """Killed in the middle of a rewrite of its append-only file."""
    api = started(world)

    def strikes() -> None:
        with asked(world) as client:
            client.config_set("rdb-key-save-delay", 100_000)  # µs a key: the rewrite would take minutes
            client.bgrewriteaof()
            wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"], 5, "the rewrite")
        restart(world, 0.2)

    under_load(world, api, strikes)
    world.settle(api, faults=1)


def frozen(world: Row) -> None:
    """SIGSTOP for 15 s: requests end with 503 in seconds, and nothing is sent twice."""
    api = started(world)
    load = under_load(world, api, lambda: world.strike(world.cluster.redis, "freeze"))
    assert load.answers[503] >= 1
    assert load.slowest < 18
    world.settle(api, faults=1)


def scripts(world: Row) -> None:
    """SCRIPT FLUSH again and again under load: nobody notices."""
    api = started(world)

    def strikes() -> None:
        with asked(world) as client:
            for _ in range(100):
                client.script_flush()
                time.sleep(0.02)

    load = under_load(world, api, strikes)
    assert set(load.answers) == {200}
    world.settle(api, faults=0)


def full(world: Row) -> None:
    """maxmemory: submits are refused with 429 and leave no trace, what runs ends, and all goes on when it is raised."""
    api = world.node()
    worker, agent = world.worker(), world.agent(api, "slow", delay=2)
    for _ in range(10):
        world.submit(api)
    wait_for(lambda: agent.working == 10, 10, "ten calls in flight")
    for _ in range(30):
        world.submit(api, priority="low")  # ten slots: these are taken one by one while Redis is full
    with asked(world) as client:
        client.config_set("maxmemory", 1)
        world.struck = time.monotonic()
        for n in range(20):
            status, problem = api.call("POST", "/tasks/submit", {"task_data": {}, "task_id": f"refused-{n}"})
            assert status == 429, problem
        assert api.call("POST", "/agents/register", {"agent_id": "new", "agent_type": "worker"})[0] == 429
        assert api.call("POST", "/agents/slow/heartbeat", {})[0] == 200
        wait_for(lambda: len(api.ended(world.accepted[:10], 5)) == 10, 10, "running work to end")
        wait_for(lambda: len(agent.received) >= 20, 10, "waiting work to be begun")
        assert worker.alive, worker.tail()
        client.config_set("maxmemory", 0)
    assert [api.call("GET", f"/tasks/refused-{n}")[0] for n in range(20)] == [404] * 20
    wait_for(lambda: world.submit(api), 5, "submits to be accepted again")
    world.settle(api, faults=0)
    assert worker.alive, worker.tail()


def full_broker(world: Row) -> None:
    """maxmemory while jobs wait for a worker: it cannot take them, lives on, and does so when there is memory again."""
    api = world.node()
    world.agent(api)
    for _ in range(20):
        world.submit(api)
    with asked(world) as client:
        client.config_set("maxmemory", 1)
        world.struck = time.monotonic()
        worker = world.worker(wait=False)
        time.sleep(8)
        assert worker.alive, worker.tail()
        client.config_set("maxmemory", 0)
    world.settle(api, faults=0, seconds=20)
    assert worker.alive, worker.tail()


def away(world: Row) -> None:
    """The API says 503 with Retry-After to everything, in seconds, logs it once, and heals by itself."""
    api = started(world)
    log = world.cluster.processes[1].log
    world.submit(api)
    world.struck = time.monotonic()
    world.cluster.redis.kill()
    for method, path in (
        ("GET", "/tasks/status"),
        ("POST", "/tasks/submit"),
        ("GET", "/agents/x"),
        ("GET", "/ready"),
        ("GET", "/v1/tasks"),
    ):
        began = time.monotonic()
        status, retry_after = answered(api.url + path, method)
        assert (status, retry_after.isdigit()) == (503, True), path
        assert time.monotonic() - began < 5, path
    assert api.call("GET", "/health")[0] == 200
    world.cluster.start_redis()
    wait_for(lambda: world.submit(api), 5, "a submit to be accepted")
    wait_for(lambda: api.call("GET", "/ready")[0] == 200, 5, "/ready")
    world.settle(api, faults=1)
    assert log.read_text().count("the ledger is away") == 1
    assert log.read_text().count("the ledger is back") == 1


def answered(url: str, method: str) -> tuple[int, str]:
    """Status and Retry-After."""
    body = b'{"task_data": {}}' if method == "POST" else None
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers.get("Retry-After", "")


ROWS: dict[str, Callable[[Row], None]] = {
    "frozen": frozen,
    "full": full,
    "full_broker": full_broker,
    "load": load,
    "idle": idle,
    "rewrite": rewrite,
    "scripts": scripts,
    "away": away,
}


def run_row(world: Row, name: str) -> None:
    ROWS[name](world)


@pytest.mark.parametrize("name", ROWS)
def test_redis(rows: Callable[[str], None], name: str) -> None:
    rows(name)


def test_everysec_is_warned_of(world: Row) -> None:
    """Redis would lose what it acknowledged when it is killed: /ready and the doctor say so."""
    api = world.node()
    world.worker()
    with asked(world) as client:
        client.config_set("appendfsync", "everysec")
    time.sleep(1.1)  # what /ready knows of Redis is at most a second old
    (warning,) = api.ok("GET", "/ready")["warnings"]
    assert "appendfsync is everysec" in warning
    env = environment(REDIS_URL=world.cluster.redis_url, AITBC_URL=api.url)
    told = subprocess.run([sys.executable, "-m", "aitbc", "doctor"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=30)
    assert "appendfsync is everysec" in told.stdout + told.stderr
