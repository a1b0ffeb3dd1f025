"""kombu's Redis transport, cured of three faults. aitbc.worker.batch builds on it; aitbc.worker.broker chooses.

Cured, as subclasses (kombu 5.7.0):
- A Redis that goes away while messages are unacknowledged ended the worker ("'NoneType' object has no attribute 'hostname'"):
  kombu restores them through a connection that is gone. They stay recorded in Redis instead.
- So did what Redis answers while it is full, becomes a replica or cannot write its disk: these are errors of the connection here, after
  which the worker tries again; and a full Redis stops no job that can be taken from it.
- The acknowledgement of a job that ends after its channel is lost was lost with it, and the job came again when the visibility
  timeout (1 h) was over. It is kept and sent by the next channel: a delivery tag is good on any.

And cheaper: kombu builds a client object for each command that it sends; here a channel keeps one.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from celery.utils.log import get_logger
from kombu.transport import redis as stock
from kombu.transport import virtual
from redis.exceptions import OutOfMemoryError, ResponseError

logger = get_logger(__name__)

# OOM, READONLY, MISCONF, UNBLOCKED and the like: kombu lets them end the worker.
CONNECTION_ERRORS = (*stock.Transport.connection_errors, ResponseError)

# Delivery tags of finished jobs whose channel was gone. They are unique over all channels and brokers, so one set is enough.
late: set[str] = set()


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
        if late and not self._gone():
            tags = list(late)
            with self.channel.conn_or_acquire() as client, client.pipeline() as pipe:
                pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
            late.difference_update(tags)
            logger.info("Acknowledged jobs that ended while the broker was away: %d", len(tags))
        self.away = False

    def _later(self, delivery_tag: str) -> None:
        late.add(delivery_tag)
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
    pool: Any
    _create_client: Any
    _closing: bool
    _pooled: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """The client given, or this channel's own, which takes a connection of the pool for each command."""
        if client is None:
            if self._pooled is None or self._pooled.connection_pool is not self.pool:  # a fork or an outage has made another pool
                self._pooled = self._create_client()
            client = self._pooled
        yield client

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

    Channel: Any = SentinelChannel
    connection_errors = CONNECTION_ERRORS
