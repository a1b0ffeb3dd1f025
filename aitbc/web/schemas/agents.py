"""Bodies and queries of the agent calls."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from aitbc.model.agent import ENDPOINT_KINDS, AgentQuery, AgentStatus, AgentType, Registration
from aitbc.web.schemas.base import Body, ChosenId, Integer, LoadMetrics, Number, Query, Share, Term, Terms

Kind = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Url = Annotated[str, StringConstraints(max_length=2048)]
LEAST_SECRET = 16
"""Characters: a shorter one can be guessed, from a signed request that was seen or by trying to take the agent over."""


class Register(Body):
    """POST /agents/register."""

    agent_id: ChosenId
    agent_type: AgentType
    capabilities: Terms = Field(default_factory=list)
    services: Terms = Field(default_factory=list)
    endpoints: Annotated[dict[Kind, Url], Field(max_length=16)] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    tags: Terms = Field(default_factory=list)
    max_concurrency: Annotated[Integer, Field(ge=1, le=10_000)] = 10
    weight: Annotated[Number, Field(gt=0, le=1000)] = 1.0
    heartbeat_timeout: Annotated[Number, Field(ge=0, le=86_400)] = 120.0
    secret: Annotated[str, StringConstraints(min_length=LEAST_SECRET, max_length=512)] | None = None
    instance_id: Annotated[str, StringConstraints(max_length=128)] = ""

    @property
    def called(self) -> dict[str, str]:
        """The endpoints that a worker may call, by kind; others are kept as they are."""
        return {kind: self.endpoints[kind] for kind in ENDPOINT_KINDS if self.endpoints.get(kind)}

    def as_registration(self, sealed_secret: str, owner: str = "", may: str = "any") -> Registration:
        """The same in the words of the model; repeated words count once. `owner`, `may`: see Registration."""
        return Registration(
            agent_id=self.agent_id,
            agent_type=self.agent_type,
            capabilities=tuple(dict.fromkeys(self.capabilities)),
            services=tuple(dict.fromkeys(self.services)),
            endpoints=self.endpoints,
            metadata=self.metadata,
            tags=tuple(dict.fromkeys(self.tags)),
            max_concurrency=self.max_concurrency,
            weight=self.weight,
            heartbeat_timeout=self.heartbeat_timeout,
            sealed_secret=sealed_secret,
            instance_id=self.instance_id,
            owner=owner,
            may=may,
        )


class Discover(Body):
    """POST /agents/discover. Status and type are any words: an unknown one finds nothing."""

    status: str | None = None
    agent_type: str | None = None
    capabilities: Terms = Field(default_factory=list)
    services: Terms = Field(default_factory=list)
    tags: Terms = Field(default_factory=list)
    min_health_score: Share = 0.0
    limit: Annotated[Integer, Field(ge=1, le=1000)] = 1000

    def as_query(self, owner: str = "") -> AgentQuery:
        """The same in the words of the model."""
        return AgentQuery(
            status=self.status,
            agent_type=self.agent_type,
            capabilities=tuple(self.capabilities),
            services=tuple(self.services),
            tags=tuple(self.tags),
            min_health_score=self.min_health_score,
            limit=self.limit,
            owner=owner,
        )


class Status(Body):
    """PUT /agents/{id}/status."""

    status: AgentStatus
    load_metrics: LoadMetrics | None = None


class Heartbeat(Body):
    """POST /agents/{id}/heartbeat. `leases`: lease ids of 202 work that is still alive."""

    load_metrics: LoadMetrics | None = None
    leases: Annotated[list[Annotated[str, StringConstraints(max_length=160)]], Field(max_length=10_000)] = Field(default_factory=list)


class AgentPageQuery(Query):
    """GET /agents."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, StringConstraints(max_length=512)] | None = None


class ServicePath(BaseModel):
    """`/agents/service/{service}`."""

    service: Term


class CapabilityPath(BaseModel):
    """`/agents/capability/{capability}`."""

    capability: Term
