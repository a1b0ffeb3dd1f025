"""Bodies of answers, as /openapi.json tells them. Views build plain dicts; schemathesis and the contract table compare."""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from aitbc.model.agent import Agent
from aitbc.model.priority import Priority
from aitbc.model.task import Task, TaskState


class Problem(BaseModel):
    """An error, RFC 9457. `message` repeats `detail`."""

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    message: str
    request_id: str
    errors: list["FieldFault"] | None = None


class FieldFault(BaseModel):
    """One wrong field: a JSON pointer into the body, and what is wrong with it."""

    pointer: str
    detail: str


class OneOfBatch(BaseModel):
    """What became of one task of a batch: an accepted submit, or an error with its status as a number."""

    status: Literal["success"] | int
    message: str
    task_id: str | None = None
    priority: str | None = None
    submitted_at: str | None = None
    retry_after: int | None = None


class Success(BaseModel):
    """`status` is always success."""

    status: Literal["success"]


class Timed(Success):
    """With the time of the answer."""

    timestamp: AwareDatetime


class AgentRegistered(Success):
    """POST /agents/register."""

    message: str
    agent_id: str
    registered_at: AwareDatetime


class AgentsFound(Timed):
    """POST /agents/discover, /agents/service, /agents/capability."""

    query: dict[str, Any] | None = None
    service: str | None = None
    capability: str | None = None
    agents: list[Agent]
    count: int


class AgentsPage(Timed):
    """GET /agents."""

    agents: list[Agent]
    count: int
    next_cursor: str | None


class OneAgent(Timed):
    """GET /agents/{agent_id}."""

    agent: Agent


class StatusSet(Success):
    """PUT /agents/{agent_id}/status."""

    message: str
    agent_id: str
    new_status: str
    updated_at: AwareDatetime


class StatusChanged(StatusSet, Timed):
    """Drain, resume, delete."""


class Heard(Success):
    """POST /agents/{agent_id}/heartbeat."""

    message: str
    agent_id: str
    heartbeat_at: AwareDatetime
    drain: bool
    cancel: list[str]
    unknown: list[str]


class RegistryStats(Timed):
    """GET /registry/stats."""

    stats: dict[str, Any]


class TaskAccepted(Success):
    """POST /tasks/submit."""

    message: str
    task_id: str
    priority: str
    submitted_at: AwareDatetime


class BatchAnswered(Timed):
    """POST /tasks/submit/batch."""

    results: list[OneOfBatch]
    accepted_count: int
    refused_count: int


class OneTask(Timed):
    """GET /tasks/{task_id}."""

    task: Task


class TasksPage(Timed):
    """GET /tasks, /tasks/dead."""

    tasks: list[Task]
    count: int
    next_cursor: str | None


class TaskChanged(Timed):
    """Cancel, retry, complete, fail."""

    task_id: str
    state: TaskState


class Renewed(Timed):
    """POST /tasks/{task_id}/progress."""

    task_id: str
    cancel: bool
    expires_at: AwareDatetime


class QueueSizes(Timed):
    """GET /tasks/queues."""

    queue_sizes: dict[Priority, int]
    paused: list[Priority]


class Outbox(BaseModel):
    """Ends of tasks that their callback_urls are to be told, were told, or will never be told."""

    due: int
    delivered: int
    given_up: int


class QueueStats(QueueSizes):
    """GET /tasks/queues/stats."""

    total: int
    callbacks: Outbox


class QueueCleared(Timed):
    """POST /tasks/queues/{priority}/clear."""

    priority: Priority
    cleared_count: int
    more: bool


class QueuePaused(Timed):
    """Pause, resume."""

    priority: Priority
    paused: bool


class Bulk(Timed):
    """What a call over many dead letters came to."""

    skipped: list[str]
    next_cursor: str | None
    more: bool


class DeadRetried(Bulk):
    """POST /tasks/dead/retry."""

    retried_count: int


class DeadDropped(Bulk):
    """POST /tasks/dead/drop."""

    dropped_count: int


class StrategySet(Timed):
    """PUT /load-balancer/strategy."""

    message: str
    strategy: str


class BalancerStats(BaseModel):
    """An assignment is an attempt that was begun."""

    strategy: str
    active_agents: int
    total_assignments: int
    avg_agent_load: float
    successful_assignments: int
    failed_assignments: int
    success_rate: float
    agent_weights: dict[str, float]


class Balancer(Timed):
    """GET /load-balancer/stats."""

    stats: BalancerStats


class TaskStats(BaseModel):
    """Counters since the ledger's first day."""

    tasks_distributed: int
    tasks_completed: int
    tasks_failed: int
    avg_distribution_time: float
    load_balancer_stats: BalancerStats
    queue_sizes: dict[Priority, int]


class TaskStatus(Timed):
    """GET /tasks/status."""

    stats: TaskStats


class Index(BaseModel):
    """GET /."""

    service: str
    description: str
    version: str
    endpoints: list[str]


class Health(BaseModel):
    """GET /health."""

    status: Literal["healthy"]
    service: str
    timestamp: AwareDatetime
    version: str


class Ready(BaseModel):
    """GET /ready."""

    status: Literal["ready"]
    service: str
    workers: int
    warnings: list[str]
    timestamp: AwareDatetime


class Spec(BaseModel):
    """An OpenAPI 3.1 document."""

    openapi: Literal["3.1.0"]
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
