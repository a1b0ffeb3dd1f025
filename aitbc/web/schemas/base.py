"""Rules that all schemas share: null is absent, unknown fields are ignored, ids and terms have one form."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from aitbc.errors import NotFound
from aitbc.model.priority import PRIORITIES

ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
PATH_WORDS = frozenset({"status", "submit", "queues", "dead", "batch", "register", "discover", "service", "capability", ".", ".."})
"""Ids that would be another call's path (or, `.` and `..`, that clients resolve away)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_TERM = 64
MAX_ITEMS = 256
"""Items of a list and names of a dict that agents send."""


def chosen_id(value: str) -> str:
    """An id that a client chooses. Raises ValueError."""
    if not ID.fullmatch(value):
        raise ValueError("must be 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")
    if value in PATH_WORDS:
        raise ValueError(f"{value} is a word of the API's paths: choose another id")
    return value


def term(value: str) -> str:
    """A capability, service or tag; the ledger keeps them one a line. Raises ValueError."""
    if not 1 <= len(value) <= MAX_TERM or _CONTROL.search(value):
        raise ValueError(f"must be 1 to {MAX_TERM} characters, none of them a control character")
    return value


def _any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" for letter in word)


ID_SCHEMA = {"type": "string", "pattern": f"^{ID.pattern}$", "not": {"enum": sorted(PATH_WORDS)}}
ChosenId = Annotated[str, AfterValidator(chosen_id), WithJsonSchema(ID_SCHEMA)]
PathId = Annotated[str, WithJsonSchema({"type": "string", "pattern": ID_SCHEMA["pattern"]})]
"""An id in a path; another form is not found."""
Term = Annotated[
    str,
    AfterValidator(term),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_TERM, "pattern": r"^[^\x00-\x1f\x7f]*$"}),
]
Terms = Annotated[list[Term], Field(max_length=MAX_ITEMS)]
AnyCase = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(map(_any_case, PRIORITIES))})$"})]
"""A priority in any case; the views read it, since another text has an answer of its own."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Integer = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
LoadMetrics = Annotated[dict[Annotated[str, Field(max_length=64)], Number], Field(max_length=64)]
"""cpu, memory, queue (0 to 1) and any other names."""
Share = Annotated[Number, Field(ge=0, le=1)]


def null_in_schema(schema: dict[str, Any]) -> None:
    """What may be left out may be null."""
    needed = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        if name not in needed and not _takes_null(field):
            about = {key: field.pop(key) for key in ("default", "title", "description") if key in field}
            schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **about} if field else about


def _takes_null(field: dict[str, Any]) -> bool:
    return {"type": "null"} in field.get("anyOf", [])


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="ignore", json_schema_extra=null_in_schema)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, fields: Any) -> Any:
        """`"priority": null` is no priority."""
        return {name: value for name, value in fields.items() if value is not None} if isinstance(fields, dict) else fields


class Query(BaseModel):
    """A request's query. Texts are read as numbers here: a query has nothing else."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The JSON schema. flask-openapi3 asks for it at every request, and building it costs more than the request: built once."""
        if args or kwargs:
            return super().model_json_schema(*args, **kwargs)
        if cls not in _SCHEMAS:
            _SCHEMAS[cls] = super().model_json_schema()
        return _SCHEMAS[cls]


_SCHEMAS: dict[type[Query], dict[str, Any]] = {}


class AgentPath(BaseModel):
    """`/agents/{agent_id}`: what cannot be an id is not found."""

    agent_id: PathId

    @model_validator(mode="after")
    def _known_form(self) -> "AgentPath":
        _found("Agent", self.agent_id)
        return self


class TaskPath(BaseModel):
    """`/tasks/{task_id}`: what cannot be an id is not found."""

    task_id: PathId

    @model_validator(mode="after")
    def _known_form(self) -> "TaskPath":
        _found("Task", self.task_id)
        return self


def _found(kind: str, name: str) -> None:
    if not ID.fullmatch(name):
        raise NotFound(kind, name if len(name) <= 128 else name[:128] + "…")
