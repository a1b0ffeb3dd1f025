"""Real parts: a redis-server on a free port, `celery worker` as a process, a receiver of its events."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import redis
from celery import Celery
from kombu import Exchange, Queue

from tests.harness.processes import free_port, redis_binary

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def until(check, seconds=10.0, every=0.05):
    """Return the first true value of check(); fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(every)
    return value


class RedisServer:
    """Redis with an append-only file, which can be killed and started again on the same port."""

    def __init__(self, folder):
        self.folder, self.port, self.binary = folder, free_port(), redis_binary()
        self.url = f"redis://127.0.0.1:{self.port}/1"
        self.client = redis.Redis(port=self.port, db=1, decode_responses=True)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            f"{self.binary} --port {self.port} --bind 127.0.0.1 --dir {self.folder} --appendonly yes --appendfsync always".split(),
            stdout=subprocess.DEVNULL,
        )
        until(self.answers)

    def answers(self):
        with suppress(redis.ConnectionError):
            return self.client.ping()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.client.close()
        self.kill()

    def unacked(self):
        return self.client.hlen("unacked")

    def waiting(self):
        return self.client.llen("first") + self.client.llen("second")

    def idle(self):
        return self.unacked() == 0 and self.waiting() == 0


class Worker:
    """One `celery worker` process."""

    def __init__(self, server, folder, name="w", args=(), alone=True, **env):
        self.log = folder / f"{name}-notes"
        self.log.touch()
        self.output = folder / f"{name}-output"
        self.name = f"{name}@test"
        self.env = {
            **os.environ,
            "PYTHONPATH": f"{HERE}:{ROOT}",
            "ENGINE_LOG": str(self.log),
            "ENGINE_BROKER": server.url,
            **{key: str(value) for key, value in env.items()},
        }
        command = [sys.executable, "-m", "celery", "-A", "engine_app", "worker", "-n", self.name, "-c", "50", "-l", "INFO"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *(["--without-mingle", "--without-gossip"] if alone else []), *args],
                env=self.env,
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self):
        until(lambda: self.process.poll() is not None or " ready." in self.text(), 20)
        assert self.process.poll() is None, self.text()
        return self

    def text(self):
        return self.output.read_text()

    def notes(self, what=None, **fields):
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [n for n in lines if what in {None, n["what"]} and all(n.get(k) == v for k, v in fields.items())]

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, seconds=15):
        self.send_signal(number)
        return self.process.wait(seconds)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Client:
    """A publisher and remote control, as the API is one; and the events that arrive."""

    def __init__(self, server):
        self.app = Celery("client", broker=server.url, set_as_current=False)
        self.app.conf.update(
            broker_transport="aitbc.worker.transport:Transport",
            task_ignore_result=True,
            task_queues=[Queue(name, Exchange(name, type="direct"), routing_key=name) for name in ("first", "second")],
            task_default_queue="second",
            task_default_exchange="second",
            task_default_routing_key="second",
            broker_transport_options={"priority_steps": [0], "socket_timeout": 5, "socket_connect_timeout": 2},
        )
        self.events = []
        self._count = 0
        self._end = threading.Event()
        self._listening = threading.Event()
        self._thread = None

    def listen(self):
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        assert self._listening.wait(5)
        time.sleep(0.2)  # the subscription is on its way
        return self

    def _receive(self):
        with self.app.connection() as connection:
            receiver = self.app.events.Receiver(connection, handlers={"*": self.events.append})
            with receiver.consumer_context() as (own, *_):
                self._listening.set()
                while not self._end.is_set():
                    with suppress(TimeoutError):
                        own.drain_events(timeout=0.2)

    def send(self, name, *args, task_id=None, queue="second", **options):
        self._count += 1
        task_id = task_id or f"{name}-{self._count}-{time.time()}"
        self.app.send_task(name, args=args, task_id=task_id, queue=queue, **options)
        return task_id

    def of(self, task_id):
        """The types of the events of a task, in the order of the worker's clock."""
        mine = [e for e in list(self.events) if e.get("uuid") == task_id]
        return [e["type"].removeprefix("task-") for e in sorted(mine, key=lambda e: e["clock"])]

    def event(self, task_id, kind):
        return next(e for e in list(self.events) if e.get("uuid") == task_id and e["type"] == f"task-{kind}")

    def inspect(self, command, *args):
        inspect = self.app.control.inspect(timeout=3, limit=1)
        return next(iter((getattr(inspect, command)(*args) or {"": None}).values()))

    def close(self):
        self._end.set()
        if self._thread is not None:
            self._thread.join(5)
        self.app.control.mailbox.connection = None
        self.app.close()
