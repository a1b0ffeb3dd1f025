"""The API's own reference: OpenAPI 3.1, and a page that needs neither a network nor JavaScript."""

from typing import Any

from flask import Flask, Response, current_app, render_template
from flask_openapi3.blueprint import APIBlueprint

from aitbc.web import openapi
from aitbc.web.openapi import Schema

blueprint = APIBlueprint("reference", __name__, template_folder="templates")

KEY = "aitbc-spec"
CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The page has a style sheet and an empty icon of its own inside it, and nothing else."""


@blueprint.get("/openapi.json")
def spec() -> Schema:
    """This description of the API: OpenAPI 3.1."""
    return of(current_app)


@blueprint.get("/docs")
def page() -> Response:
    """The same for people."""
    document = of(current_app)
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append({"path": path, "method": method.upper(), **operation})
    schemas = document["components"]["schemas"]
    text = render_template("reference.html", spec=document, tags=tags, schemas=schemas, words=in_words, place=place_of)
    return Response(text, headers={"Content-Security-Policy": CSP}, content_type="text/html; charset=utf-8")


def of(app: Flask) -> Schema:
    """The application's document, made once."""
    if KEY not in app.extensions:
        app.extensions[KEY] = openapi.spec(app)
    found: Schema = app.extensions[KEY]
    return found


def place_of(schema: Schema) -> str:
    """The name of the schema that this one leads to; empty when none."""
    inside = (one for one in (*schema.get("anyOf", ()), schema.get("items", {})) if "$ref" in one)
    return str((schema if "$ref" in schema else next(inside, {"$ref": ""}))["$ref"].rpartition("/")[2])


def in_words(schema: Schema) -> str:
    """A schema on one line: `integer 1 to 50, default 3`."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        kinds = " or ".join(in_words(one) for one in schema["anyOf"] if one != {"type": "null"})
    elif "enum" in schema:
        kinds = ", ".join(map(str, schema["enum"]))
    elif schema.get("type") == "array":
        kinds = f"list of {in_words(schema.get('items', {}))}"
    else:
        kinds = str(schema.get("const", schema.get("type", "anything")))
    return kinds + _bounds(schema)


def _bounds(schema: Schema) -> str:
    words = {
        "minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<",
        "minLength": "characters ≥", "maxLength": "characters ≤", "minItems": "items ≥", "maxItems": "items ≤", "maxProperties": "names ≤",
        "default": "default",
    }  # fmt: skip
    told = [f"{word} {schema[name]}" for name, word in words.items() if schema.get(name) not in (None, "")]
    return ", " + ", ".join(told) if told else ""
