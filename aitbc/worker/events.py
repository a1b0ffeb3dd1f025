"""Task events, for Flower and whoever else listens.

Celery sends the events of its own jobs. `send` is for work that has no job of its own and shall be seen under a task's id.
`Events` (Celery("name", events="aitbc.worker.events:Events")) gathers them in few messages.
"""

from typing import Any

from celery.app.events import Events as StockEvents
from celery.events.dispatcher import EventDispatcher

# Events in one message, at most. Celery's 24 means several messages a turn under load: a third of the price of events.
IN_ONE_MESSAGE = 2000


class BulkDispatcher(EventDispatcher):
    """Celery's dispatcher with a larger buffer, which survives a reconnect."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Arguments are Celery's."""
        super().__init__(*args, **{"buffer_limit": IN_ONE_MESSAGE, **kwargs})

    def _publish(self, event: Any, producer: Any, routing_key: str, retry: bool = False, retry_policy: Any = None) -> None:  # noqa: ARG002
        """Publish, once: Celery would try a sign of life again and again, for seconds of the only thread. It is buffered."""
        super()._publish(event, producer, routing_key)  # type: ignore[misc]  # not in the stubs

    def extend_buffer(self, other: EventDispatcher) -> None:
        """Take over what the dispatcher of the lost connection had not sent. Celery leaves its grouped events behind."""
        super().extend_buffer(other)
        for group, waiting in other._group_buffer.items():  # type: ignore[attr-defined]  # noqa: SLF001  not in the stubs
            self._group_buffer[group].extend(waiting)  # type: ignore[attr-defined]  # as above


class Events(StockEvents):
    """Celery's `app.events` with the dispatcher above."""

    dispatcher_cls = "aitbc.worker.events:BulkDispatcher"


class _Attached:
    """The consumer of this process."""

    consumer: Any = None


def attach(consumer: Any) -> None:
    """Send through this consumer's dispatcher from now on."""
    _Attached.consumer = consumer


def send(event: str, task_id: str, **fields: object) -> None:
    """Send a task event: task-started, task-succeeded (result, runtime in seconds), task-failed or task-retried (exception, traceback).

    It waits with Celery's own events for company (20 ms at most). `result` and `exception` are texts (a repr).
    No effect where task events are off (worker_send_task_events, `celery control enable_events`) or no worker runs.
    """
    dispatcher = getattr(_Attached.consumer, "event_dispatcher", None)
    if dispatcher is not None and dispatcher.enabled:
        dispatcher.send(event, uuid=task_id, **fields)
