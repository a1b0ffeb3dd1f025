"""Bodies and queries of the task calls."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from aitbc.dispatch.guard import MOST_URL
from aitbc.ledger.strategy import STRATEGIES
from aitbc.ledger.tasks import TaskFilter
from aitbc.model.agent import AgentType
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements, index_terms
from aitbc.model.task import TaskState
from aitbc.web.schemas.base import ID_SCHEMA, AnyCase, Body, ChosenId, Flag, Integer, Number, Query, Share, Term, chosen_id, null_in_schema

MAX_TERMS = 16
FewTerms = Annotated[list[Term], Field(max_length=MAX_TERMS)]
YEAR = 366 * 86_400.0
END_OF_TIME = 4_102_444_800.0
"""2100-01-01: the ledger counts microseconds, which Redis' scores hold exactly until 2255."""

Duration = Annotated[Number, Field(gt=0, le=YEAR)]


def _unix(value: Any) -> Any:
    """Unix seconds of ISO-8601 with a zone; all else is left to the checks of a number."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be ISO-8601, as 2026-05-07T16:26:55+00:00, or Unix seconds") from None
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, as in 2026-05-07T16:26:55+00:00")
    return moment.timestamp()


_DAY = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
INSTANT_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "exclusiveMaximum": END_OF_TIME},
        {
            "type": "string",
            "pattern": rf"^20\d\d-{_DAY}T{_TIME}(Z|[+-]\d\d:[0-5]\d)$".replace(r"\d", "[0-9]"),
            "description": "ISO-8601 with a zone",
        },
    ]
}
Instant = Annotated[Number, Field(ge=0, lt=END_OF_TIME), BeforeValidator(_unix), WithJsonSchema(INSTANT_SCHEMA)]


class RequirementsBody(Body):
    """`requirements` of a submit."""

    agent_type: AgentType | None = None
    capabilities: FewTerms = Field(default_factory=list)
    services: FewTerms = Field(default_factory=list)
    tags: FewTerms = Field(default_factory=list)
    min_health_score: Share = 0.0

    @model_validator(mode="after")
    def _few_terms(self) -> "RequirementsBody":
        if len(index_terms(self.agent_type, self.capabilities, self.services, self.tags)) > MAX_TERMS:
            raise ValueError(f"at most {MAX_TERMS} different terms (type, capabilities, services and tags together)")
        return self

    def as_requirements(self) -> Requirements:
        """The same in the words of the model; repeated words count once, and their order does not."""
        return Requirements(
            agent_type=self.agent_type.value if self.agent_type else None,
            capabilities=tuple(sorted(set(self.capabilities))),
            services=tuple(sorted(set(self.services))),
            tags=tuple(sorted(set(self.tags))),
            min_health_score=self.min_health_score,
        )


def _one_of_two_times(schema: dict[str, Any]) -> None:
    null_in_schema(schema)
    given = {"delay": {"not": {"type": "null"}}, "run_at": {"not": {"type": "null"}}}
    schema["not"] = {"properties": given, "required": list(given)}
    schema["examples"] = [{"task_data": {"prompt": "hello"}, "priority": "high", "requirements": {"capabilities": ["general"]}}]


class Submit(Body):
    """POST /tasks/submit."""

    model_config = ConfigDict(json_schema_extra=_one_of_two_times)

    task_data: Annotated[
        dict[str, Any], Field(json_schema_extra={"properties": {"task_id": {"anyOf": [ID_SCHEMA, {"not": {"type": "string"}}]}}})
    ]
    priority: AnyCase = Priority.NORMAL.value
    requirements: RequirementsBody = Field(default_factory=RequirementsBody)
    task_id: ChosenId | None = None
    max_attempts: Annotated[Integer, Field(ge=1, le=50)] = 3
    run_timeout: Annotated[Number, Field(gt=0, le=86_400)] = 300.0
    queue_timeout: Duration | None = None
    delay: Annotated[Number, Field(ge=0, le=YEAR)] | None = None
    run_at: Instant | None = None
    idempotent: Flag = False
    affinity_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    callback_url: Annotated[str, StringConstraints(min_length=1, max_length=MOST_URL)] | None = None

    @model_validator(mode="after")
    def _one_time(self) -> "Submit":
        if self.delay is not None and self.run_at is not None:
            raise ValueError("give delay or run_at, not both")
        return self

    @model_validator(mode="after")
    def _one_id(self) -> "Submit":
        """`task_data.task_id` is the task's id, when it is a string."""
        inner = self.task_data.get("task_id")
        if isinstance(inner, str):
            if self.task_id not in {None, inner}:
                raise ValueError("task_id and task_data.task_id differ: give one, or the same")
            try:
                self.task_id = chosen_id(inner)
            except ValueError as exc:
                raise ValueError(f"task_data.task_id: {exc}") from None
        return self


