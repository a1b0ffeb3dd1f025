"""The nouns of the API: agents, tasks, queues, dead letters; each method is one call."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from aitbc.client.wire import Answer, ApiError, Caller, Event, NoMoreEvents, Unreachable, WaitTimedOut
from aitbc.model.task import TERMINAL, TaskState

LONGEST_HOLD = 60
"""Seconds that the API holds one `wait` request at most."""
PAUSE = 0.2
"""Seconds between two looks when the API cannot hold the request."""
SILENCE = 45
"""Seconds without even a comment, of which the API sends one each 15 s, after which events are asked for anew."""
RECONNECT = 1.0
"""Seconds before that, when the API is not there."""


class Agents:
    """Agents: registered HTTP services that execute tasks."""

    def __init__(self, caller: Caller) -> None:
        self._call = caller.call

    def register(
        self,
        agent_id: str,
        agent_type: str = "worker",
        *,
        endpoints: Mapping[str, str],
        capabilities: Sequence[str] = (),
        services: Sequence[str] = (),
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        weight: float | None = None,
        heartbeat_timeout: float | None = None,
        secret: str | None = None,
        instance_id: str | None = None,
    ) -> Answer:
        """Register an agent, or replace its record. None leaves the API's default; `heartbeat_timeout` in seconds, 0 = it sends none."""
        lists = {"capabilities": list(capabilities), "services": list(services), "tags": list(tags)}
        limits = {"max_concurrency": max_concurrency, "weight": weight, "heartbeat_timeout": heartbeat_timeout}
        named = {"agent_id": agent_id, "agent_type": agent_type, "endpoints": dict(endpoints), "metadata": dict(metadata or {})}
        return self._call("POST", "/agents/register", {**named, **lists, **limits, "secret": secret, "instance_id": instance_id})

    def show(self, agent_id: str) -> Answer:
        """The agent object. Raises ApiError 404."""
        return inner(self._call("GET", f"/agents/{_id(agent_id)}"), "agent")

    def discover(self, **query: Any) -> Answer:
        """Find agents by status, agent_type, capabilities, services, tags, min_health_score, limit; healthiest first."""
        return self._call("POST", "/agents/discover", query)

    def status(self, agent_id: str, status: str, load_metrics: Mapping[str, float] | None = None) -> Answer:
        """Set an agent's status."""
        return self._call("PUT", f"/agents/{_id(agent_id)}/status", {"status": status, "load_metrics": load_metrics})

    def heartbeat(self, agent_id: str, load_metrics: Mapping[str, float] | None = None, leases: Sequence[str] | None = None) -> Answer:
        """Say that the agent lives; `leases`: lease ids of accepted (202) work that still runs. The answer lists leases to cancel."""
        return self._call("POST", f"/agents/{_id(agent_id)}/heartbeat", {"load_metrics": load_metrics, "leases": leases})

    def drain(self, agent_id: str) -> Answer:
        """No new work; running work ends."""
        return self._call("POST", f"/agents/{_id(agent_id)}/drain")

    def resume(self, agent_id: str) -> Answer:
        """Work again after a drain."""
        return self._call("POST", f"/agents/{_id(agent_id)}/resume")

    def remove(self, agent_id: str) -> Answer:
        """Drain, then forget the agent with its last lease."""
        return self._call("DELETE", f"/agents/{_id(agent_id)}")

    def list(self, limit: int | None = None, cursor: str | None = None) -> Answer:
        """One page: agents[], count, next_cursor (None at the end)."""
        return self._call("GET", "/agents" + query_string(limit=limit, cursor=cursor))


