"""Celery messages of our jobs without its cost: Celery itself publishes one of each kind into nothing, and that is a form from then on.

`send_task` takes 400 µs, because it builds options, entities and a Redis client anew for each message; filling in a form takes 10.  What
changes from message to message is the job's id, the id in its arguments and the delivery tag; all else is whatever this version of Celery
and kombu wrote.  tests/contract/test_messages.py compares the two field by field.
"""

import base64
import uuid
from functools import cache
from typing import Any

from kombu import Connection
from kombu.transport import virtual
from kombu.utils.json import dumps

from aitbc.model.job import Job
from aitbc.tasks.app import app

ID, SUBJECT, TAG, BODY = (uuid.uuid4().hex for _ in range(4))
"""Stand in a form for what is filled in: words that nothing else in a message holds."""


class _Nowhere(virtual.Channel):
    """Keeps the last message instead of sending it; its encoding is that of all kombu's virtual transports, Redis among them."""

    message: dict[str, Any]

    def _put(self, queue: str, message: dict[str, Any], **_options: Any) -> None:
        del queue
        self.message = message

    def _size(self, queue: str) -> int:
        del queue
        return 0

    def _new_queue(self, queue: str, **_options: Any) -> None:
        """There are no queues."""

    def _next_delivery_tag(self) -> str:
        return TAG


class _Void(virtual.Transport):
    Channel = _Nowhere


def fill(name: str, queue: str, job_id: str, subject: str, values: dict[str, str]) -> Job:
    """A message of the Celery task `name` for this queue.

    `subject`: the argument that holds the id which changes from job to job; `values`: all arguments. Ids are those of the API and of
    leases: nothing in them has a meaning in JSON.
    """
    rest = tuple(item for item in values.items() if item[0] != subject)
    envelope, body = _form(name, queue, subject, tuple(values), rest)
    inner = base64.b64encode((body % values[subject]).encode()).decode()
    return Job(queue, (envelope % {ID: job_id, SUBJECT: values[subject], TAG: uuid.uuid4(), BODY: inner}).encode())


@cache
def _form(name: str, queue: str, subject: str, names: tuple[str, ...], rest: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """The message and its decoded body, with `%` places."""
    given = {**dict(rest), subject: SUBJECT}
    with Connection(transport=_Void) as nowhere:
        producer = app.amqp.Producer(nowhere, auto_declare=False)
        send(name, ID, queue, {key: given[key] for key in names}, producer=producer)
        channel: Any = nowhere.default_channel
        message = channel.message
    body = base64.b64decode(message["body"]).decode()
    envelope = dumps({**message, "body": BODY}).replace("%", "%%")
    for place in (ID, SUBJECT, TAG, BODY):
        envelope = envelope.replace(place, f"%({place})s")
    return envelope, body.replace("%", "%%").replace(SUBJECT, "%s")


def send(name: str, job_id: str, queue: str, values: dict[str, str], *, producer: Any = None) -> None:
    """Publish through Celery. Raises kombu's OperationalError, OSError."""
    app.send_task(name, task_id=job_id, kwargs=values, queue=queue, retry=False, argsrepr="()", producer=producer)
