"""Celery's tasks, and what joins ledger, dispatch and worker.

app.py        the Celery app
queues.py     the ten queues
enqueue.py    publish jobs (the API and the workers)
messages.py   their messages, made without Celery's cost
jobs.py       the Celery tasks `route` and `dispatch`
attempts.py   carry out an attempt: POST, finish, and on to the next one that this granted
node.py       this worker process: its id, its two clients, the leases it holds
upkeep.py     what a worker does beside its jobs: sign of life, cancel notices, sweep
outbox.py     deliver what callback_urls are to be told
rows.py       task events, so that Flower's row is the task
"""

from aitbc.tasks.app import app

__all__ = ["app"]
