"""Steps of the outbox: ended tasks whose callback_url is to be told. The step that ends a task puts it in; workers take out what is due."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aitbc.ledger.step import Step, micros, text

MOST = 64
"""Entries that one script takes."""


class Told(StrEnum):
    """What a try came to."""

    DELIVERED = "delivered"
    FAILED = "failed"  # again after a pause, 8 tries in all
    GONE = "gone"  # the receiver wants no more
    LATER = "later"  # not tried: too many are under way to that receiver


@dataclass(frozen=True, slots=True)
class Callback:
    """One end to tell of. `retries`: by hand, before this end; `number`: of the try, from 1."""

    task_id: str
    retries: int
    number: int
    url: str

    @property
    def message_id(self) -> str:
        """The same in every try, another for each end: receivers know a repeat by it."""
        return f"{self.task_id}.r{self.retries}" if self.retries else self.task_id


def due() -> Step[list[Callback]]:
    """At most MOST that are due now: the caller's for 30 s, then due again. A repeat takes others."""

    def parse(reply: list[Any]) -> list[Callback]:
        return [Callback(text(task), int(retries), int(number), text(url)) for task, retries, number, url in reply]

    return Step("callbacks_due", (MOST,), parse)


def done(callback: Callback, told: Told, *, wrong: str = "", pause: float = 0.0) -> Step[str]:
    """How a try ended. `pause`: seconds, for LATER.

    Returns delivered, given_up, due, or stale: the task has another end by now, or this try was counted before.
    """
    args = (callback.task_id, callback.retries, callback.number, told, micros(pause), wrong)
    return Step("callback_done", args, text)
