"""Celery's messages read by orjson: kombu's own reader, five times slower, is for what it alone writes (dates and the like)."""

from typing import Any

import orjson
from kombu.transport import virtual
from kombu.utils.json import loads

JSON = "application/json"


def envelope_of(text: bytes) -> Any:
    """A message as kombu keeps it in Redis, or None when it is none."""
    try:
        envelope = loads(text.decode()) if _is_kombus(text) else orjson.loads(text)
        return envelope if envelope["properties"]["delivery_tag"] else None
    except (ValueError, TypeError, KeyError):
        return None


def _is_kombus(text: bytes) -> bool:
    return b'"__type__"' in text


class Message(virtual.Message):
    """A message whose body is read so too."""

    def _decode(self) -> Any:
        body: Any = self.body
        if self.content_type == JSON and self.accept and JSON in self.accept and isinstance(body, bytes) and not _is_kombus(body):
            try:
                return orjson.loads(body)
            except ValueError:  # NaN, integers of more than 64 bits: kombu reads them
                pass
        return super()._decode()