class Tasks:
    """Tasks: units of work."""

    def __init__(self, caller: Caller) -> None:
        self._caller, self._call = caller, caller.call

    def submit(
        self, task_data: Mapping[str, Any], priority: str = "normal", *, idempotency_key: str | None = None, **options: Any
    ) -> Answer:
        """Submit a task; its id is `task_id` of the answer.

        `options`: requirements, task_id, max_attempts, run_timeout (s), queue_timeout (s), delay (s), run_at, affinity_key, callback_url,
        idempotent.  With a task_id or an idempotency_key it is safe to repeat after Unreachable.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self._call("POST", "/tasks/submit", {"task_data": task_data, "priority": priority, **options}, headers=headers)

    def submit_batch(self, tasks: Sequence[Mapping[str, Any]]) -> Answer:
        """Submit up to 1,000 tasks, each as the body of `submit`: results[] in order, each its own success or error."""
        return self._call("POST", "/tasks/submit/batch", {"tasks": list(tasks)})

    def show(self, task_id: str) -> Answer:
        """The task object. Raises ApiError 404."""
        return inner(self._call("GET", f"/tasks/{_id(task_id)}"), "task")

    def wait(self, task_id: str, timeout: float | None = None) -> Answer:
        """The task object once it has ended; `timeout` in seconds, None = for ever. An outage of the API meanwhile is sat out.

        Raises WaitTimedOut, and what the first look raises.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        task = self.show(task_id)
        while not TaskState(task["state"]).terminal:
            left = end - time.monotonic()
            if left <= 0:
                raise WaitTimedOut(task, timeout or 0)
            try:
                task, pause = self._hold(task_id, int(min(left, LONGEST_HOLD)))
            except Unreachable:
                pause = PAUSE
            except ApiError as exc:
                if exc.status not in {429, 503}:
                    raise
                pause = exc.retry_after or PAUSE
            time.sleep(max(0, min(pause, end - time.monotonic())))
        return task

    def _hold(self, task_id: str, seconds: int) -> tuple[Answer, float]:
        """The task, after at most that long, and how long to wait before the next look."""
        reply = self._caller.reply("GET", f"/tasks/{_id(task_id)}" + query_string(wait=seconds or None), hold=seconds)
        return inner(reply.body, "task"), PAUSE if not seconds else reply.retry_after or 0

    def events(self, task_id: str) -> Iterator[Event]:
        """The task's state now, then each state and its progress as they come, until it has ended. Outages of the API are sat out.

        Raises ApiError 404 for an unknown task.
        """
        return listen(self._caller, f"/tasks/{_id(task_id)}/events", to_the_end=True)

    def cancel(self, task_id: str) -> Answer:
        """Cancel a task; again is no error."""
        return self._call("POST", f"/tasks/{_id(task_id)}/cancel")

    def retry(self, task_id: str) -> Answer:
        """Run a failed or cancelled task again. Raises ApiError 409 for others."""
        return self._call("POST", f"/tasks/{_id(task_id)}/retry")

    def list(self, **query: Any) -> Answer:
        """One page, newest first, by state, priority, agent_id, limit, cursor: tasks[], count, next_cursor (None at the end)."""
        return self._call("GET", "/tasks" + query_string(**query))


class Queues:
    """The five priorities."""

    def __init__(self, caller: Caller) -> None:
        self._call = caller.call

    def stats(self) -> Answer:
        """Counts and more of each priority."""
        return self._call("GET", "/tasks/queues/stats")

    def pause(self, priority: str) -> Answer:
        """Grant nothing more of this priority; running work goes on."""
        return self._call("POST", f"/tasks/queues/{_id(priority)}/pause")

    def resume(self, priority: str) -> Answer:
        """Undo a pause."""
        return self._call("POST", f"/tasks/queues/{_id(priority)}/resume")

    def clear(self, priority: str) -> Answer:
        """Cancel what is queued or waits; cleared_count."""
        return self._call("POST", f"/tasks/queues/{_id(priority)}/clear")

    def list(self) -> Answer:
        """queue_sizes: tasks queued or waiting, five priorities always present."""
        return self._call("GET", "/tasks/queues")


class DeadLetters:
    """Tasks that failed for good."""

    def __init__(self, caller: Caller) -> None:
        self._call = caller.call

    def retry(self, **chosen: Any) -> Answer:
        """Run those that the filter chooses again; counted."""
        return self._call("POST", "/tasks/dead/retry", chosen)

    def drop(self, **chosen: Any) -> Answer:
        """Forget those that the filter chooses; counted."""
        return self._call("POST", "/tasks/dead/drop", chosen)

    def list(self, **query: Any) -> Answer:
        """One page: tasks[], count, next_cursor."""
        return self._call("GET", "/tasks/dead" + query_string(**query))


def listen(caller: Caller, path: str, *, last_id: str = "", to_the_end: bool = False) -> Iterator[Event]:
    """Events, coming again with the last one's id whenever the connection breaks: none is missed and none comes twice.

    `to_the_end`: of one task; else for ever. Raises ApiError, but for 429 and 503.
    """
    while True:
        try:
            for event in caller.events(path, last_id, SILENCE):
                last_id = event.event_id
                yield event
                if to_the_end and event.name in TERMINAL:
                    return
        except NoMoreEvents:
            return
        except Unreachable:
            time.sleep(RECONNECT)
        except ApiError as exc:
            if exc.status not in {429, 503}:
                raise
            time.sleep(exc.retry_after or RECONNECT)


def _id(text: str) -> str:
    return quote(text, safe="")


def query_string(**fields: Any) -> str:
    """`?a=1&b=2` of the fields that are not None."""
    given = {name: value for name, value in fields.items() if value is not None}
    return "?" + urlencode(given) if given else ""


def inner(answer: Answer, name: str) -> Answer:
    """The object of that name inside an answer."""
    found = answer.get(name)
    return found if isinstance(found, dict) else answer
