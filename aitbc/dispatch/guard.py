"""Which addresses may be called: public ones, and of the others those inside AITBC_ALLOW_AGENT_CIDRS or of AITBC_ALLOW_AGENT_HOSTS.

Checked twice: at registration, for a clear answer to who made the mistake, and at every connect, because a name's addresses change.
Link-local IPv6 addresses need an interface, which URLs here cannot name: they cannot be called, listed or not.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from re import ASCII
from re import compile as pattern
from typing import NamedTuple

from yarl import URL

from aitbc.dispatch.address import is_literal, unwrapped
from aitbc.dispatch.own import Lookup, Own, Target, of_settings, system_lookup
from aitbc.errors import AddressRefused, Misconfigured
from aitbc.settings import Settings

SETTING, HOSTS_SETTING, DENY_SETTING = "AITBC_ALLOW_AGENT_CIDRS", "AITBC_ALLOW_AGENT_HOSTS", "AITBC_DENY_AGENT_CIDRS"
LOOKUP_TIME = 2.0
"""Seconds that registration waits for a name's addresses."""
LOOKUPS = 4
"""At once. One whose server is silent goes on for half a minute, and gevent has ten threads for all look-ups, those of Redis's name too."""
MOST_URL = 2048
"""Characters of an endpoint URL."""

_METADATA_V4 = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.42.42", "100.100.100.200", "192.0.0.192", "168.63.129.16")
_METADATA_V6 = ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42")
METADATA = frozenset(map(ip_address, (*_METADATA_V4, *_METADATA_V6)))
"""Addresses where clouds hand out credentials: refused even inside a listed range. Azure's 168.63.129.16 would be public."""

