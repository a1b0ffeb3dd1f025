"""The baseline: a Celery app whose one task does nothing, with Celery's defaults (prefork, stock Redis transport, early acks)."""

import os

from celery import Celery

app = Celery("noop", broker=os.environ["BENCH_REDIS"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task(name="noop")
def noop(_number: int, _payload: dict[str, str]) -> None:
    """Nothing."""
