"""Which addresses may be called: public ones, and of the others those inside AITBC_ALLOW_AGENT_CIDRS.

Checked twice: at registration, for a clear answer to who made the mistake, and at every connect, because a name's addresses change.
Link-local IPv6 addresses need an interface, which URLs here cannot name: they cannot be called, listed or not.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from re import ASCII
from re import compile as pattern

from yarl import URL

from aitbc.errors import AddressRefused, Misconfigured

SETTING = "AITBC_ALLOW_AGENT_CIDRS"
LOOKUP_TIME = 2.0
"""Seconds that registration waits for a name's addresses."""
MOST_URL = 2048
"""Characters of an endpoint URL."""

Lookup = Callable[[str, int], Sequence[str]]
"""Name and port → its addresses, blocking. Raises OSError when there are none."""

METADATA = frozenset(map(ip_address, ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
"""Addresses where clouds hand out credentials: refused even inside a listed range."""

# Python's is_global (3.11) says yes to all of these and to multicast; newer ones to some.
_NOT_PUBLIC_V4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "198.18.0.0/15", "240.0.0.0/4")))
# Inside 2000::/3: IETF protocols with Teredo and ORCHID, 6to4, documentation.
_NOT_PUBLIC_V6 = tuple(map(IPv6Network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))
_UNICAST_V6 = IPv6Network("2000::/3")
"""All that is assigned as global unicast; NAT64, fec0::/10, ::/96, 5f00::/16 and multicast lie outside."""
_NAT64 = IPv6Network("64:ff9b::/96")

_HOST = pattern(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", ASCII)
_NUMBER = pattern(r"[0-9]+|0[xX][0-9A-Fa-f]*", ASCII)
_UNPRINTABLE = pattern(r"[\x00-\x20\x7f\\]")


class Guard:
    """The rule, for one list of ranges."""

    def __init__(self, cidrs: Sequence[str], lookup: "Lookup | None" = None) -> None:
        """`cidrs`: ranges that are allowed although not public; `lookup`: how names are resolved at registration.

        Raises Misconfigured naming the setting.
        """
        self._allowed = tuple(map(_network, cidrs))
        self._lookup = lookup or system_lookup

    def check_address(self, text: str, host: str = "") -> None:
        """Let an address pass, or raise AddressRefused. `host`: the name that led to it, for the message."""
        try:
            address = _unwrapped(ip_address(text))
        except ValueError:
            raise AddressRefused(f"{text[:80]!r} is not an IP address") from None
        shown = f"{host} has the address {address}" if host and host != text else f"{address}"
        if address in METADATA or _embedded(address) in METADATA:
            raise AddressRefused(f"{shown}: a cloud's metadata address, refused even inside {SETTING}")
        if not (is_public(address) or any(address in network for network in self._allowed)):
            raise AddressRefused(f"{shown}: neither public nor inside {SETTING}; a range listed there is allowed")

    def check_url(self, url: str) -> None:
        """Check an endpoint before it is registered; waits at most 2 s for its name.

        A name that does not resolve (yet) passes: every connect checks again. Raises AddressRefused.
        """
        parsed = parse_url(url)
        host, port = parsed.raw_host or "", parsed.port or 0
        for address in [host] if is_literal(host) else self._resolved(host, port):
            self.check_address(address, host)

    def open_socket(self, info: tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]) -> socket.socket:
        """A socket for exactly this address: the last check before a connect, and the only one that literal addresses meet there.

        Raises AddressRefused.
        """
        family, kind, proto, _, address = info
        self.check_address(address[0])
        return socket.socket(family, kind, proto)

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        """A thread bounds the wait: getaddrinfo has no timeout. Under gevent both are patched, and the wait is a greenlet's."""
        found: list[str] = []

        def look() -> None:
            try:
                found.extend(self._lookup(host, port))
            except OSError:
                return

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(LOOKUP_TIME)
        return tuple(found)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """A public unicast address, by an explicit list: `is_global` alone lets NAT64, 6to4 and multicast through."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC_V4)
    return address.is_global and address in _UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def is_literal(host: str) -> bool:
    """An IP address in its canonical form, rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def parse_url(text: str) -> URL:
    """Read an endpoint URL, with the parser that also makes the call: no two readings of one text.

    Raises AddressRefused saying what is allowed. The text itself is not repeated: it may hold a password.
    """
    if len(text) > MOST_URL or _UNPRINTABLE.search(text):
        raise AddressRefused(f"an endpoint URL has at most {MOST_URL} characters and no blanks, control characters or backslashes")
    try:
        url = URL(text)
        port = url.port
    except ValueError as exc:
        raise AddressRefused("the endpoint URL is malformed") from exc
    if url.scheme not in {"http", "https"}:
        raise AddressRefused("an endpoint URL begins with http:// or https://")
    if url.raw_user is not None or url.raw_password is not None or "#" in text:
        raise AddressRefused("an endpoint URL carries no user name, password or fragment")
    if not port or not _is_host(url.raw_host or ""):
        raise AddressRefused("an endpoint URL needs a host (a name, a.b.c.d or [IPv6]) and, if it has one, a port from 1 to 65535")
    return url


def _is_host(host: str) -> bool:
    """A name or a canonical address; not `127.1`, `0x7f000001` and the like, which resolvers read as addresses."""
    if is_literal(host):
        return "%" not in host
    last = host.rstrip(".").rpartition(".")[2]
    return len(host) <= 253 and bool(_HOST.fullmatch(host)) and not _NUMBER.fullmatch(last)


def system_lookup(host: str, port: int) -> list[str]:
    """The operating system's resolver. Raises OSError."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError as exc:  # a label over 63 characters
        raise OSError(f"{host} is not a host name") from exc
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as exc:
        raise Misconfigured(f"{SETTING}: {exc}; needed are ranges like 10.0.0.0/8 or fd00::/8, comma-separated") from None


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside ::ffff:a.b.c.d, which is where such a connect goes."""
    return getattr(address, "ipv4_mapped", None) or address


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Where a NAT64 gateway would send this."""
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
