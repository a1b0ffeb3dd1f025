"""Which messages the batch transport has delivered, when it reads again, and how it acknowledges."""

from time import monotonic
from typing import Any

from kombu.transport import virtual

from aitbc.worker import transport as cured

# Jobs in one script: beyond, the worker's own loop is held up more than the round trip costs.
BATCH = 64
# Places that are worth a read, as a share of the prefetch window (but at most half a batch) ...
WORTH = 4
# ... unless fewer have been free for so long (seconds): a place must not stand empty because its neighbours work.
PATIENCE = 0.01


class QoS(cured.QoS):
    """Which messages are delivered and not yet acknowledged."""

    _dirty: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are kombu's."""
        super().__init__(*args, **kwargs)
        self.acks: list[str] = []  # to be sent
        self.unsure: list[str] = []  # sent with a read that has not been answered

    def in_flight(self) -> int:
        """Messages delivered and not acknowledged."""
        return len(self._delivered) - len(self._dirty)

    def free(self) -> int:
        """Places of the prefetch window; a whole batch when there is no window."""
        estimate: int | None = self.can_consume_max_estimate()
        return BATCH if estimate is None else estimate

    def can_consume(self) -> bool:
        """Whether to read; the answer of a script is always read, its jobs are this worker's already."""
        free, reading = self.free(), self.channel.reading
        if self.channel.plain or reading == "BRPOP":
            return free > 0
        if reading == "EVALSHA" or free >= min(BATCH // 2, max(1, self.prefetch_count // WORTH)):
            return True
        return free > 0 and monotonic() - self.channel.read_at > PATIENCE

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a message as taken, unless the script does."""
        if self.channel.recorded:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge with the next read. Never raises."""
        if self.channel.plain or self.away or self._gone():
            super().ack(delivery_tag)
            return
        self.acks.append(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)  # frees its place in the prefetch window

    def flush(self) -> None:
        """Send what there is, waiting for the answer. What cannot be sent is kept for the next channel."""
        self.postpone()
        if not self.away:
            try:
                self.send_late()
            except self.channel.connection_errors as error:
                self.failed(error)

    def postpone(self) -> None:
        """The connection is lost, or is about to be: acknowledgements that may not have arrived are sent again by the next."""
        cured.late.update(self.acks, self.unsure)
        self.acks, self.unsure = [], []

    def restore_unacked(self, client: Any = None) -> Any:
        """Give unacknowledged messages back to their queues."""
        self.flush()
        return super().restore_unacked(client)
