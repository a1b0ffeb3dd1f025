"""No queue at all: an asyncio loop that POSTs with aiohttp, 64 in flight.

`python -m bench.baselines.loop N BYTES URL...` prints POSTs a second.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Iterator

import aiohttp
import uvloop

IN_FLIGHT = 64


async def run(n: int, size: int, urls: list[str]) -> float:
    """Between 3 % and 97 %, as all others."""
    body, numbers, at = b'{"x":"' + b"y" * (size - 8) + b'"}', iter(range(n)), [0.0] * n
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:

        async def post(mine: Iterator[int]) -> None:
            for number in mine:
                url = f"{urls[number % len(urls)]}/tasks/execute"
                async with http.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                    await answer.read()
                at[number] = time.perf_counter()

        await asyncio.gather(*(post(numbers) for _ in range(IN_FLIGHT)))
    at.sort()
    return 0.94 * n / (at[int(0.97 * n) - 1] - at[int(0.03 * n)])


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    print(uvloop.run(run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
