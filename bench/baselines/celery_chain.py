"""The hand-written Celery chain: prefork, requests, late acks.

Results through Celery's own backend would cost it a tenth more.
"""

import uuid

from celery import Celery

from bench.baselines import steps

app = Celery("hand", broker=steps.URL)
app.conf.update(task_acks_late=True, task_ignore_result=True, broker_connection_retry_on_startup=True)


class _Process:
    """The clients of this process: made after the fork."""

    clients: steps.Blocking | None = None


@app.task(name="route")
def route(task_id: str, data: dict[str, str]) -> None:
    """One task."""
    _Process.clients = _Process.clients or steps.Blocking()
    _Process.clients.chain(task_id, data)


def submit(data: dict[str, str]) -> str:
    """The id of a new task."""
    task_id = uuid.uuid4().hex
    route.apply_async((task_id, data), task_id=task_id)
    return task_id


def fill(n: int) -> None:
    for _ in range(n):
        submit(steps.DATA)
