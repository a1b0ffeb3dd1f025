"""Fill a coordinator faster than its API would: the ledger's own steps, and jobs cloned from one that the API sent."""

import asyncio
import base64
import itertools
import json
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aitbc.ledger import agents, sweep, tasks
from aitbc.ledger.client import Ledger
from aitbc.ledger.pipeline import Pipeline
from aitbc.ledger.step import Step
from aitbc.model.agent import AgentType, Registration
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import NewTask
from aitbc.settings import Settings
from bench.servers import AgentServer, Redis, api, ask
from tests.harness.processes import wait_for

SAMPLE = f"{0xABC:032x}"
QUEUE = Priority.NORMAL.value


class Template:
    """The job that the API sends for a task. Jobs carry ids only: other tasks' differ in the id and the delivery tag."""

    def __init__(self, folder: Path) -> None:
        with Redis(folder) as redis, api(folder, redis.url, AITBC_API_WORKERS="1") as coordinator:
            ask(coordinator.port, "POST", "/tasks/submit", {"task_data": {}, "task_id": SAMPLE})
            self.message: bytes = wait_for(lambda: redis.client.lindex(QUEUE, 0), 10, "a job")  # type: ignore[assignment]

    def jobs(self, ids: Iterable[str]) -> list[str]:
        """A message for each task."""
        message: Any = json.loads(self.message)
        body, tag, text = message["body"], message["properties"]["delivery_tag"], self.message.decode()
        inner = base64.b64decode(body).decode()
        made = []
        for task_id in ids:
            own = base64.b64encode(inner.replace(SAMPLE, task_id).encode()).decode()
            made.append(text.replace(body, own).replace(SAMPLE, task_id).replace(tag, str(uuid.uuid4())))
        return made


class Coordinator:
    """One Redis with the agents and tasks of a scenario. `submitted`: so far."""

    def __init__(self, redis: Redis, template: Template) -> None:
        self.redis, self.template, self.submitted = redis, template, 0
        self.settings = Settings(redis_url=redis.url, max_live_tasks=5_000_000)
        self._ids = itertools.count()
        # Not due for an hour: it keeps the signature alive and built, so that agents are filed under it as they come.
        self.steps([tasks.submit(_task(f"{0:032x}", "{}", delay=3600))])
        self.sweep()

    def steps(self, steps: Iterable[Step[Any]], at_once: int = 500) -> None:
        """Run steps, so many in one write."""

        async def run() -> None:
            pipeline, rest = Pipeline(self.settings), iter(steps)
            pipeline.start()
            while chunk := list(itertools.islice(rest, at_once)):
                await asyncio.gather(*map(pipeline.run, chunk))
            await pipeline.close()

        with self.redis.filling():
            asyncio.run(run())

    def sweep(self) -> None:
        """What a worker does once a second, to its end."""
        ledger = Ledger(self.settings)
        for step in sweep.steps():
            while ledger.run(step).more:
                pass
        ledger.close()

    def register(self, count: int, slots: int, server: AgentServer, **fields: Any) -> None:
        """Agents of equal kind, that send no heartbeats."""
        more = {"max_concurrency": slots, "heartbeat_timeout": 0.0, **fields}
        first = next(self._ids) * 1_000_000
        self.steps(
            agents.register(Registration(f"agent-{first + n}", AgentType.WORKER, endpoints={"http": server.url(n)}, **more))
            for n in range(count)
        )

    def submit(self, n: int, size: int = 90) -> None:
        """Tasks whose data is `size` bytes of JSON, and their jobs."""
        ids = [f"{self.submitted + k + 1:032x}" for k in range(n)]
        self.submitted += n
        data = payload(size)
        self.steps((tasks.submit(_task(task_id, data)) for task_id in ids), at_once=max(1, min(500, 2_000_000 // size)))
        self.push(ids)

    def refill(self, n: int) -> None:
        """Have n jobs in the queue, those that an earlier measurement left among them."""
        self.submit(max(0, n - int(self.redis.client.llen(QUEUE))))

    def push(self, ids: Sequence[str]) -> None:
        with self.redis.filling():
            for first in range(0, len(ids), 1000):
                self.redis.client.lpush(QUEUE, *self.template.jobs(ids[first : first + 1000]))


def payload(size: int) -> str:
    """JSON of so many bytes."""
    return '{"x":"' + "y" * (size - 8) + '"}'


def _task(task_id: str, data: str, requirements: Requirements | None = None, **more: Any) -> NewTask:
    return NewTask(task_id, data, Priority.NORMAL, requirements or Requirements(), task_id, **more)


def waiting(n: int, *, capability: str) -> Iterable[Step[Any]]:
    """Urgent to low tasks that only agents with this capability may do."""
    needs = Requirements(capabilities=(capability,))
    ranks = tuple(Priority)
    for k in range(n):
        rank = ranks[k % len(ranks)]
        task_id = f"f{k:031x}"
        yield tasks.submit(NewTask(task_id, payload(200), rank, needs, task_id))
