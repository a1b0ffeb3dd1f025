"""Connections for the worker: a name is resolved once, every address checked, and exactly those are connected to.

Host header and TLS server name stay the name's.
"""

import asyncio
import logging
import os
import re
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeVar

from aiohappyeyeballs import start_connection

from aitbc.bounded import Bounded
from aitbc.dispatch.address import is_literal
from aitbc.dispatch.guard import Guard
from aitbc.dispatch.own import Lookup
from aitbc.dispatch.request import Origin

LOOKUP_THREADS = 32
"""The loop's own executor has six on two cores: a few names whose server is silent would stop all look-ups."""
DNS_TIME = 10.0
"""Seconds that a name's addresses are kept. They are checked again at every connect."""
MOST_NAMES = 4096
NEXT_ADDRESS_TIME = 0.25
"""Seconds until a name's next address is tried beside one that does not answer (RFC 8305)."""
GONE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
)
"""A host from which nothing comes for 20 s, no acknowledgement either, is gone: the call breaks, and the task goes elsewhere. Else only
its run_timeout would end it, up to a day, or the kernel's backoff, minutes after a cut is healed. A slow agent's host answers probes."""

_NAMED = re.compile(r" Connect call failed \([^)]*\)|, certificate is not valid for '[^']*'")
"""What names addresses and hosts in the texts of asyncio and OpenSSL."""

log = logging.getLogger(__name__)

P = TypeVar("P", bound=asyncio.Protocol)


class Names:
    """Addresses of names, all of them allowed. Callers that ask for one name at a time share a look-up."""

    def __init__(self, guard: Guard, lookup: Lookup) -> None:
        """`lookup` runs in threads."""
        self._guard = guard
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="aitbc-lookup")
        self._asked: Bounded[tuple[str, int], tuple[float, asyncio.Future[list[str]]]] = Bounded(MOST_NAMES)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Resolve, or remember.

        Raises OSError, and AddressRefused when any answer is not allowed: one good address beside a bad one is how a guard is walked
        around.
        """
        asked = self._remembered(host, port) or self._ask(host, port)
        try:
            addresses = await asyncio.shield(asked)  # whoever is cancelled leaves it to the others
        except asyncio.CancelledError:
            if asked.cancelled():
                raise OSError("the worker stops") from None
            raise
        for address in addresses:
            self._guard.check_address(address, host, port)
        return addresses

    async def check_own(self, host: str, addresses: list[str], port: int) -> None:
        """In a thread, as names of the coordinator's own parts may have to be looked up. Raises AddressRefused."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._guard.check_own, host, addresses, port)

    def close(self) -> None:
        """Look-ups under way end by themselves; nobody waits for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _remembered(self, host: str, port: int) -> "asyncio.Future[list[str]] | None":
        since, asked = self._asked.get((host, port), (0.0, None))
        if asked is None or not asked.done():
            return asked
        failed = asked.cancelled() or asked.exception() is not None
        return None if failed or asyncio.get_running_loop().time() - since > DNS_TIME else asked

    def _ask(self, host: str, port: int) -> "asyncio.Future[list[str]]":
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, self._resolve, host, port)
        asked.add_done_callback(_heard)
        self._asked[host, port] = loop.time(), asked
        return asked

    def _resolve(self, host: str, port: int) -> list[str]:
        if addresses := list(self._lookup(host, port)):
            return addresses
        raise OSError("the name has no address")


def _heard(asked: "asyncio.Future[list[str]]") -> None:
    """A failure counts as heard even when all who asked have gone."""
    if not asked.cancelled():
        asked.exception()


class Connector:
    """Opens connections to allowed addresses, and to no others."""

    def __init__(self, guard: Guard, lookup: Lookup) -> None:
        """Made inside the running loop."""
        self._guard = guard
        self._names = Names(guard, lookup)
        self._tls = verifying()

    async def connect(self, origin: Origin, protocol: Callable[[], P]) -> P:
        """Connect, and shake hands where TLS is asked for.

        Raises AddressRefused and OSError; `socket` and `ssl` say why. The log alone has the addresses: the error goes to whoever submitted.
        """
        try:
            return await self._connected(origin, protocol)
        except OSError as exc:
            log.info("no connection to %s port %d: %s", origin.host, origin.port, exc)
            raise _nameless(exc) from None

    async def _connected(self, origin: Origin, protocol: Callable[[], P]) -> P:
        host, port = origin.host, origin.port
        # Literal addresses are not resolved; the check in the socket factory is the only one that they meet.
        addresses = [host] if is_literal(host) else await self._names.addresses(host, port)
        if self._guard.watches(port):
            await self._names.check_own(host, addresses, port)
        sock = await start_connection(
            [_info(address, port) for address in addresses],
            happy_eyeballs_delay=NEXT_ADDRESS_TIME,
            socket_factory=partial(self._guard.open_socket, host=host),
        )
        for option in (*GONE, (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)):
            sock.setsockopt(*option)
        tls: dict[str, Any] = {"ssl": self._tls, "server_hostname": host.rstrip(".")} if origin.tls else {}
        _, connection = await asyncio.get_running_loop().create_connection(protocol, sock=sock, **tls)
        return connection

    def close(self) -> None:
        """No more look-ups."""
        self._names.close()


def _nameless(exc: OSError) -> OSError:
    """The same error without the hosts and addresses in its text."""
    if exc.errno is None:
        return type(exc)(_NAMED.sub("", str(exc)))
    if isinstance(exc, ssl.SSLError | socket.gaierror):
        return type(exc)(exc.errno, _NAMED.sub("", exc.strerror or ""))
    return OSError(exc.errno, os.strerror(exc.errno))


def _info(address: str, port: int) -> tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)


@cache
def verifying() -> ssl.SSLContext:
    """TLS as it should be: the machine's certificate authorities, names checked. Reading those takes 0.1 s, so once a process."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
