"""The ledger in figures, for /metrics: one step whose cost does not grow with agents or tasks."""

from collections.abc import Sequence
from typing import Any

from aitbc.ledger.step import MICRO, Step, text, texts
from aitbc.model.agent import AgentStatus, Breaker
from aitbc.model.priority import PRIORITIES
from aitbc.model.task import TERMINAL, TaskState
from aitbc.telemetry.histogram import BOUNDS
from aitbc.telemetry.metrics import HISTOGRAMS, MOST_AGENTS, Found

BREAKERS = {Breaker.CLOSED.value: 0.0, Breaker.HALF_OPEN.value: 0.5, Breaker.OPEN.value: 1.0}


def read(most_agents: int = MOST_AGENTS) -> Step[Found]:
    """Every figure but Redis's own. `most_agents`: have series of their own."""
    return Step("metrics", (most_agents, *TaskState, "", *AgentStatus), _found)


def _found(reply: list[Any]) -> Found:
    counters, measured, sizes, ages, paused, states, leases, agents, statuses, workers, lag, signatures, strategy, *shown = reply
    found = Found()
    _count(found, {name: int(n) for name, n in _pairs(counters)})
    _histograms(found, _pairs(measured))
    priorities = [priority.value for priority in PRIORITIES]
    found.put_all("aitbc_tasks", list(TaskState), states)
    found.put_all("aitbc_queue_tasks", priorities, sizes)
    found.put_all("aitbc_queue_oldest_seconds", priorities, [age / MICRO for age in ages])
    found.put_all("aitbc_queue_paused", priorities, [rank in paused for rank in range(len(priorities))])
    found.put_all("aitbc_agents", list(AgentStatus), statuses)
    _agents(found, agents, shown)
    _workers(found, leases, workers)
    found.put("aitbc_sweep_lag_seconds", lag / MICRO)
    found.put("aitbc_signatures", signatures)
    found.put("aitbc_strategy", 1, text(strategy))
    return found


def _count(found: Found, counted: dict[str, int]) -> None:
    def n(name: str) -> int:
        return counted.get(name, 0)

    found.put("aitbc_tasks_submitted_total", n("submitted"))
    found.put("aitbc_tasks_retried_total", n("retried"))
    found.put("aitbc_tasks_kept_bytes", n("kept_bytes"))
    for state in sorted(TERMINAL):
        found.put("aitbc_tasks_ended_total", n(state), state)
    found.put_all("aitbc_grants_total", ("begun", "returned"), (n("begun"), n("returned")))
    found.put_all("aitbc_attempts_ended_total", ("good", "bad"), (n("completed") + n("completed_in_vain"), n("attempts_bad")))
    found.put("aitbc_distribution_seconds_count", n("begun"))
    found.put("aitbc_distribution_seconds_sum", n("distribution_us") / MICRO)


def _histograms(found: Found, measured: list[tuple[str, str]]) -> None:
    """`{name}:{label}:{bucket or us}`; what another version counted is left out."""
    for field, value in measured:
        name, label, bucket = field.split(":")
        if name not in HISTOGRAMS:
            continue
        series = found.histograms.setdefault(HISTOGRAMS[name], {})
        counts, total = series.setdefault((label,), ([0] * (len(BOUNDS) + 1), 0.0))
        if bucket == "us":
            series[label,] = (counts, int(value) / MICRO)
        elif int(bucket) < len(counts):
            counts[int(bucket)] = int(value)
            series[label,] = (counts, total)


def _agents(found: Found, agents: Sequence[int], shown: list[Any]) -> None:
    every, active, opened, half_open = agents
    found.put("aitbc_agents_active", active)
    found.put_all("aitbc_breakers", ("closed", "open", "half_open"), (every - opened - half_open, opened, half_open))
    found.put("aitbc_agents_shown", len(shown))
    for name, leases, slots, health, works, breaker in shown:
        agent = text(name)
        found.put("aitbc_agent_active", leases, agent)
        found.put("aitbc_agent_slots", slots, agent)
        found.put("aitbc_agent_health", health / 1000, agent)
        found.put("aitbc_agent_takes_work", works, agent)
        found.put("aitbc_agent_breaker", BREAKERS[text(breaker)], agent)


def _workers(found: Found, leases: Sequence[int], workers: Sequence[int]) -> None:
    (live, calls, accepted), (alive, polling, room, told) = leases, workers
    granted = max(0, live - calls - accepted)
    found.put_all("aitbc_leases", ("granted", "call", "accepted"), (granted, calls, accepted))
    found.put("aitbc_workers", alive)
    found.put("aitbc_workers_polling", polling)
    found.put("aitbc_workers_room", room)
    found.put("aitbc_workers_full", bool(granted and told and not room))


def _pairs(flat: Sequence[Any]) -> list[tuple[str, str]]:
    words = texts(flat)
    return list(zip(words[::2], words[1::2], strict=True))
