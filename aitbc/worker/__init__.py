"""Celery's engine room: coroutine tasks in one thread, and a Redis transport that outlives its Redis.

It knows nothing of agents, tasks or leases, and could be published alone.

    loop.py       asyncio runs where Celery's hub sleeps
    jobs.py       one Celery message: its coroutine, its start, its end; `current_job`
    hooks.py      `every`, `on_start`, `on_stop`: what the rooms above have the engine run
    stopping.py   the order of a shutdown
    pool.py       the Celery pool that joins these; `spawn`, `room`, `in_flight`, `stopping`
    refusals.py   what Celery offers and this pool does not, each with a clear error
    consumer.py   Celery's consumer, whose reconnects leave the loop running
    events.py     task events, for Flower
    broker.py     which transport serves a Redis broker, its options and why
    batch.py      the default: reads and acknowledges in batches (batchqos.py: when; readscript.py: the script)
    transport.py  kombu's Redis transport, cured of three faults; batch.py builds on it

The rooms above import from here what they need inside a coroutine:

    from aitbc.worker import current_job, every, in_flight, on_start, on_stop, polling, room, spawn, stopping
"""

from aitbc.worker.hooks import every, on_start, on_stop
from aitbc.worker.jobs import Job, current_job
from aitbc.worker.pool import in_flight, polling, room, spawn, stopping

__all__ = ["Job", "current_job", "every", "in_flight", "on_start", "on_stop", "polling", "room", "spawn", "stopping"]
