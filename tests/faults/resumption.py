"""How soon a worker goes on after an outage, as a table: `python -m tests.faults.resumption [BROKER …]` (about ten minutes for all).

Each cell is a world of its own: an API, a worker with calls in flight, submits that go on. `resumes`: from the broker's return (for
Sentinel's failover: from the kill) to the first agent call of a task that was submitted after it (Redis, and Sentinel cut off: of any
task). A cut is one of the worker, with its agents, not of the API. `lost`: accepted, then unknown or never ended. `twice`: tasks that
were sent more than once. `ledger too`: its Redis is the broker.
"""

import contextlib
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.harness.brokers import Fleet, Rabbit
from tests.harness.load import Load
from tests.harness.matrix import Row, row
from tests.harness.network import Host, Network
from tests.harness.processes import wait_for
from tests.harness.proxy import Proxy

FROZEN = 15.0
Outage = Callable[[float], None]


def resumption(world: Row, strike: Outage, seconds: float, *, cell: str, worker_env: dict[str, str]) -> str:
    """One cell."""
    from_kill = cell.startswith("sentinel") and not cell.endswith("cut")
    api = world.node()
    worker = world.worker(**worker_env)
    for _ in range(3):
        world.agent(api, delay=0.3, max_concurrency=20)
    load = Load(lambda: api, pause=0.02)
    load.start()
    wait_for(lambda: sum(agent.working for agent in world.agents.all) >= 3, 15, "calls in flight")
    time.sleep(1)
    striking = threading.Thread(target=strike, args=(seconds,))
    striking.start()
    if not from_kill:
        striking.join()
    began, first = time.monotonic(), len(load.accepted) + from_kill  # the submit under way may have come before the kill
    calls = sum(world.agents.sends.values())

    def resumed() -> bool:
        if cell.startswith("redis") or cell == "sentinel cut":  # the ledger was away too, so no call could begin; what waits goes first
            return sum(world.agents.sends.values()) > calls
        return any(task_id in world.agents.sends for task_id in load.accepted[first:])

    wait_for(resumed, 90, "a call")
    resumes = time.monotonic() - began
    striking.join()
    time.sleep(3)
    accepted = load.end()
    known = [task_id for task_id in accepted if api.call("GET", f"/tasks/{task_id}")[0] == 200]
    with contextlib.suppress(AssertionError):
        api.ended(known, 60)
    ended = [task_id for task_id in known if api.task(task_id)["state"] == "completed"]
    twice = sum(count > 1 for count in world.agents.sends.values())
    alive = "" if worker.alive else ", DIED"
    return f"{resumes:.1f} s | {len(accepted) - len(ended)} of {len(accepted)} | {twice}{alive}"


def killed(kill: Callable[[], None], start: Callable[[], None]) -> Outage:
    def strike(seconds: float) -> None:
        kill()
        time.sleep(seconds)
        start()

    return strike


def frozen(send: Callable[[int], None]) -> Outage:
    def strike(seconds: float) -> None:
        send(signal.SIGSTOP)
        time.sleep(seconds)
        send(signal.SIGCONT)

    return strike


def cut(proxy: Proxy) -> Outage:
    def strike(seconds: float) -> None:
        proxy.silent = True
        time.sleep(seconds)
        proxy.silent = False

    return strike


def cut_off(host: Host) -> Outage:
    def strike(seconds: float) -> None:
        host.cut()
        time.sleep(seconds)
        host.heal()

    return strike


@contextlib.contextmanager
def redis_world(kind: str, folder: Path) -> Iterator[tuple[Row, Outage, dict[str, str]]]:
    with row(kind, folder) as world:
        proxy = Proxy(world.cluster.redis_port)
        redis = world.cluster.redis
        strikes = {"frozen": frozen(redis.signal), "cut": cut(proxy)}
        yield world, strikes.get(kind, killed(redis.kill, world.cluster.start_redis)), {"REDIS_URL": proxy.url} if kind == "cut" else {}
        proxy.close()


@contextlib.contextmanager
def sentinel_world(kind: str, folder: Path) -> Iterator[tuple[Row, Outage, dict[str, str]]]:
    with contextlib.closing(Network()) as network:
        servers, node = network.host("redis"), network.host("node")
        with row(kind, folder, servers, **node.env | {"AITBC_HOST": "127.0.0.1"}) as world:
            world.here = node
            fleet = Fleet(world.cluster)
            master = fleet.nodes[fleet.master]
            strikes = {"frozen": frozen(master.signal), "cut": cut_off(node)}
            try:
                yield world, strikes.get(kind, killed(master.kill, master.start)), {}
            finally:
                fleet.close()


@contextlib.contextmanager
def rabbit_world(kind: str, folder: Path) -> Iterator[tuple[Row, Outage, dict[str, str]]]:
    rabbit = Rabbit()
    proxy = Proxy(rabbit.port)
    try:
        with row(kind, folder, CELERY_BROKER_URL=rabbit.url) as world:
            strikes: dict[str, Outage] = {
                "frozen": frozen(rabbit.signal),
                "cut": cut(proxy),
            }
            env = {"CELERY_BROKER_URL": rabbit.url.replace(str(rabbit.port), str(proxy.port))} if kind == "cut" else {}
            yield world, strikes.get(kind, killed(rabbit.kill, rabbit.start)), env
    finally:
        proxy.close()
        rabbit.close()


CELLS: dict[str, tuple[Any, dict[str, float]]] = {
    "redis": (redis_world, {"away 5 s": 5, "away 60 s": 60, "frozen": FROZEN, "cut": FROZEN}),
    "sentinel": (sentinel_world, {"master away 5 s": 5, "master away 60 s": 60, "frozen": FROZEN, "cut": FROZEN}),
    "rabbitmq": (rabbit_world, {"away 5 s": 5, "away 60 s": 60, "frozen": FROZEN, "cut": FROZEN}),
}


def main() -> None:
    """Print the table."""
    print("| broker | outage | resumes after | lost | sent twice |\n|-|-|-|-|-|", flush=True)
    for broker in sys.argv[1:] or CELLS:
        world_of, kinds = CELLS[broker]
        for kind, seconds in kinds.items():
            with tempfile.TemporaryDirectory() as folder, world_of(kind, Path(folder)) as (world, strike, env):
                try:
                    cell = resumption(world, strike, seconds, cell=f"{broker} {kind}", worker_env=env)
                except AssertionError as exc:
                    cell = f"not: {str(exc)[:200]} | - | -"
            print(f"| {broker} | {kind}{f', {seconds:g} s' if 's' not in kind.split()[-1] else ''} | {cell} |", flush=True)


if __name__ == "__main__":
    main()
