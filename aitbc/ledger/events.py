"""The stream of events: what became of tasks. Every task's end is in it, and of a watched task every state and its progress."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import redis

from aitbc.errors import LedgerAway, NotFound
from aitbc.ledger.client import Ledger
from aitbc.ledger.keys import BY_NAME
from aitbc.ledger.step import MICRO, Step, iso, text
from aitbc.model.task import TERMINAL

PAGE = 1000
"""Entries of one read."""
MOST_PAGES = 10
"""Reads that may be made to find one task's events among those of all."""
START = "0-0"
"""Before every entry."""
LONGEST_ID = (1 << 64) - 1
WRITTEN_WITHIN = 5000
"""Milliseconds after which the script that ended a task has written so."""


def place(event_id: str) -> tuple[int, int]:
    """An entry's id as something that can be compared. Raises ValueError for what is no id."""
    time, _, number = event_id.partition("-")
    if not (time.isascii() and time.isdecimal() and (number or "0").isascii() and (number or "0").isdecimal()):
        raise ValueError(event_id)
    found = int(time), int(number or 0)
    if max(found) > LONGEST_ID:
        raise ValueError(event_id)
    return found


@dataclass(frozen=True, slots=True)
class Event:
    """`word`: the state that the task reached, or `progress`; `agent_id`: of a running one; `progress`: JSON, empty when too large."""

    event_id: str
    task_id: str
    word: str
    agent_id: str = ""
    progress: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The event as the API shows it."""
        named: dict[str, Any] = {"task_id": self.task_id, "at": iso(place(self.event_id)[0] * (MICRO // 1000))}
        if self.word == "progress":
            return {**named, "progress": json.loads(self.progress) if self.progress else None}
        return {**named, "state": self.word, **({"agent_id": self.agent_id} if self.agent_id else {})}


@dataclass(frozen=True, slots=True)
class Watched:
    """A task as it was when it was looked at; `ended`: Unix ms, None while it lives; `event_id`: the newest entry then."""

    state: str
    ended: int | None
    event_id: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A task's events, and the id of the last entry that was read to find them."""

    events: list[Event]
    last_id: str


def watch(task_id: str) -> Step[Watched]:
    """Have every change of the task put into the stream from now on. Raises NotFound."""

    def parse(reply: list[Any]) -> Watched:
        if not reply:
            raise NotFound("Task", task_id)
        return Watched(text(reply[0]), int(reply[1]) // 1000 if reply[1] else None, text(reply[2]) or START)

    return Step("watch", (task_id,), parse)


class Stream:
    """The stream as blocking code reads it. Every method raises LedgerAway."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def newest(self) -> str:
        """The id of the newest entry; START when there is none."""
        found = self._asked("xrevrange", BY_NAME["EVENTS"], count=1)
        return text(found[0][0]) if found else START

    def follow(self, last_id: str, block_seconds: float) -> list[Event]:
        """What came after `last_id`, at most PAGE; blocks at most `block_seconds`, below 3, when there is nothing."""
        found = self._asked("xread", {BY_NAME["EVENTS"]: last_id}, count=PAGE, block=max(1, int(block_seconds * 1000)))
        if not found:
            return []
        return _events(found[0][1] if isinstance(found, list) else next(iter(found.values()))[0])

    def after(self, last_id: str) -> list[Event]:
        """What came after `last_id`, at most PAGE."""
        return _events(self._asked("xrange", BY_NAME["EVENTS"], min=f"({last_id}", count=PAGE))

    def holds(self, last_id: str) -> bool:
        """Whether everything after `last_id` is still here.

        Not when the oldest entry is younger and the stream has been cut, nor when it never came so far: then Redis has lost some.
        """
        oldest = self._asked("xrange", BY_NAME["EVENTS"], count=1)
        if not oldest or place(last_id) > place(self.newest()):
            return place(last_id) == (0, 0)
        return place(last_id) >= place(text(oldest[0][0])) or self._asked("xlen", BY_NAME["EVENTS"]) < self._ledger.settings.keep_events

    def of_task(self, last_id: str, task_id: str, ended: int | None) -> Missed | None:
        """What became of a task after `last_id`; None when more than MOST_PAGES would have to be read. `ended`: Unix ms, None: it lives.

        All tasks share the stream. Ids begin with the time at which they were written, so nothing is looked for long after its end.
        """
        found: list[Event] = []
        for _ in range(MOST_PAGES):
            events = self.after(last_id)
            if not events or (ended is not None and place(last_id)[0] >= ended and place(events[0].event_id)[0] > ended + WRITTEN_WITHIN):
                return Missed(found, last_id)
            found += [event for event in events if event.task_id == task_id]
            last_id = events[-1].event_id
            if len(events) < PAGE or (found and found[-1].word in TERMINAL):
                return Missed(found, last_id)
        return None

    def _asked(self, command: str, *args: Any, **options: Any) -> Any:
        try:
            return getattr(self._ledger.redis, command)(*args, **options)
        except (redis.RedisError, OSError) as exc:
            raise LedgerAway("the ledger (Redis) does not answer", retry_after=2) from exc


def _events(entries: Iterable[Any]) -> list[Event]:
    found = []
    for event_id, raw in entries:
        fields = {text(name): text(value) for name, value in raw.items()}
        found.append(Event(text(event_id), fields.get("t", ""), fields.get("s", ""), fields.get("a", ""), fields.get("p", "")))
    return found
