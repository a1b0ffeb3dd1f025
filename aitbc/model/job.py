"""A job as the broker holds it: one Celery message in one queue."""

from typing import NamedTuple


class Job(NamedTuple):
    """`queue`: the Redis list; `message`: what a worker pops from it, a whole Celery message as JSON."""

    queue: str
    message: bytes