# Python's is_global (3.11) says yes to all of these and to multicast; newer ones to some.
_NOT_PUBLIC_V4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "198.18.0.0/15", "240.0.0.0/4")))
# Inside 2000::/3: IETF protocols with Teredo and ORCHID, 6to4, documentation.
_NOT_PUBLIC_V6 = tuple(map(IPv6Network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))
_UNICAST_V6 = IPv6Network("2000::/3")
"""All that is assigned as global unicast; NAT64, fec0::/10, ::/96, 5f00::/16 and multicast lie outside."""
_ENDS_IN_V4 = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""NAT64, IPv4-compatible and -translated addresses: a gateway sends what is for them to the IPv4 address in their last 32 bits."""

_HOST = pattern(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", ASCII)
_NUMBER = pattern(r"[0-9]+|0[xX][0-9A-Fa-f]*", ASCII)
_UNPRINTABLE = pattern(r"[\x00-\x20\x7f\\]")

log = logging.getLogger(__name__)


class Host(NamedTuple):
    """An entry of AITBC_ALLOW_AGENT_HOSTS. `name`: begins with a dot when it stands for every name that ends so; `port`: None = all."""

    name: str
    port: int | None

    def covers(self, host: str, port: int) -> bool:
        """Whether this is one that it means."""
        return self.port in {None, port} and (host.endswith(self.name) if self.name.startswith(".") else host == self.name)


class Guard:
    """The rule, for one set of lists. For agents and for callback urls alike: `check_url` when one is given, a `Connector` to call it."""

    def __init__(
        self,
        cidrs: Sequence[str],
        lookup: "Lookup | None" = None,
        *,
        hosts: Sequence[str] = (),
        denied: Sequence[str] = (),
        own: Sequence[Target] = (),
    ) -> None:
        """`cidrs`: ranges that are allowed although not public; `lookup`: how names are resolved at registration.

        `hosts`: `name`, `*.suffix`, each with or without `:port`, allowed wherever they are; `denied`: ranges that never are; `own`: host
        and port of what the coordinator itself consists of, refused unless `hosts` has it with its port.  Raises Misconfigured naming the
        setting.
        """
        self._allowed = tuple(_network(text, SETTING) for text in cidrs)
        self._denied = tuple(_network(text, DENY_SETTING) for text in denied)
        self._hosts = tuple(map(_host, hosts))
        self._lookup = lookup or system_lookup
        self._own = Own(own, self._lookup)
        self._looking = threading.BoundedSemaphore(LOOKUPS)

    @classmethod
    def of(cls, settings: Settings, lookup: "Lookup | None" = None) -> "Guard":
        """As the settings say, which is logged: it is what stands open. Raises Misconfigured."""
        cidrs, hosts, denied = settings.agent_cidrs, settings.agent_hosts, settings.denied_agent_cidrs
        guard = cls(cidrs, lookup, hosts=hosts, denied=denied, own=of_settings(settings))
        opened = ", ".join((*cidrs, *hosts)) or "nothing else"
        log.info("agents are called at public addresses and at: %s; never in: %s", opened, ", ".join(denied) or "no listed range")
        return guard

    def check_address(self, text: str, host: str = "", port: int = 0) -> None:
        """Let an address pass, or raise AddressRefused, which names `host` alone, if given: the address that it led to goes to the log.

        `port`: where it is to be called, if known.
        """
        try:
            address = unwrapped(ip_address(text))
        except ValueError:
            raise AddressRefused("not an IP address", host or repr(text[:80])) from None
        if why := self._refusal(address, host or text, port):
            if not host or host == text:
                raise AddressRefused(why, str(address))
            log.info("%s has the address %s, which is refused: %s", host, address, why)
            raise AddressRefused(why, host)

    def _refusal(self, address: IPv4Address | IPv6Address, host: str, port: int) -> str:
        """Why it may not be called; empty: it may."""
        for reached in _reached(address):
            if reached in METADATA:
                return f"a cloud's metadata address, refused even inside {SETTING}"
            if any(reached in network for network in self._denied):
                return f"inside {DENY_SETTING}, which no other setting opens"
        if is_public(address) or any(address in network for network in self._allowed) or self._named(host, port):
            return ""
        return f"neither public nor inside {SETTING}; a range listed there is allowed"

    def check_url(self, url: str) -> None:
        """Check an endpoint before it is registered; waits at most 2 s for its name.

        A name that does not resolve (yet) passes: every connect checks again. Raises AddressRefused.
        """
        parsed = parse_url(url)
        host, port = parsed.raw_host or "", parsed.port or 0
        addresses = [host] if is_literal(host) else self._resolved(host, port)
        for address in addresses:
            self.check_address(address, host, port)
        if self.watches(port):
            self.check_own(host, addresses, port)

    def watches(self, port: int) -> bool:
        """Whether anything of the coordinator has this port, so that `check_own` is needed."""
        return port in self._own.ports

    def check_own(self, host: str, addresses: Sequence[str], port: int) -> None:
        """Refuse the coordinator's own ports; blocks while names are looked up. Raises AddressRefused."""
        if self._named(host, port, exactly=True):
            return
        reached = (each for text in addresses for each in _reached(unwrapped(ip_address(text))))
        if self._own.named(host, port) or any(self._own.at(address, port) for address in reached):
            why = f"a port of the coordinator itself (API, Flower, Redis or broker), refused unless {HOSTS_SETTING} lists it as host:port"
            raise AddressRefused(why, f"{host} port {port}")

    def _named(self, host: str, port: int, *, exactly: bool = False) -> bool:
        name = host.lower().removesuffix(".")
        return any(entry.covers(name, port) for entry in self._hosts if entry.port is not None or not exactly)

    def open_socket(self, info: tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]], host: str = "") -> socket.socket:
        """A socket for exactly this address: the last check before a connect, and the only one that literal addresses meet there.

        `host`: as above. Raises AddressRefused.
        """
        family, kind, proto, _, address = info
        self.check_address(address[0], host, address[1])
        return socket.socket(family, kind, proto)

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        """A thread bounds the wait: getaddrinfo has no timeout. Under gevent both are patched, and the wait is a greenlet's."""
        found: list[str] = []
        ends = time.monotonic() + LOOKUP_TIME
        if not self._looking.acquire(timeout=LOOKUP_TIME):
            return ()

        def look() -> None:
            try:
                found.extend(self._lookup(host, port))
            except OSError:
                return
            finally:
                self._looking.release()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(max(0.0, ends - time.monotonic()))
        return tuple(found)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """A public unicast address, by an explicit list: `is_global` alone lets NAT64, 6to4 and multicast through."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC_V4)
    return address.is_global and address in _UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


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
    host = url.raw_host or ""
    if not port or not _is_host(host) or ("[" in text.partition("//")[2].partition("/")[0] and not is_literal(host)):
        raise AddressRefused("an endpoint URL needs a host (a name, a.b.c.d or [IPv6]) and, if it has one, a port from 1 to 65535")
    return url


def _is_host(host: str) -> bool:
    """A name or a canonical address; not `127.1`, `0x7f000001` and the like, which resolvers read as addresses."""
    if is_literal(host):
        return "%" not in host
    last = host.rstrip(".").rpartition(".")[2]
    return len(host) <= 253 and ".." not in host and bool(_HOST.fullmatch(host)) and not _NUMBER.fullmatch(last)


def _network(text: str, setting: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as exc:
        raise Misconfigured(f"{setting}: {exc}; needed are ranges like 10.0.0.0/8 or fd00::/8, comma-separated") from None


def _host(text: str) -> Host:
    wild = text.startswith("*.")
    try:
        url = parse_url("http://" + text.removeprefix("*."))
    except AddressRefused:
        url = URL("http://none/")
    host = (url.raw_host or "").removesuffix(".")
    if url.raw_path_qs != "/" or text.endswith("/") or (wild and is_literal(host)) or url.host == "none":
        raise Misconfigured(
            f"{HOSTS_SETTING}: {text[:80]!r}; needed are names like agent.example or *.agents.example, each with or without :port,"
            " comma-separated"
        )
    return Host("." * wild + host, url.explicit_port)


def _reached(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Where a call of this may end: there, and where gateways and tunnels would send it."""
    yield address
    if isinstance(address, IPv4Address):
        return
    if any(address in network for network in _ENDS_IN_V4):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()
