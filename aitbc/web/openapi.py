"""OpenAPI 3.1 of the application: from its routes, and from the models that validate what they take.

What they answer stands in calls.py; nothing is written twice.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, get_type_hints

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from aitbc import __version__
from aitbc.errors import (
    AitbcError,
    BadRequest,
    Forbidden,
    Full,
    Invalid,
    LedgerAway,
    NotFound,
    TooLarge,
    TooSlow,
    Unauthorized,
    UnsupportedMedia,
)
from aitbc.web.access import PUBLIC, SCOPES, TOKEN
from aitbc.web.calls import CALLS, Says
from aitbc.web.problems import CONTENT_TYPE
from aitbc.web.requests import path_of
from aitbc.web.schemas.answers import Problem

Schema = dict[str, Any]

PLACE = "#/components/schemas/{model}"
QUIET = frozenset({"HEAD", "OPTIONS"})
"""Methods that every path answers by itself."""
ABOUT = (
    "Every path also answers under `/v1`. JSON in and out, UTF-8. Unknown fields are ignored, and null is the same as leaving a field"
    " out. docs/api.md says what the calls mean."
)
TAKEN: dict[str, Schema] = {
    "Idempotency-Key": {"type": "string", "pattern": r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$"},
    "Authorization": {"type": "string", "description": "Bearer and the token of the attempt"},
    "Last-Event-ID": {"type": "string", "description": "The id of the last event that was heard: those after it follow"},
    "If-Match": {"type": "string", "description": "The ETag that the thing must still have, or *"},
    "If-None-Match": {"type": "string", "description": "An ETag that the client has: the same again is 304"},
    "Prefer": {"type": "string", "description": "wait=n, in seconds (RFC 7240); the query's wait wins"},
}
GIVEN: dict[str, Schema] = {
    "X-Request-Id": {"type": "string"},
    "Location": {"type": "string"},
    "ETag": {"type": "string"},
    "Preference-Applied": {"type": "string"},
    "Retry-After": {"type": "integer", "minimum": 1},
}
HEADERS_TOO_LARGE = 431


@dataclass(slots=True)
class Call:
    """One route of the application and what its view takes."""

    path: str
    method: str
    endpoint: str
    about: str
    says: Says
    models: dict[str, type[BaseModel]] = field(default_factory=dict)

    @property
    def operation_id(self) -> str:
        """Its view's name: the same in every release."""
        return self.endpoint.replace(".", "_")

    @property
    def keyed(self) -> bool:
        """Whether it needs an API key where there are keys."""
        return SCOPES[self.endpoint] not in {PUBLIC, TOKEN}

    @property
    def path_names(self) -> list[str]:
        """The names in its path."""
        return list(self.models["path"].model_fields) if "path" in self.models else []


def routes(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every rule and method of the application, `/v1` left out: each is the same call again."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda one: one.rule):
        if not rule.endpoint.startswith("v1-"):
            yield from ((rule, method) for method in sorted((rule.methods or set()) - QUIET))


def calls(app: Flask) -> list[Call]:
    """The calls, by path. Raises KeyError for one that has no row in CALLS."""
    found = []
    for rule, method in routes(app):
        view = inspect.unwrap(app.view_functions[rule.endpoint])
        hints = get_type_hints(view)
        models: dict[str, type[BaseModel]] = {name: hints[name] for name in ("path", "query", "body") if name in hints}
        found.append(Call(path_of(rule.rule), method, rule.endpoint, inspect.getdoc(view) or "", CALLS[rule.endpoint], models))
    return found


def spec(app: Flask) -> Schema:
    """The whole document."""
    found = calls(app)
    bodies: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for call in found if (model := call.models.get("body"))]
    answers: list[tuple[type[BaseModel], JsonSchemaMode]] = [(call.says.body, "serialization") for call in found if call.says.body]
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = dict.fromkeys([*bodies, *answers, (Problem, "serialization")])
    places, schemas = models_json_schema(list(models), ref_template=PLACE)
    components = schemas["$defs"]
    paths: dict[str, Schema] = {}
    for call in found:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, found, places, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "aitbc", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {name: {"schema": schema} for name, schema in GIVEN.items()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key; docs/security.md"}},
        },
    }


def _operation(call: Call, all_calls: list[Call], places: dict[Any, Schema], components: dict[str, Schema]) -> Schema:
    operation: Schema = {
        "operationId": call.operation_id,
        "tags": [call.endpoint.partition(".")[0]],
        "summary": call.about.split("\n", maxsplit=1)[0],
        "parameters": [*_parameters(call, components), *({"name": n, "in": "header", "schema": TAKEN[n]} for n in call.says.takes)],
    }
    if body := call.models.get("body"):
        needed = any(one.is_required() for one in body.model_fields.values())
        operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": places[body, "validation"]}}}
    operation["responses"] = {"200": _success(call, all_calls, places), **_errors(call)}
    if call.keyed:
        operation["security"] = [{"key": []}, {}]
        operation["description"] = f"Needs an API key with the scope {SCOPES[call.endpoint]}, once there are keys."
    if "ETag" in call.says.gives:
        operation["responses"]["304"] = {"description": "The thing is as the client has it", "headers": _headers("ETag")}
    return operation


def _parameters(call: Call, components: dict[str, Schema]) -> Iterator[Schema]:
    for where in ("path", "query"):
        if model := call.models.get(where):
            schema = model.model_json_schema(ref_template=PLACE)
            components.update(schema.get("$defs", {}))
            needed = schema.get("required", [])
            for name, one in schema.get("properties", {}).items():
                yield {"name": name, "in": where, "required": where == "path" or name in needed, "schema": _never_null(one)}


def _never_null(schema: Schema) -> Schema:
    """A path or query has texts only."""
    some = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key not in {"anyOf", "title"} and value is not None}
    return {**kept, **some[0]} if some else kept


def _success(call: Call, all_calls: list[Call], places: dict[Any, Schema]) -> Schema:
    said = call.says
    content = {said.media: {"schema": places[said.body, "serialization"] if said.body else {}}}
    answer: Schema = {"description": "Done", "headers": _headers("X-Request-Id", *said.gives), "content": content}
    if said.makes:
        answer["links"] = {
            other.operation_id: {"operationId": other.operation_id, "parameters": {said.makes: f"$response.body#/{said.makes}"}}
            for other in all_calls
            if said.makes in other.path_names
        }
    return answer


def _errors(call: Call) -> Schema:
    """By status: those that follow from what the view takes, and those of its row."""
    errors: list[type[AitbcError]] = [*call.says.errors]
    if "body" in call.models:
        errors += [BadRequest, TooSlow, TooLarge, UnsupportedMedia]
    if call.models or "Idempotency-Key" in call.says.takes:
        errors.append(Invalid)
    if {"agent_id", "task_id"} & set(call.path_names):
        errors.append(NotFound)
    if call.says.ledger:
        errors.append(LedgerAway)
    if call.keyed:
        errors += [Unauthorized, Forbidden, Full]
    about: dict[int, str] = {HEADERS_TOO_LARGE: "The headers are larger than 64 KiB."}
    for error in errors:
        about.setdefault(error.status, inspect.getdoc(error) or error.title)
    return {str(status): _error(status, about[status]) for status in sorted(about)}


def _error(status: int, about: str) -> Schema:
    later = ("Retry-After",) if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE} else ()
    content = {CONTENT_TYPE: {"schema": {"$ref": PLACE.format(model="Problem")}}}
    return {"description": about, "headers": _headers("X-Request-Id", *later), "content": content}


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
