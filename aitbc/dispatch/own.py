"""What the coordinator itself consists of: nobody may have it called through an agent's endpoint or a callback url."""

import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from aitbc.dispatch.address import is_literal, unwrapped
from aitbc.settings import Settings

Lookup = Callable[[str, int], Sequence[str]]
"""Name and port → its addresses, blocking. Raises OSError when there are none."""

_EVERYWHERE = {"", "0.0.0.0", "::"}
_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "amqp": 5672, "pyamqp": 5672, "amqps": 5671, "http": 80, "https": 443}


class Target(NamedTuple):
    """A host and its port. `by_name`: another name at the same address is somebody else, as behind one proxy for many."""

    host: str
    port: int
    by_name: bool = False


class Own:
    """Hosts and ports. Names are looked up when asked about, because addresses change; the last known ones stay when that fails."""

    def __init__(self, targets: Sequence[Target], lookup: Lookup) -> None:
        """`lookup`: how names are resolved."""
        self._lookup = lookup
        self._targets: dict[int, list[Target]] = {}
        self._known: dict[tuple[str, int], list[str]] = {}
        for target in targets:
            self._targets.setdefault(target.port, []).append(target)
        self.ports = frozenset(self._targets)

    def named(self, host: str, port: int) -> bool:
        """Whether a call of `host` is one of them by its name alone."""
        return any(own.host == host.lower().removesuffix(".") for own in self._targets.get(port, ()))

    def at(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Whether a call of an address would meet one of them.

        Blocks for look-ups. This machine is one target, whichever of its addresses is used.
        """
        here = _is_here(address)
        known = (known for own in self._targets.get(port, ()) for known in self._addresses(own))
        return any(address == other or (here and _is_here(other)) for other in known)

    def _addresses(self, target: Target) -> Iterator[IPv4Address | IPv6Address]:
        host, port, by_name = target
        if by_name and not is_literal(host):
            return
        try:
            found = [host] if is_literal(host) else list(self._lookup(host, port))
        except OSError:
            found = []
        if found:
            self._known[host, port] = found
        for text in self._known.get((host, port), ()):
            yield unwrapped(ip_address(text))


def of_settings(settings: Settings) -> list[Target]:
    """Host and port of the API, Flower, Redis (its Sentinels) and the broker. A master behind Sentinel is not known here."""
    listens = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    urls = [settings.redis_url, *settings.broker_url.split(";")]
    targets = [
        Target(listens, settings.port),
        Target("127.0.0.1", settings.flower_port),
        *(Target(*at) for url in urls for at in _of_url(url)),
    ]
    targets += [Target(host, port, by_name=True) for host, port in _of_url(settings.public_url)]
    return [target for target in dict.fromkeys(targets) if target.host and target.port]


def system_lookup(host: str, port: int) -> list[str]:
    """The operating system's resolver. Raises OSError."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError as exc:  # a label over 63 characters
        raise OSError("that is not a host name") from exc
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _of_url(url: str) -> Iterator[tuple[str, int]]:
    scheme, _, rest = url.partition("://")
    for place in rest.partition("/")[0].rpartition("@")[2].split(","):
        try:
            split = urlsplit(f"//{place}")
            yield (split.hostname or "").removesuffix("."), split.port or _PORTS.get(scheme.lower(), 0)
        except ValueError:
            continue  # who connects to it says what is wrong with it


def _is_here(address: IPv4Address | IPv6Address) -> bool:
    """An address of this machine: it can be bound, and nothing is sent for that. `0.0.0.0` and `::` are, for a connect."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
