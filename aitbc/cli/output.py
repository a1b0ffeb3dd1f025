"""Printing: JSON on stdout and nothing else there, or text for people; messages go to stderr."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from aitbc.cli.base import wants_json

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CELL = 60
"""Characters of a table cell; longer texts are cut (JSON has all)."""


def show(answer: Mapping[str, Any], text: str) -> None:
    """The answer as JSON, or `text`."""
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False) if wants_json() else text)


def say(message: str) -> None:
    """A message for a person, on stderr."""
    click.echo(message, err=True)


def show_list(answer: Mapping[str, Any], items: str, columns: Mapping[str, str]) -> None:
    """A page as JSON, or as a table: column title -> path into the item (`error.code`). Tells when there is more."""
    rows = [[plain(dig(item, path)) for path in columns.values()] for item in answer.get(items) or ()]
    show(answer, table(list(columns), rows) if rows else f"no {items}")
    if answer.get("next_cursor") and not wants_json():
        say(f"there is more: --cursor {answer['next_cursor']}")


def show_object(thing: Mapping[str, Any]) -> None:
    """An object as JSON, or a field a line; empty fields are left out."""
    fields = [(name, plain(value, limit=None)) for name, value in thing.items() if value not in (None, [], {}, "")]
    width = max((len(name) for name, _ in fields), default=0)
    show(thing, "\n".join(f"{name:<{width}}  {value}" for name, value in fields))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns aligned, two spaces between, no space at the end of a line."""
    lines = [[title.upper() for title in titles], *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(titles))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def plain(value: Any, limit: int | None = _CELL) -> str:
    """A value as one line: lists with commas, objects as JSON, nothing as `-`; no control characters reach the terminal."""
    if value is None or value in ("", [], {}):
        text = "-"
    elif isinstance(value, list) and all(isinstance(part, str) for part in value):
        text = ", ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = _CONTROL.sub("�", text)
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def dig(item: Any, path: str) -> Any:
    """The value at a dotted path; None when there is none."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, dict) else None
    return item


def without_password(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
