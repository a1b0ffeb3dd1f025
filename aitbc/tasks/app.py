"""The Celery app: `celery -A aitbc.tasks worker`, inspect, control and Flower all find it through `aitbc.tasks`."""

from celery import Celery

app = Celery("aitbc", events="aitbc.worker.events:Events", include=["aitbc.tasks.jobs", "aitbc.tasks.outbox", "aitbc.tasks.upkeep"])
app.config_from_object("celeryconfig")
