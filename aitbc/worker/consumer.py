"""Celery's consumer, whose reconnects leave the loop running:  worker_consumer = "aitbc.worker.consumer:Consumer".

Stock Celery sleeps and connects in the worker's only thread while the broker is away: for half a minute and more no HTTP call
would end and no sign of life would leave, and others would take this worker for dead. Here both are done beside the loop.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, ClassVar

import kombu
from celery.exceptions import ImproperlyConfigured
from celery.utils.log import get_logger
from celery.worker import consumer as stock
from celery.worker.state import maybe_shutdown, task_reserved

from aitbc.worker import events
from aitbc.worker.pool import TaskPool

logger = get_logger(__name__)

# Seconds between two attempts to connect: the first, how much is added each time, the most.
# Celery's 2, 4, 6 ... 30 would leave a broker that is back unused for half a minute.
RETRY_FIRST, RETRY_STEP, RETRY_MOST = 0.5, 0.5, 2.0
# Task events wait this long for company (seconds). Celery publishes once a hub turn, and on the stock transport a turn is one message.
GATHER_EVENTS = 0.02
# Seconds between two lines in the log that say the broker is still away.
REMIND = 30.0


class Consumer(stock.Consumer):
    """Used with this room's pool; with any other it is Celery's own."""

    class Blueprint(stock.Consumer.Blueprint):  # type: ignore[misc,valid-type]  # nested in a class that the stubs leave open
        """Celery's steps without the one that declares 28 queues for ETAs wherever it sees a quorum queue: ETAs are not used here."""

        default_steps: ClassVar[list[str]] = [step for step in stock.Consumer.Blueprint.default_steps if "delayed_delivery" not in step]

    pool: Any
    controller: Any
    event_dispatcher: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are Celery's. Raises ImproperlyConfigured for --autoscale."""
        super().__init__(*args, **kwargs)
        self._engine = self.pool if isinstance(self.pool, TaskPool) else None
        if self._engine and getattr(self.controller, "autoscale", None):
            raise ImproperlyConfigured("aitbc.worker.pool does not support --autoscale (worker_autoscaler): set worker_concurrency")
        self._flush_is_due = False
        events.attach(self)

    def ensure_connected(self, conn: kombu.Connection) -> kombu.Connection:
        """Connect, trying for ever (or broker_connection_max_retries times) while coroutines run on."""
        conf = self.app.conf
        if self._engine is None or not conf.broker_connection_retry:
            return super().ensure_connected(conn)
        connect: Callable[..., kombu.Connection] = conn.ensure_connection
        self._engine.loop.beside(
            partial(
                connect,
                self._complain(conn),
                conf.broker_connection_max_retries,
                RETRY_FIRST,
                RETRY_STEP,
                RETRY_MOST,
                callback=maybe_shutdown,  # ends the thread too when the worker is to stop
            ),
            maybe_shutdown,
        )
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0
        return conn

    def _complain(self, conn: kombu.Connection) -> Callable[[BaseException, float], None]:
        """The callback of a failed attempt: a line at once, then one each half minute."""
        last = -REMIND

        def failed(error: BaseException, _interval: float) -> None:
            nonlocal last
            self.broker_connection_retry_attempt += 1
            if monotonic() - last >= REMIND or self.broker_connection_retry_attempt == 1:
                last = monotonic()
                logger.error(
                    "Cannot connect to the broker %s: %s. Trying on (attempt %d); running work goes on",
                    conn.as_uri(),
                    error,
                    self.broker_connection_retry_attempt,
                )

        return failed

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Take leave of the lost connection: a host that does not answer makes that take seconds."""
        lost = partial(super().on_connection_error_after_connected, exc)
        if self._engine is None:
            lost()
        else:
            self._engine.loop.beside(lost)

    def on_close(self) -> None:
        """Celery forgets what it has reserved; bodies that run on stay known to `revoke`, `inspect` and the next event dispatcher."""
        super().on_close()
        if self._engine is not None:
            for job in self._engine.jobs:
                task_reserved(job.request)

    def on_send_event_buffered(self) -> Any:
        """An event waits in the dispatcher: see that it is published soon, together with those that follow."""
        if self._engine is None:
            return super().on_send_event_buffered()
        loop = self._engine.loop.asyncio  # not the hub's timer: the hub sleeps already, and would see it a turn too late
        if not self._flush_is_due and not loop.is_closed():
            self._flush_is_due = True
            loop.call_later(GATHER_EVENTS, self._flush_gathered)
        return None

    def _flush_gathered(self) -> None:
        self._flush_is_due = False
        if self.event_dispatcher:
            self.event_dispatcher.flush()

    def shutdown(self) -> None:
        """Publish what still waits, then Celery's own order of closing."""
        self._flush_gathered()
        super().shutdown()
