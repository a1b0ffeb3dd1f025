"""The chain on taskiq: Redis streams (its list broker acknowledges before the work, and is slower), aiohttp, uvloop, orjson."""

import asyncio
import gc
import uuid

from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisStreamBroker

from bench.baselines import steps

broker = RedisStreamBroker(steps.URL, max_connection_pool_size=512).with_serializer(ORJSONSerializer())


class _Process:
    """The clients of this process: made on its loop."""

    clients: steps.Coroutines | None = None


@broker.task(task_name="route")
async def route(task_id: str, data: dict[str, str]) -> None:
    """One task."""
    if _Process.clients is None:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        _Process.clients = steps.Coroutines()
    await _Process.clients.chain(task_id, data)


def fill(n: int) -> None:
    """The group of consumers first, or it would begin after these."""

    async def send() -> None:
        await broker.startup()
        for _ in range(0, n, 100):
            await asyncio.gather(*(route.kiq(uuid.uuid4().hex, steps.DATA) for _ in range(100)))
        await broker.shutdown()

    asyncio.run(send())
