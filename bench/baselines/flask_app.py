"""The hand-written API: Flask that sends the Celery job, nothing else."""

from flask import Flask, Response, jsonify, request

from bench.baselines.celery_chain import submit

app = Flask(__name__)


@app.post("/tasks/submit")
def submitted() -> Response:
    return jsonify(status="success", task_id=submit(request.get_json()["task_data"]))


@app.get("/health")
def health() -> Response:
    return jsonify(status="healthy")
