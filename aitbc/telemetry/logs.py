"""Log lines: JSON on stderr, for structlog and the standard library alike, with the ids of what is being done and without secrets.

Rooms write to `logging.getLogger(__name__)`; only this module knows structlog.
"""

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from aitbc.model.access import KEY_FORM

SECRET_NAMES = ("authorization", "token", "secret", "api_key", "apikey", "password", "cookie")
"""A field whose name holds one of these is never written out."""

_KEY = re.compile(rf"\b{KEY_FORM.pattern}")
"""An API key, wherever it stands in a text."""
REDACTED = "[redacted]"
_IN_TEXT = re.compile(r"(?i)(bearer +)[\w.~+/=-]{8,}|(://[^/\s:@\"]*:)[^/\s@\"]+(?=@)")
"""Secrets inside a text, an error's or a traceback's: a token behind `Bearer`, the password of a URL."""
LEVELS = ("debug", "info", "warning", "error")
NOTHING: Mapping[str, str] = {}

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=NOTHING)
"""What `bind` added. One variable and not structlog's one a field: it is set and cleared at every request."""


def configure(level: str = "info", *, json: bool = True, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (stderr) as one JSON object a line; `json=False`: for people at a terminal.

    Calling it again replaces the former set-up. An unknown level counts as info: a logger must never stop a start.
    """
    renderer: Processor = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    tracebacks: list[Processor] = [structlog.processors.format_exc_info] if json else []
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tracebacks, renderer, _redact_text]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper() if level.lower() in LEVELS else logging.INFO)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def bind(**fields: str) -> None:
    """Add fields (`request_id`, `task_id`, `lease_id`, `attempt`) to every line of this request, greenlet or coroutine from now on."""
    _bound.set({**_bound.get(), **fields})


def unbind() -> None:
    """Forget what `bind` added."""
    _bound.set(NOTHING)


def redact(value: object, name: str = "") -> object:
    """`value` without the secrets in it, found by the name of the field; dicts and lists are looked through, 8 levels deep."""
    return _redact(value, name, depth=8)


def _redact(value: object, name: str, depth: int) -> object:
    if value and any(word in name.lower() for word in SECRET_NAMES):
        return REDACTED
    if isinstance(value, str) and "aitbc_" in value:
        return _KEY.sub(REDACTED, value)
    if depth and isinstance(value, Mapping):
        return {key: _redact(item, str(key), depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple):
        return [_redact(item, "", depth - 1) for item in value]
    return value


def _merge_bound(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**_bound.get(), **event}


def _redact_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact fields; `_record` and the like are structlog's own, and so is `exc_info`, which must stay the tuple that it is."""
    return {key: value if key.startswith("_") or key == "exc_info" else redact(value, key) for key, value in event.items()}


def _redact_text(_logger: WrappedLogger, _method: str, line: Any) -> str:
    """The last step: `line` is the rendered text."""
    return _IN_TEXT.sub(lambda found: f"{found[1] or found[2]}{REDACTED}", line)


def _shared() -> list[Processor]:
    return [
        _merge_bound,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact_line,
    ]
