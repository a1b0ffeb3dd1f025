"""A step is a value: which script, which arguments, how to read its reply.

All logic of a transition is in its Lua, so there are no blocking and asynchronous twins: whoever has a client runs the step.  Every step
is safe to repeat: a repeat returns the same answer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from aitbc.model.lease import Grant
from aitbc.model.priority import PRIORITIES

T = TypeVar("T")
Arg = str | bytes | int | float
Versions = tuple[str, ...]
"""What If-Match names: the thing must have one of these versions; empty: any."""
MICRO = 1_000_000
"""Microseconds a second: times in scripts are whole microseconds."""


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """`script`: a file of lua/ without its ending; `parse` reads the reply and raises what a refusal means.

    `wide`: its script takes many such steps at once, their arguments behind each other, and returns all replies in one list (`each_reply`).
    """

    script: str
    args: tuple[Arg, ...]
    parse: Callable[[Any], T]
    wide: bool = False


def each_reply(replies: Sequence[Any]) -> Iterator[Any]:
    """The replies of a wide script: each a list behind its length, or an error."""
    at = 0
    while at < len(replies):
        length = replies[at]
        if isinstance(length, Exception):
            yield length
            length = 0
        else:
            yield replies[at + 1 : at + 1 + length]
        at += 1 + length


def text(value: bytes | str | int | None) -> str:
    """A reply's text; None is empty."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def texts(values: Sequence[Any]) -> list[str]:
    """A reply's texts."""
    return [text(value) for value in values]


def grants(values: Sequence[Any]) -> list[Grant]:
    """Leases that need a `dispatch` job: scripts return each as `{lease id} {rank} {retries by hand}`."""
    parts = (text(value).split(" ") for value in values)
    return [Grant(lease_id, PRIORITIES[int(rank)], int(retries)) for lease_id, rank, retries in parts]


def micros(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * MICRO)


def iso(value: Any) -> str:
    """A script's microseconds since 1970 as ISO-8601 UTC with microseconds and `+00:00`."""
    return datetime.fromtimestamp(int(float(value)) / MICRO, UTC).isoformat(timespec="microseconds")


def iso_or_none(value: Any) -> str | None:
    """`iso`, None for an absent or empty time."""
    return iso(value) if value not in (None, b"", "", b"0", "0") else None
