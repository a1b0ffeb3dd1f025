"""kombu's Redis transport, cured of three faults; its options, and why they are so.

`register()` makes this process serve redis://, rediss:// and sentinel:// with the classes below, through kombu's table of aliases:
URLs stay stock, so Flower and `celery inspect` understand them, and a failover, which resolves the scheme anew, stays with us
(a class named in `broker_transport` is forgotten then, and makes rediss:// skip TLS).

Cured, as subclasses (kombu 5.7.0):
- A Redis that goes away while messages are unacknowledged ended the worker ("'NoneType' object has no attribute 'hostname'"):
  kombu restores them through a connection that is gone. They stay recorded in Redis instead.
- So did what Redis answers while it is full, becomes a replica or cannot write its disk: these are errors of the connection here, after
  which the worker tries again; and a full Redis stops no job that can be taken from it.
- The acknowledgement of a job that ends after its channel is lost was lost with it, and the job came again when the visibility
  timeout (1 h) was over. It is kept and sent by the next channel: a delivery tag is good on any.

A batch transport (batchredis://) will be a subclass of `Channel` and `Transport` in a file beside this one, registered here.
"""

import socket
import weakref
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from celery.utils.log import get_logger
from kombu.transport import TRANSPORT_ALIASES, get_transport_cls, virtual
from kombu.transport import redis as stock
from redis.exceptions import OutOfMemoryError, ResponseError

logger = get_logger(__name__)

TRANSPORT = "aitbc.worker.transport:Transport"
SENTINEL_TRANSPORT = "aitbc.worker.transport:SentinelTransport"

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

# OOM, READONLY, MISCONF, UNBLOCKED and the like: kombu lets them end the worker.
CONNECTION_ERRORS = (*stock.Transport.connection_errors, ResponseError)

# Delivery tags of finished jobs whose channel was gone. They are unique over all channels and brokers, so one set is enough.
_late: set[str] = set()


class QoS(stock.QoS):
    """Which messages are delivered and not yet acknowledged."""

    channel: Any
    _delivered: Any
    away = False  # an acknowledgement failed: do not let each of the others wait for the same dead host
    newest: ClassVar["weakref.ref[QoS] | None"] = None  # that of the channel which consumes now

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a message as taken. A full Redis cannot: then it is delivered all the same, and would be lost with this worker."""
        try:
            super().append(message, delivery_tag)
        except OutOfMemoryError:
            virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge, now or as soon as there is a connection again. Never raises for a lost one."""
        if self.away or self._gone():
            self._later(delivery_tag)
            return
        try:
            super().ack(delivery_tag)
        except self.channel.connection_errors as error:
            self._later(delivery_tag)
            self.failed(error)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject. Through a lost connection nothing can be given back: the message stays recorded and comes again."""
        if self._gone():
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().reject(delivery_tag, requeue=requeue)

    def restore_unacked(self, client: Any = None) -> Any:
        """Give unacknowledged messages back to their queues, if there is still a connection to do so."""
        if self._gone():
            self._delivered.clear()
            return None
        return super().restore_unacked(client)

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Do the housekeeping: at each (re)connect, then every 10 s (`unacked_restore_interval`). Late acknowledgements go first."""
        QoS.newest = weakref.ref(self)
        self.send_late()
        with suppress(OutOfMemoryError):  # what is to be restored can wait
            super().restore_visible(start=start, num=num, interval=interval)

    def send_late(self) -> None:
        """Send the acknowledgements that could not be sent. Raises a connection error, and keeps them, if they still cannot."""
        if _late and not self._gone():
            tags = list(_late)
            with self.channel.conn_or_acquire() as client, client.pipeline() as pipe:
                pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
            _late.difference_update(tags)
            logger.info("Acknowledged jobs that ended while the broker was away: %d", len(tags))
        self.away = False

    def _later(self, delivery_tag: str) -> None:
        _late.add(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)  # frees its place in the prefetch window
        newest = QoS.newest and QoS.newest()
        if newest and not newest.away:
            try:
                newest.send_late()
            except newest.channel.connection_errors as error:
                newest.failed(error)

    def failed(self, error: BaseException) -> None:
        """Send no acknowledgement through this connection until `restore_visible` has got one through."""
        self.away = True
        logger.warning("The broker is away (%r): finished jobs will be acknowledged when it is back", error)

    def _gone(self) -> bool:
        """The channel is closed, or its connection has been collected: kombu can make no client for it any more."""
        connection = self.channel.connection
        return connection is None or connection.client is None


class Channel(stock.Channel):
    """The Redis channel with the QoS above."""

    QoS = QoS
    connection_errors: tuple[type[BaseException], ...]
    _closing: bool

    def queue_delete(self, *args: Any, **kwargs: Any) -> Any:
        """Delete a queue. While the channel closes its connection may be gone, and the rest must be closed all the same."""
        if not self._closing:
            return super().queue_delete(*args, **kwargs)
        with suppress(*self.connection_errors):
            return super().queue_delete(*args, **kwargs)

    def close(self) -> None:
        """Close, sending first what is late."""
        if not self.closed and isinstance(self._qos, QoS):
            with suppress(*self.connection_errors):
                self._qos.send_late()
        super().close()


class Transport(stock.Transport):
    """redis:// and rediss://."""

    Channel = Channel
    connection_errors = CONNECTION_ERRORS


class SentinelChannel(Channel, stock.SentinelChannel):
    """The Sentinel channel with the same cure."""


class SentinelTransport(stock.SentinelTransport):
    """sentinel://."""

    Channel = SentinelChannel
    connection_errors = CONNECTION_ERRORS


def register() -> None:
    """Serve redis://, rediss:// and sentinel:// with this module in this process. Once, before the first connection; repeats are harmless.

    Raises RuntimeError when kombu has given out one of its own classes already: they would go on being used.
    """
    TRANSPORT_ALIASES.update(redis=TRANSPORT, rediss=TRANSPORT, sentinel=SENTINEL_TRANSPORT)
    classes: dict[str, Any] = {"redis": Transport, "rediss": Transport, "sentinel": SentinelTransport}
    for scheme, ours in classes.items():
        if get_transport_cls(scheme) is not ours:
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
    # The same bounds towards the sentinels themselves, which kombu does not pass on.
    limits = {"socket_timeout": 1, "socket_connect_timeout": 1}
    return ";".join(urls), {**TRANSPORT_OPTIONS, "master_name": master, "sentinel_kwargs": limits}
