"""The chain on dramatiq: Redis, requests. Two processes of eight threads were the fastest of 4 to 32 threads in one and two processes."""

import uuid

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.baselines import steps

dramatiq.set_broker(RedisBroker(url=steps.URL))
_clients = steps.Blocking()


@dramatiq.actor
def route(task_id: str, data: dict[str, str]) -> None:
    """One task."""
    _clients.chain(task_id, data)


def fill(n: int) -> None:
    for _ in range(n):
        route.send(uuid.uuid4().hex, steps.DATA)
