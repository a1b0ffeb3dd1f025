"""The chain as a competent engineer writes it: the least-loaded agent of a sorted set, a POST with keep-alive, the result kept for a day.

Two trips to Redis a task. Simpler than ours in its own favour: no slots, no order, no lease, nothing that a crash could be made good from.
"""

import os
from typing import Any

import aiohttp
import orjson
import redis
import redis.asyncio
import requests
from requests.adapters import HTTPAdapter

URL = os.environ["BENCH_REDIS"]
DATA = {"x": "y" * 82}
DAY = 86_400
HEADERS = {"Content-Type": "application/json"}
PICK = """
local agent = redis.call('ZRANGE', 'agents', 0, 0)[1]
redis.call('ZINCRBY', 'agents', 1, agent)
return {agent, redis.call('HGET', 'urls', agent)}
"""


def message(task_id: str, data: dict[str, str]) -> bytes:
    return orjson.dumps({"task_id": task_id, "data": data})


def finish(pipe: Any, task_id: str, agent: bytes, result: bytes) -> None:
    """One trip."""
    pipe.zincrby("agents", -1, agent)
    pipe.set(f"result:{task_id}", result, ex=DAY)
    pipe.incr("done")


class Blocking:
    """For a process of any number of threads."""

    def __init__(self) -> None:
        self.redis = redis.Redis.from_url(URL, max_connections=1000)
        self.pick = self.redis.register_script(PICK)
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.mount("http://", HTTPAdapter(pool_maxsize=300))

    def chain(self, task_id: str, data: dict[str, str]) -> None:
        agent, url = self.pick()
        answer = self.http.post(f"{url.decode()}/tasks/execute", data=message(task_id, data), headers=HEADERS, timeout=30)
        pipe = self.redis.pipeline(transaction=False)
        finish(pipe, task_id, agent, answer.content)
        pipe.execute()


class Coroutines:
    """For a process with a loop; 32 connections to Redis were the fastest."""

    def __init__(self) -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(URL, max_connections=32, timeout=None)
        self.redis = redis.asyncio.Redis(connection_pool=pool)
        self.pick = self.redis.register_script(PICK)
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())

    async def chain(self, task_id: str, data: dict[str, str]) -> None:
        agent, url = await self.pick()
        async with self.http.post(f"{url.decode()}/tasks/execute", data=message(task_id, data), headers=HEADERS) as answer:
            result = await answer.read()
        pipe = self.redis.pipeline(transaction=False)
        finish(pipe, task_id, agent, result)
        await pipe.execute()
