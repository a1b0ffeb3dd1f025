"""Steps of an agent: register, heartbeat, status, drain, resume, remove; read, list, discover, count."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aitbc.errors import Conflict, Full, Invalid, NotFound, PreconditionFailed
from aitbc.ledger.step import Arg, Step, Versions, grants, iso, micros, text, texts
from aitbc.model.agent import Agent, AgentQuery, AgentStatus, Registration
from aitbc.model.lease import Grant
from aitbc.model.requirements import ANY, index_terms

LOAD_KEYS = ("cpu", "memory", "queue")
"""The load metrics (0 to 1) that resource_based reads."""


@dataclass(frozen=True, slots=True)
class Registered:
    """`created`: it was not known before. `registered_at`: ISO-8601."""

    status: str
    created: bool
    registered_at: str
    grants: list[Grant]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`cancel`: lease ids whose work the agent should stop; `unknown`: lease ids it named that are not live."""

    status: str
    heartbeat_at: str
    drain: bool
    cancel: list[str]
    unknown: list[str]
    grants: list[Grant]


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """`updated_at`: ISO-8601."""

    status: str
    updated_at: str
    grants: list[Grant]


@dataclass(frozen=True, slots=True)
class AgentPage:
    """`next_cursor`: opaque, None at the end."""

    agents: list[Agent]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RegistryStats:
    """Counts of the registry; `last_cleanup`: ISO-8601 of the last sweep, None before the first."""

    total_agents: int
    status_counts: dict[str, int]
    type_counts: dict[str, int]
    service_count: int
    capability_count: int
    last_cleanup: str | None


def register(agent: Registration) -> Step[Registered]:
    """Add an agent or replace its record; live leases stay.

    Raises Full when the registry is at its cap, Conflict when the agent belongs to another API key.
    """
    terms = sorted({ANY} | index_terms(agent.agent_type, agent.capabilities, agent.services, agent.tags))
    kind, url = agent.callable_endpoint
    record: dict[str, Arg] = {
        "agent_type": agent.agent_type.value,
        "capabilities": json.dumps(agent.capabilities),
        "services": json.dumps(agent.services),
        "endpoints": json.dumps(agent.endpoints),
        "metadata": json.dumps(agent.metadata),
        "tags": json.dumps(agent.tags),
        "max_concurrency": agent.max_concurrency,
        "weight": agent.weight,
        "_kind": kind,
        "_url": url,
        "_secret": agent.sealed_secret,
    }
    pairs: list[Arg] = [item for pair in record.items() for item in pair]
    args: tuple[Arg, ...] = (
        agent.agent_id,
        "\n".join(["", *terms, ""]),
        micros(agent.heartbeat_timeout),
        agent.instance_id,
        "1" if agent.weight != 1.0 else "",
        agent.owner,
        agent.may,
        *pairs,
    )

    def parse(reply: list[Any]) -> Registered:
        if text(reply[0]) == "full":
            raise Full("the registry is full: remove agents or raise AITBC_MAX_AGENTS", retry_after=60)
        if text(reply[0]) == "foreign":
            raise Conflict(f"agent {agent.agent_id} is registered by another API key: use that key, send the agent's secret, or another id")
        return Registered(text(reply[0]), bool(reply[1]), text(reply[2]), grants(reply[3:]))

    return Step("register", args, parse)


def heartbeat(agent_id: str, load_metrics: Mapping[str, float] | None = None, leases: Sequence[str] = ()) -> Step[Heartbeat]:
    """A sign of life; renews the 202 leases it names. Never overrides maintenance, busy, error or draining.

    Raises NotFound.
    """

    def parse(reply: list[Any]) -> Heartbeat:
        if not reply:
            raise NotFound("Agent", agent_id)
        status, at, cancel, unknown, given = reply
        return Heartbeat(text(status), text(at), text(status) == AgentStatus.DRAINING, texts(cancel), texts(unknown), grants(given))

    return Step("heartbeat", (agent_id, *_metrics(load_metrics), *leases), parse)


def set_status(
    agent_id: str, status: AgentStatus, load_metrics: Mapping[str, float] | None = None, versions: Versions = ()
) -> Step[StatusChanged]:
    """Set the status by hand; `active` also undoes a drain or a pending delete and closes the breaker.

    `versions`: the agent must have one of them. Raises NotFound, PreconditionFailed.
    """
    return _status(agent_id, status.value, load_metrics, versions)


def drain(agent_id: str, versions: Versions = ()) -> Step[StatusChanged]:
    """No new work, running work ends. Raises NotFound, PreconditionFailed."""
    return _status(agent_id, AgentStatus.DRAINING.value, versions=versions)


def resume(agent_id: str, versions: Versions = ()) -> Step[StatusChanged]:
    """Back to work. Raises NotFound, PreconditionFailed."""
    return _status(agent_id, AgentStatus.ACTIVE.value, versions=versions)


def remove(agent_id: str, versions: Versions = ()) -> Step[StatusChanged]:
    """Drain; gone with its last lease (at once when it has none). Raises NotFound, PreconditionFailed."""
    return _status(agent_id, "removed", versions=versions)


