"""kombu's Redis transport, reading and acknowledging in batches: keys, messages and recovery stay kombu's, so that both can share queues.

Stock takes three round trips a job, each with the worker's only thread waiting: BRPOP, the record in `unacked`, the acknowledgement.
Here one script, sent on the connection that kombu polls and answered while coroutines run, removes acknowledged jobs from `unacked`,
pops what there is room for in the queues' order, and records it: one atomic step for up to 64 jobs.  While it finds jobs the next read
is the script again; when it finds none, a plain BRPOP waits.

    BRPOP answers       the job is delivered at once; the script records it and looks for more behind it
    the script answers  what it popped is delivered; it was recorded in the same step
    a job ends          its acknowledgement rides on the next read, within 0.1 s: BRPOP waits no longer while jobs are in flight

A worker that dies between BRPOP's answer and the script loses a job that it may have begun, as stock loses one between BRPOP and its
record; here the ledger's sweep makes it good.
"""

import json
import re
import select
from contextlib import suppress
from queue import Empty
from time import monotonic, time
from typing import Any

from celery.utils.log import get_logger
from kombu.transport import redis as stock
from redis.exceptions import NoScriptError

from aitbc.worker import transport as cured
from aitbc.worker.batchqos import BATCH, PATIENCE, QoS
from aitbc.worker.message import Message, envelope_of
from aitbc.worker.readscript import READ, SHA

logger = get_logger(__name__)

LOOKS_LIKE_TAG = re.compile(rb'"delivery_tag": ?"([^"\\]+)"')
# Seconds that an answer is waited for where the options set no socket_timeout.
LONGEST_SILENCE = 5.0
# BRPOP waits so long (seconds) while jobs are in flight: their acknowledgements ride on the read after it.
ACK_WITHIN = 0.1


