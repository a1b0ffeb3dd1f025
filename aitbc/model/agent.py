"""An agent: a registered HTTP service that executes tasks."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AgentType(StrEnum):
    """What an agent is for; tasks may ask for one."""

    COORDINATOR = "coordinator"
    WORKER = "worker"
    SPECIALIST = "specialist"
    MONITOR = "monitor"
    GATEWAY = "gateway"
    ORCHESTRATOR = "orchestrator"
    INFERENCE = "inference"
    TRAINING = "training"
    PROCESSING = "processing"


class AgentStatus(StrEnum):
    """Only `active`, with its breaker not open, gets work."""

    ACTIVE = "active"
    INACTIVE = "inactive"  # a heartbeat was missed
    BUSY = "busy"
    MAINTENANCE = "maintenance"
    ERROR = "error"  # answered 401 or 403
    DRAINING = "draining"  # no new work, running work ends


class Breaker(StrEnum):
    """The circuit breaker of an agent: open after failures in a row, then half open with room for one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


ENDPOINT_KINDS = ("http", "a2a", "openai", "ollama")
"""Endpoint kinds the worker can call, in the order they are tried; each is an adapter in aitbc/dispatch/adapters/."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What an agent says of itself. `heartbeat_timeout` in seconds, 0 = it sends none. `sealed_secret`: encrypted, or empty.

    `owner`: the API key that registers, or empty. `may`: over whose agent of this id: `any` (an admin), empty (its own), or the sealed
    secret of the agent that it has shown to know.
    """

    agent_id: str
    agent_type: AgentType
    capabilities: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    endpoints: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    max_concurrency: int = 10
    weight: float = 1.0
    heartbeat_timeout: float = 120.0
    sealed_secret: str = ""
    instance_id: str = ""
    owner: str = ""
    may: str = "any"

    @property
    def callable_endpoint(self) -> tuple[str, str]:
        """Kind and URL of the endpoint that gets its tasks; two empty texts when it has none that we can call."""
        for kind in ENDPOINT_KINDS:
            if self.endpoints.get(kind):
                return kind, self.endpoints[kind]
        return "", ""


@dataclass(frozen=True, slots=True)
class AgentQuery:
    """What `discover` asks: every given field must hold. Unknown words simply match nothing. `owner`: an API key, or empty."""

    status: str | None = None
    agent_type: str | None = None
    capabilities: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    min_health_score: float = 0.0
    limit: int = 1000
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as the ledger has it now; `active` is the number of its live leases. Times are ISO-8601 UTC."""

    agent_id: str
    agent_type: str
    status: str
    capabilities: list[str]
    services: list[str]
    endpoints: dict[str, str]
    metadata: dict[str, Any]
    tags: list[str]
    max_concurrency: int
    weight: float
    active: int
    last_heartbeat: str
    registration_time: str
    load_metrics: dict[str, float]
    health_score: float
    version: int
    breaker: str
    heartbeat_timeout: float
    has_secret: bool
    owner: str | None
