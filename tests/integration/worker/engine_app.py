"""The app of the workers under test: one task for each way in which a body can end. What happens goes to the file ENGINE_LOG."""

import asyncio
import json
import os
import time
from pathlib import Path

from celery import Celery
from celery.exceptions import Ignore, Reject, Retry
from kombu import Exchange, Queue

from aitbc.worker import current_job, every, in_flight, on_start, on_stop, room, spawn, stopping
from aitbc.worker.broker import TRANSPORT_OPTIONS, register
from aitbc.worker.events import send

register(os.environ.get("ENGINE_TRANSPORT", "batch"))


def note(what, **fields):
    with Path(os.environ["ENGINE_LOG"]).open("a") as log:  # one short line: written whole
        log.write(json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **fields}) + "\n")


app = Celery("engine", broker=os.environ["ENGINE_BROKER"], events="aitbc.worker.events:Events", set_as_current=True)
app.conf.update(
    worker_pool="aitbc.worker.pool:TaskPool",
    worker_consumer="aitbc.worker.consumer:Consumer",
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_hijack_root_logger=True,
    task_acks_late=True,
    task_ignore_result=True,
    task_queues=[Queue(name, Exchange(name, type="direct"), routing_key=name) for name in ("first", "second")],
    task_default_queue="second",
    task_default_exchange="second",
    task_default_routing_key="second",
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    broker_transport_options={**TRANSPORT_OPTIONS, **json.loads(os.environ.get("ENGINE_OPTIONS", "{}"))},
    aitbc_shutdown_timeout=float(os.environ.get("ENGINE_TIMEOUT", "20")),
)
seen = {}


@app.task(name="ordinary")
async def ordinary(seconds=0.0):
    await asyncio.sleep(seconds)
    note("ordinary", id=current_job().id)
    return {"answer": 42}


@app.task(name="announced")
async def announced(before, after):
    await asyncio.sleep(before)
    current_job().start()
    current_job().start()
    await asyncio.sleep(after)
    return "done"


@app.task(name="boom")
async def boom():
    raise ValueError("as it was meant to")


@app.task(name="waits")
async def waits(seconds=0.0):
    await asyncio.sleep(seconds)
    raise Ignore


@app.task(name="again")
async def again():
    raise Retry("later", exc=OSError("not now"))


@app.task(name="back")
async def back():
    job = current_job()
    seen[job.id] = seen.get(job.id, 0) + 1
    note("back", id=job.id, times=seen[job.id])
    if seen[job.id] < 3:
        raise Reject("elsewhere", requeue=True)


@app.task(name="slow")
async def slow(seconds, start=True, clean_up=0.0):
    job = current_job()
    if start:
        job.start()
    note("slow begins", id=job.id)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("slow cancelled", id=job.id, revoked=job.revoked, stopping=stopping())
        await asyncio.sleep(clean_up)
        note("slow cleaned up", id=job.id)
        raise
    note("slow done", id=job.id)


@app.task(name="call")
async def call(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    note("call done", id=current_job().id, answer=answer.decode().rpartition("\r\n")[2])


@app.task(name="plain")
def plain(seconds=0.0, fail=False):
    time.sleep(seconds)
    if fail:
        raise ValueError("plainly")
    note("plain")
    return 7


@app.task(name="early", acks_late=False)
async def early(seconds):
    await asyncio.sleep(seconds)


@app.task(name="spawns")
async def spawns(seconds):
    async def beside():
        try:
            current_job()
        except LookupError:
            note("spawned has no job")
        await asyncio.sleep(seconds)
        note("spawned done")

    async def direct():
        send("task-started", "direct-1")
        send("task-succeeded", "direct-1", result="'ok'", runtime=0.5)
        send("task-failed", "direct-2", exception="ValueError()", traceback="tb")

    free, busy = room(), in_flight()
    spawn(beside())
    spawn(direct())
    note("spawns", before=[free, busy], after=[room(), in_flight()])


async def tick():
    note("tick")


async def fails():
    raise RuntimeError("periodically")


async def starting():
    if text := os.environ.get("ENGINE_FAIL"):
        raise RuntimeError(text)
    note("start hook")


async def begin():
    note("stop begins", in_flight=in_flight())


async def end():
    note("stop ends", in_flight=in_flight())


on_start(starting)
on_stop(begin)
on_stop(end, phase="end")
every(0.5, tick, name="tick")
every(0.2, fails)