class Channel(cured.Channel):
    """The Redis channel that reads with the script."""

    QoS, Message = QoS, Message
    qos: Any
    _qos: Any
    _fanout_queues: Any
    _flush_brpop_reauth: Any
    _q_for_pri: Any
    _queue_cycle: Any
    reading = ""  # the command that is under way: BRPOP, EVALSHA or none
    read_at = 0.0  # monotonic seconds of the last start of a read
    recorded = False  # what is being delivered stands in `unacked`, or will: the script is on its way
    _more = True  # the last script found something: ask again before waiting
    _tag_to_queue: Any
    _brpop_sent_at: float
    _in_poll: Any
    _asked: tuple[Any, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are kombu's."""
        self._no_ack: set[Any] = set()  # queues whose consumers never acknowledge
        super().__init__(*args, **kwargs)

    @property
    def plain(self) -> bool:
        """Reads as stock while a consumer never acknowledges: nothing of it may stand in `unacked`.

        Replies to `inspect` are read so; a worker's own question to the others, at its start, on the channel of its jobs.
        """
        return bool(self._no_ack)

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        """Consume from a queue."""
        if no_ack and queue not in self._fanout_queues:
            self._no_ack.add(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _basic_cancel(self, consumer_tag: str) -> Any:
        self._no_ack.discard(self._tag_to_queue.get(consumer_tag))
        return super()._basic_cancel(consumer_tag)  # type: ignore[misc]  # not in the stubs

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Begin a read: the script while there is more, else BRPOP."""
        if not self.active_queues:
            return
        self.read_at = monotonic()
        if not self.plain and (self._more or self.qos.acks):
            self._ask()
        else:
            self.reading = "BRPOP"
            super()._brpop_start(ACK_WITHIN if self.qos.in_flight() else timeout)  # type: ignore[misc]  # as above

    def _ask(self, item: bytes = b"", queue: str = "") -> None:
        """Send the script; `item` is what BRPOP popped from `queue` before it."""
        qos = self.qos
        room = min(BATCH, qos.free() - bool(item))
        names = [(name, step) for step in self.priority_steps for name in self._queue_cycle.consume(len(self.active_queues))]
        keys = [self.unacked_key, self.unacked_index_key, *(self._q_for_pri(*name) for name in names)]
        quoted = [json.dumps(name) for name, _ in names]
        qos.unsure, qos.acks = qos.acks, []
        self._asked = (
            *(len(keys), *(f"{self.global_keyprefix}{key}" for key in keys)),
            *(room, time(), item, json.dumps(queue), *quoted, *qos.unsure),
        )
        self._names = [name for name, _ in names]
        self._send("EVALSHA", SHA)

    def _send(self, command: str, script: str) -> None:
        self.reading, self._in_poll, self._brpop_sent_at = "EVALSHA", self.client.connection, monotonic()
        self.client.connection.send_command(command, script, *self._asked)

    def _brpop_read(self, **options: Any) -> bool:
        """Take the answer of the read that is under way. Raises Empty when it brought nothing."""
        if self.plain and self.reading == "BRPOP":
            self.reading = ""
            return bool(super()._brpop_read(**options))  # type: ignore[misc]  # as above
        try:
            return self._take_popped(**options) if self.reading == "BRPOP" else self._take_batch(**options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise

    def _take_popped(self, **options: Any) -> bool:
        """One message, popped and not recorded: the script records it while it is being delivered."""
        self._in_poll, self.reading = None, ""
        popped = self.client.parse_response(self.client.connection, "BRPOP", **options)
        self._flush_brpop_reauth()
        if not popped:
            raise Empty
        self._more = True
        queue = popped[0].decode().rsplit(self.sep, 1)[0]
        try:
            self._ask(popped[1], queue)
        finally:  # it is this worker's already
            self._deliver_all([(queue, popped[1])])
        return True

    def _take_batch(self, **options: Any) -> bool:
        """What the script popped and recorded."""
        try:
            answer = self.client.parse_response(self.client.connection, "EVALSHA", **options)
        except NoScriptError:
            self._send("EVAL", READ)
            return True
        self._in_poll, self.reading, self.qos.unsure = None, "", []
        self._flush_brpop_reauth()
        self._more = bool(answer)
        if not answer:
            raise Empty
        pairs = zip(answer[::2], answer[1::2], strict=True)
        self._deliver_all([(self._names[position - 1], message) for position, message in pairs])
        return True

    def give_up_if_overdue(self) -> None:
        """A frozen host, or a connection that is cut in silence: kombu's own check needs 10 to 20 s to see it."""
        waited, link = monotonic() - self._brpop_sent_at, self._in_poll
        most = (self.socket_timeout or LONGEST_SILENCE) + (self.brpop_timeout if self.reading == "BRPOP" else 0)
        if waited > most and link and not _readable(link):
            logger.warning("The broker owes an answer for %.0f s: its connection is made anew", waited)
            link.disconnect()

    def _on_connection_disconnect(self, connection: Any) -> None:
        """A connection of this channel was closed, by whoever found it broken."""
        if self._in_poll is connection:
            self.reading = ""
            if self._qos is not None:
                self._qos.postpone()
        super()._on_connection_disconnect(connection)  # type: ignore[misc]  # as above

    def _deliver_all(self, messages: list[tuple[str, bytes]]) -> None:
        """Deliver, each whatever becomes of the others: all of them are taken from their queues."""
        self.recorded, error = True, None
        try:
            for queue, text in messages:
                try:
                    self._deliver(queue, text)
                except Exception as exc:  # noqa: BLE001  raised below
                    error = error or exc
        finally:
            self.recorded = False
        if error:
            raise error

    def _deliver(self, queue: str, text: bytes) -> None:
        envelope = envelope_of(text)
        if envelope is None:
            logger.error("Dropped what is no message from queue %s: %.200r", queue, text)
            self.qos.acks += [tag.decode() for tag in LOOKS_LIKE_TAG.findall(text)[-1:]]  # under which the script has recorded it
        else:
            self.connection._deliver(envelope, queue)  # noqa: SLF001  as kombu's own channel does
        self._queue_cycle.rotate(queue)

    def close(self) -> None:
        """Close; the answer of a read that is under way is taken first, its messages go back with all that are not acknowledged."""
        self._closing = True
        with suppress(Empty, *self.connection_errors):
            if self.reading == "BRPOP" and not self.plain:
                self._push_back()
            elif self.reading == "EVALSHA":
                self._take_batch()
        if self._qos is not None and not self.plain:
            self._qos.flush()
        super().close()

    def _push_back(self) -> None:
        """What BRPOP answers now was popped and not recorded: it goes back to where it was."""
        popped = self.client.parse_response(self.client.connection, "BRPOP")
        self._in_poll, self.reading = None, ""
        if popped:
            with self.conn_or_acquire() as client:
                client.rpush(*popped)


def _readable(link: Any) -> bool:
    """Whether an answer waits in the socket; the connection's own can_read would take it out, unseen by the hub."""
    poller = select.poll()
    poller.register(link._sock, select.POLLIN)  # noqa: SLF001  redis-py shows it nowhere
    return bool(poller.poll(0))


class _Polled:
    """What both transports add to the hub."""

    cycle: Any
    Channel: Any

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Let few free places be used, and acknowledgements leave when nothing is read any more."""
        super().register_with_event_loop(connection, loop)  # type: ignore[misc]  # a mix-in
        # Pools other than ours have kombu's poller: there the hub's own turn, a second at most, has to do.
        turn_within = getattr(loop.poller, "turn_within", lambda _seconds: None)

        def tick() -> None:
            for channel in self.cycle._channels:  # noqa: SLF001  kombu keeps no other list
                if channel.reading:
                    channel.give_up_if_overdue()
                if channel.plain or channel.reading:
                    continue
                if channel.active_queues and channel.qos.free():
                    turn_within(PATIENCE)
                elif channel.qos.acks:  # its consumers are cancelled: the worker is stopping, and reads no more
                    channel.qos.flush()

        loop.on_tick.add(tick)


class Transport(_Polled, cured.Transport):
    """redis:// and rediss://."""

    Channel = Channel


class SentinelChannel(Channel, stock.SentinelChannel):
    """The Sentinel channel that reads with the script."""


class SentinelTransport(_Polled, cured.SentinelTransport):
    """sentinel://."""

    Channel = SentinelChannel
