"""Log lines: JSON on stderr, for structlog and the standard library alike, with the request's id and without secrets.

Rooms write to `logging.getLogger(__name__)`; only this module knows structlog.
"""

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_NAMES = ("authorization", "token", "secret", "api_key", "apikey", "password", "cookie")
"""A field whose name holds one of these is never written out."""

REDACTED = "[redacted]"
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
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tracebacks, renderer]
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
    """Add fields (`request_id`, `task_id`) to every line of this request, greenlet or coroutine from now on."""
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
    if depth and isinstance(value, Mapping):
        return {key: _redact(item, str(key), depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple):
        return [_redact(item, "", depth - 1) for item in value]
    return value


def _merge_bound(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**_bound.get(), **event}


def _redact_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact fields; `_record` and the like are structlog's own."""
    return {key: value if key.startswith("_") else redact(value, key) for key, value in event.items()}


def _shared() -> list[Processor]:
    return [
        _merge_bound,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact_line,
    ]