def read(agent_id: str) -> Step[Agent]:
    """One agent. Raises NotFound."""

    def parse(reply: list[Any]) -> Agent:
        if not reply:
            raise NotFound("Agent", agent_id)
        return _agent(reply)

    return Step("read_agent", (agent_id,), parse)


def page(limit: int, cursor: str | None = None, owner: str = "") -> Step[AgentPage]:
    """Agents (of this API key) by id, at most `limit` (1 to 1,000) and 4 MiB after `cursor`.

    Raises Invalid for a cursor that is not ours.
    """
    if cursor is not None and not cursor.startswith("a:"):
        raise Invalid("cursor: use the next_cursor of an earlier answer")

    def parse(reply: list[Any]) -> AgentPage:
        more, *found = reply
        agents = [_agent(item) for item in found]
        return AgentPage(agents, f"a:{agents[-1].agent_id}" if more else None)

    return Step("list_agents", (limit, (cursor or "a:")[2:], owner), parse)


def discover(query: AgentQuery) -> Step[list[Agent]]:
    """Agents that satisfy every given field, best health first; an unknown word gives none."""
    terms = index_terms(query.agent_type, query.capabilities, query.services, query.tags)
    if query.status is not None:
        terms.add(f"status:{query.status}")
    if query.owner:
        terms.add(f"own:{query.owner}")
    args: tuple[Arg, ...] = (query.limit, round(query.min_health_score * 10), *sorted(terms or {ANY}))
    return Step("discover", args, lambda reply: sorted(map(_agent, reply), key=lambda agent: (-agent.health_score, agent.agent_id)))


def sealed_secret(agent_id: str) -> Step[str]:
    """The agent's secret, encrypted; empty when it has none, or is unknown."""

    def parse(reply: list[Any]) -> str:
        return dict(zip(texts(reply[3::2]), texts(reply[4::2]), strict=True)).get("_secret", "")

    return Step("read_agent", (agent_id,), parse)


def stats(statuses: Sequence[str], types: Sequence[str]) -> Step[RegistryStats]:
    """Counts of the registry, for these statuses and types."""

    def parse(reply: list[Any]) -> RegistryStats:
        total, services, capabilities, swept, *counts = reply
        by_status = {name: int(n) for name, n in zip(statuses, counts, strict=False)}
        by_type = {name: int(n) for name, n in zip(types, counts[len(statuses) :], strict=True)}
        return RegistryStats(int(total), by_status, by_type, int(services), int(capabilities), iso(swept) if swept else None)

    return Step("registry", tuple([f"status:{s}" for s in statuses] + [f"type:{t}" for t in types]), parse)


def load_of(metrics: Mapping[str, float]) -> int:
    """The mean of cpu, memory and queue in thousandths (0 to 1,000): what resource_based adds to an agent's own share of slots."""
    known = [min(1.0, max(0.0, metrics[key])) for key in LOAD_KEYS if key in metrics]
    return round(1000 * sum(known) / len(known)) if known else 0


def _metrics(metrics: Mapping[str, float] | None) -> tuple[str, str | int]:
    """As the scripts take them: JSON and load, both empty when unchanged."""
    return ("", "") if metrics is None else (json.dumps(dict(metrics)), load_of(metrics))


def _status(agent_id: str, status: str, load_metrics: Mapping[str, float] | None = None, versions: Versions = ()) -> Step[StatusChanged]:
    def parse(reply: list[Any]) -> StatusChanged:
        if not reply:
            raise NotFound("Agent", agent_id)
        if text(reply[0]) == "version":
            raise PreconditionFailed(f"agent {agent_id} is at version {text(reply[1])} now: read it again")
        return StatusChanged(text(reply[0]), text(reply[1]), grants(reply[2:]))

    return Step("set_status", (agent_id, status, *_metrics(load_metrics), *versions), parse)


def _agent(reply: list[Any]) -> Agent:
    """Read what read_agent.lua returns: active leases, health now (thousandths), heartbeat timeout (µs), then the hash."""
    active, health, timeout, *flat = reply
    fields = dict(zip(texts(flat[::2]), texts(flat[1::2]), strict=True))
    return Agent(
        agent_id=fields["agent_id"],
        agent_type=fields["agent_type"],
        status=fields["status"],
        capabilities=json.loads(fields["capabilities"]),
        services=json.loads(fields["services"]),
        endpoints=json.loads(fields["endpoints"]),
        metadata=json.loads(fields["metadata"]),
        tags=json.loads(fields["tags"]),
        max_concurrency=int(fields["max_concurrency"]),
        weight=float(fields["weight"]),
        active=int(active),
        last_heartbeat=fields["last_heartbeat"],
        registration_time=fields["registration_time"],
        load_metrics=json.loads(fields.get("load_metrics") or "{}"),
        health_score=int(health) / 1000,
        version=int(fields["version"]),
        breaker=fields.get("breaker") or "closed",
        heartbeat_timeout=int(timeout) / 1_000_000,
        has_secret=bool(fields.get("_secret")),
        owner=fields.get("_owner"),
    )
