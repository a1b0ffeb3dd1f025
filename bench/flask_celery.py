"""What a user writes by hand: a Flask view that checks a body and calls `apply_async`, with stock Celery on stock Redis.

At its best setting: results ignored, no events, connections enough for gevent.  It records nothing: its only trace is the message.
"""

import os
import uuid
from typing import Any

from celery import Celery
from flask import Flask, Response, jsonify, request

PRIORITIES = ("urgent", "critical", "high", "normal", "low")

celery = Celery("bench", broker=os.environ["BENCH_REDIS"])
celery.conf.update(task_ignore_result=True, broker_transport_options={"max_connections": 2000}, broker_pool_limit=1000)
app = Flask("bench")


@celery.task(name="bench.run")
def run(_task_id: str, _task_data: dict[str, Any], _requirements: dict[str, Any]) -> None:
    """A worker would POST it to an agent."""


@app.post("/tasks/submit")
def submit() -> Response | tuple[Response, int]:
    """Check, publish, answer."""
    body = request.get_json()
    priority = body.get("priority", "normal")
    if not isinstance(body.get("task_data"), dict) or priority not in PRIORITIES:
        return jsonify(message=f"Invalid priority: {priority}"), 400
    task_id = body.get("task_id") or uuid.uuid4().hex
    run.apply_async((task_id, body["task_data"], body.get("requirements") or {}), task_id=task_id, queue=priority)
    return jsonify(status="success", message="Task submitted successfully", task_id=task_id, priority=priority)
