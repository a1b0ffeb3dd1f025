"""Bare stock Celery: one task that does nothing, Celery's defaults (prefork, stock transport, early acks)."""

import os

from celery import Celery

app = Celery("noop", broker=os.environ["BENCH_BROKER"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task(name="noop")
def noop(_number: int, _payload: dict[str, str]) -> None:
    """Nothing."""


def fill(n: int) -> None:
    for number in range(n):
        noop.delay(number, {"x": "y" * 80})