class SubmitBatch(Body):
    """POST /tasks/submit/batch: each task as the body of a submit, checked one by one."""

    tasks: Annotated[list[Any], Field(min_length=1, max_length=1000)]


class WaitQuery(Query):
    """GET /tasks/{id}: seconds to wait for its end."""

    wait: Annotated[float, Field(ge=0, le=60)] | None = None


class TaskFilterQuery(Query):
    """GET /tasks/dead, and the base of GET /tasks."""

    priority: AnyCase | None = None
    agent_id: Annotated[str, StringConstraints(max_length=128)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, StringConstraints(max_length=512)] | None = None

    def as_filter(self, state: TaskState | None, owner: str = "") -> TaskFilter:
        """The same in the words of the ledger. Raises BadRequest for an invalid priority."""
        return TaskFilter(state, Priority.parse(self.priority) if self.priority is not None else None, self.agent_id, owner)


class TaskPageQuery(TaskFilterQuery):
    """GET /tasks."""

    state: TaskState | None = None


class DeadPageQuery(TaskFilterQuery):
    """GET /tasks/dead."""

    error_code: Annotated[str, StringConstraints(max_length=64)] | None = None


def _one_way_to_choose(schema: dict[str, Any]) -> None:
    null_in_schema(schema)

    def given(name: str) -> dict[str, Any]:
        return {"properties": {name: {"not": {"enum": [None, False]}}}, "required": [name]}

    filters = [given(name) for name in ("priority", "agent_id", "error_code")]
    schema["oneOf"] = [given("task_ids"), given("all"), {"anyOf": filters}]


class DeadChoice(Body):
    """Which dead letters to retry or drop: by id, all, or by filter; `cursor` goes on where an answer stopped."""

    model_config = ConfigDict(json_schema_extra=_one_way_to_choose)

    task_ids: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    all: Flag = False
    priority: AnyCase | None = None
    agent_id: Annotated[str, StringConstraints(max_length=128)] | None = None
    error_code: Annotated[str, StringConstraints(max_length=64)] | None = None
    cursor: Annotated[str, StringConstraints(max_length=512)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "DeadChoice":
        filters = any(value is not None for value in (self.priority, self.agent_id, self.error_code))
        if [self.task_ids is not None, self.all, filters].count(True) != 1:
            raise ValueError('say which dead letters: task_ids, or "all": true, or one or more of priority, agent_id, error_code')
        return self

    def as_filter(self, owner: str = "") -> TaskFilter:
        """The filter. Raises BadRequest for an invalid priority."""
        return TaskFilter(TaskState.FAILED, Priority.parse(self.priority) if self.priority is not None else None, self.agent_id, owner)


class Completed(Body):
    """POST /tasks/{id}/complete."""

    result: Any = None


class Failed(Body):
    """POST /tasks/{id}/fail. `error`: a text, or an object with a `message`."""

    error: Any = None
    retryable: Flag = False


class Progress(Body):
    """POST /tasks/{id}/progress."""

    percent: Annotated[Number, Field(ge=0, le=100)] | None = None
    message: Annotated[str, StringConstraints(max_length=1000)] | None = None
    data: Any = None


class StrategyQuery(Query):
    """PUT /load-balancer/strategy."""

    strategy: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(STRATEGIES)})]
