"""One row of the fault matrix (tests/faults): a world of its own, everything that was accepted in it, and what the fault cost.

A row passes when every accepted task has ended, each was sent at most 1 + faults times, and the doctor finds every invariant in order.
Rows of one module run beside one another, each with a Redis, nodes and agents of its own: most of their time is waiting.
With AITBC_FAULT_REPORT each row adds a line there: row | pass | sends per task | seconds to settle.
"""

import collections
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.harness.agents import Agents, Answer, HttpAgent, succeed
from tests.harness.cluster import Api, Cluster
from tests.harness.processes import HERE, Place, Process, wait_for

AT_ONCE = 3
"""Rows beside one another."""
_writing = threading.Lock()


class Row:
    """One row's world. `close` ends it."""

    def __init__(self, name: str, directory: Path, at: Place = HERE, **env: str) -> None:
        self.name, self.cluster, self.agents = name, Cluster(directory, at, **env), Agents()
        self.here = HERE  # where its workers and agents are
        self.accepted: list[str] = []
        self.struck = time.monotonic()
        self._names = iter(range(100))

    # -- the world
    def node(self, *, stop_at: str = "") -> Api:
        """An API; the first call's is `api`. `stop_at`: a step at which it stops (`stopped`)."""
        return self.cluster.api(f"api-{next(self._names)}", **self._stop(stop_at))

    def worker(self, *, stop_at: str = "", **env: str) -> Process:
        return self.cluster.worker(f"worker-{next(self._names)}", self.here, **self._stop(stop_at), **env)

    def agent(self, api: Api, name: str = "", answer: Answer = succeed, delay: float = 0.0, **fields: Any) -> HttpAgent:
        """A registered agent that works."""
        agent = self.agents.start(name or f"agent-{next(self._names)}", answer, delay, self.here)
        api.register(agent.name, agent.url, **fields)
        return agent

    def _stop(self, step: str) -> dict[str, str]:
        return {"AITBC_STOP_AT": step, "AITBC_STOP_FILE": str(self._stop_file)} if step else {}

    @property
    def _stop_file(self) -> Path:
        return self.cluster.directory / "stopped"

    def stopped(self) -> None:
        """The process that was told to stop has stopped, at its step."""
        wait_for(lambda: self._stop_file.exists() and self._stop_file.read_text(), 20, "the process to stop at its step")

    # -- tasks and faults
    def submit(self, api: Api, **fields: Any) -> str:
        """Accepted: from now on it must not be lost."""
        task_id = api.submit(**fields)
        self.accepted.append(task_id)
        return task_id

    def strike(self, victim: Process, how: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """kill; term: SIGTERM, which a stopped process meets at its step; freeze: away for 15 s, longer than a sign of life is waited for.

        `meanwhile`: what others do at once after the kill, or while it is frozen.
        """
        self.struck = time.monotonic()
        if how == "kill":
            victim.kill()
        elif how == "term":
            victim.terminate()
        else:
            victim.signal(signal.SIGSTOP)
        meanwhile()
        if how == "freeze":
            time.sleep(max(0, self.struck + 15 - time.monotonic()))
            victim.signal(signal.SIGCONT)

    # -- the verdict
    def settle(self, api: Api, *, faults: int, states: Iterable[str] = ("completed",), seconds: float = 60) -> dict[str, Any]:
        """Every accepted task ends, in these states, sent at most 1 + faults times, with one winner; then the doctor. Returns the tasks."""
        tasks = api.ended(self.accepted, seconds)
        took = time.monotonic() - self.struck
        assert {task["state"] for task in tasks.values()} <= set(states), tasks
        assert [task for task in tasks.values() if not _one_winner(task)] == []
        sends = self.agents.sends
        assert max(sends.values(), default=0) <= 1 + faults, (sends, tasks)
        assert set(sends) <= set(self.accepted)
        self.cluster.healthy()
        report(self.name, sends, len(self.accepted), took)
        return tasks

    def close(self) -> None:
        self.agents.close()
        self.cluster.close()


def _one_winner(task: dict[str, Any]) -> bool:
    """An attempt of a task that was cancelled may have been completed all the same, once."""
    winners = sum(attempt["outcome"] == "completed" for attempt in task["attempts"])
    return winners == 1 if task["state"] == "completed" else winners <= (task["state"] == "cancelled")


def report(name: str, sends: "collections.Counter[str]", accepted: int, seconds: float) -> None:
    """The row's line, where AITBC_FAULT_REPORT says."""
    path = os.environ.get("AITBC_FAULT_REPORT")
    if path:
        with _writing, Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name} | pass | {sum(sends.values()) / max(1, accepted):.2f} | {seconds:.1f}\n")


class SideBySide:
    """Runs rows in threads, `AT_ONCE` at a time; a test asks for its own row's result, and sees its exception."""

    def __init__(self, rows: Iterable[str], run: Callable[[str], None]) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="row")
        self._futures: dict[str, Future[None]] = {row: self._threads.submit(run, row) for row in rows}

    def result(self, row: str) -> None:
        self._futures[row].result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


@contextlib.contextmanager
def row(name: str, directory: Path, at: Place = HERE, **env: str) -> Iterator[Row]:
    """A row's world, ended at the end."""
    made = Row(name, directory, at, **env)
    try:
        yield made
    finally:
        made.close()
