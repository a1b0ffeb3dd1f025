"""Connections for the worker: a name is resolved once, every address checked, and exactly those are connected to.

Host header and TLS server name stay the name's, since only the resolver is ours.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from aitbc.dispatch.guard import Guard, Lookup

LOOKUP_THREADS = 32
"""The loop's own executor has six on two cores: a few names whose server is silent would stop all look-ups."""
IDLE_TIME = 1.5
"""Seconds that an idle connection is kept. Less than the keep-alive of common servers (gunicorn's is 2 s), so that a request hardly
ever meets a connection that the agent is just closing: such a call has an unknown outcome."""
DNS_TIME = 10
"""Seconds that a name's addresses are kept. They are checked again at every connect."""


class GuardedResolver(AbstractResolver):
    """Addresses of a name, all of them allowed."""

    def __init__(self, guard: Guard, lookup: Lookup) -> None:
        """`lookup` runs in threads."""
        self._guard = guard
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="aitbc-lookup")

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Resolve once; `family` is not asked for.

        Raises AddressRefused when any answer is not allowed: one good address beside a bad one is how a guard is walked around.
        """
        del family
        addresses = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            self._guard.check_address(address, host)
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Look-ups under way end by themselves; nobody waits for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


def guarded_connector(guard: Guard, resolver: AbstractResolver) -> aiohttp.TCPConnector:
    """Any number of connections, to allowed addresses only; made inside the running loop.

    aiohttp asks no resolver about literal addresses, hence the second check in the socket factory.
    """
    return aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=guard.open_socket,
        limit=0,
        limit_per_host=0,
        keepalive_timeout=IDLE_TIME,
        ttl_dns_cache=DNS_TIME,
    )
