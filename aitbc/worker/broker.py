"""Which transport serves a Redis broker, and its options, and why they are so.

`register()` makes this process serve redis://, rediss:// and sentinel:// with ours, through kombu's table of aliases: URLs stay stock, so
Flower and `celery inspect` understand them, and a failover, which resolves the scheme anew, stays with us (a class named in
`broker_transport` is forgotten then, and makes rediss:// skip TLS).
"""

import socket
from typing import Any
from urllib.parse import quote, urlsplit

from kombu.transport import TRANSPORT_ALIASES, get_transport_cls
from kombu.utils.imports import symbol_by_name

CLASSES = {
    "batch": {"redis": "batch:Transport", "rediss": "batch:Transport", "sentinel": "batch:SentinelTransport"},
    "stock": {"redis": "transport:Transport", "rediss": "transport:Transport", "sentinel": "transport:SentinelTransport"},
}
"""Name of a transport -> URL scheme -> module of this room and class."""

TRANSPORT_OPTIONS: dict[str, Any] = {
    # Serve queues in the order in which they are declared, each until it is empty; kombu's default takes turns.
    "queue_order_strategy": "priority",
    # One Redis list a queue: ours are split by priority already, and kombu's four steps each would make every BRPOP four times as long.
    "priority_steps": [0],
    # kombu's 10 makes acknowledgements and publishes of gevent processes fail with no outage at all: at least twice their concurrency.
    "max_connections": 2000,
    # Seconds. A Redis that accepts and never answers holds the worker's only thread for so long; BRPOP waits in epoll, not here.
    "socket_timeout": 2,
    # Seconds. A host that does not answer at all.
    "socket_connect_timeout": 2,
    # A cut network is noticed in 10 to 20 s (TCP_USER_TIMEOUT, ms, for what was sent; probes for what is awaited); the kernel's own
    # limits are 15 minutes and more.
    "socket_keepalive": True,
    "socket_keepalive_options": {socket.TCP_USER_TIMEOUT: 10_000, socket.TCP_KEEPIDLE: 4, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3},
    # Seconds between kombu's own checks of the connections that wait for messages.
    "health_check_interval": 10,
    # Seconds after which a message that nobody acknowledged is delivered again. Longer jobs are delivered twice: the body must bear it.
    "visibility_timeout": 3600,
}


def register(transport: str) -> None:
    """Serve redis://, rediss:// and sentinel:// in this process: `batch`, or `stock` (kombu's own way, cured; see aitbc.worker.transport).

    Once, before the first connection; repeats are harmless.
    Raises KeyError for another name, RuntimeError when kombu has given out another class already: it would go on being used.
    """
    for scheme, place in CLASSES[transport].items():
        path = f"aitbc.worker.{place}"
        TRANSPORT_ALIASES[scheme] = path
        if get_transport_cls(scheme) is not symbol_by_name(path):
            raise RuntimeError(f"register() must be called before the first {scheme}:// connection of the process")


def broker_of(url: str) -> tuple[str, dict[str, Any]]:
    """Return Celery's broker URL and transport options for a Redis URL.

    `sentinel://[user:password@]h1:p,h2:p/MASTER[/db]` becomes kombu's list of sentinels with `master_name`; user and password are
    those of the master; port 26379 and db 0 unless given. Any other URL is returned as it is.
    Raises ValueError for a sentinel URL without hosts or without a master's name.
    """
    if not url.startswith("sentinel://"):
        return url, dict(TRANSPORT_OPTIONS)
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    master, _, db = parts.path.strip("/").partition("/")
    if not master or not all(hosts.split(",")) or not (db or "0").isdigit():
        raise ValueError(f"{parts.scheme}://{hosts}{parts.path}: must be sentinel://host:port,host:port/MASTER/db")
    prefix = f"{login}@" if login else ""
    nodes = [urlsplit(f"//{host}") for host in hosts.split(",")]
    names = [f"[{node.hostname}]" if ":" in (node.hostname or "") else quote(node.hostname or "") for node in nodes]
    urls = [f"sentinel://{prefix}{name}:{node.port or 26379}/{db or 0}" for name, node in zip(names, nodes, strict=True)]
    # Bounds towards the sentinels themselves, which kombu does not pass on; without `retry` redis-py asks a dead one eleven times.
    limits = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": None}
    return ";".join(urls), {**TRANSPORT_OPTIONS, "master_name": master, "sentinel_kwargs": limits}
