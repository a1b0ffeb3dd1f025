"""L7: what a repeated step must answer, whoever has done what in between."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aitbc.errors import AitbcError, NotFound
from aitbc.model.lease import Attempt

HANDED_BACK = ("returned", "suspect")
"""A begin that was refused so has given its lease back: a repeat finds it gone."""


def same_attempt(first: Attempt | None, second: Attempt | None) -> bool:
    """Equal, but for the time that has passed."""
    if first is None or second is None:
        return first is second
    return first == replace(second, seconds_left=first.seconds_left)


def _same_begun(first: Any, second: Any) -> bool:
    return same_attempt(first.attempt, second.attempt) or first.why in HANDED_BACK


def _same_ended(first: Any, second: Any) -> bool:
    return first.word == second.word and first.grants == second.grants and same_attempt(first.next, second.next)


SAME: dict[str, Callable[[Any, Any], bool]] = {
    "route": _same_begun,
    "begin": _same_begun,
    "finish": _same_ended,
    "submit": lambda first, second: (first.task_id, first.submitted_at) == (second.task_id, second.submitted_at),
    "renew": lambda first, second: bool(first.cancel == second.cancel),
    "callback_done": lambda first, second: bool(first == second),
    "cancel": lambda first, second: bool(first.state == second.state),
    "retry": lambda first, second: bool(first.state == second.state),
}
"""Script → whether two answers say the same; grants of others are the sweep's to repeat."""


def same_answer(script: str, first: Any, second: Any) -> bool:
    """Whether a repeat answered as it must."""
    if isinstance(second, NotFound) and getattr(first, "status", "") == "draining":
        return True  # removed: gone at once
    if isinstance(first, AitbcError) or isinstance(second, AitbcError):
        return type(first) is type(second)
    return script not in SAME or SAME[script](first, second)


def short(reply: Any) -> str:
    return f"{type(reply).__name__}: {reply}" if isinstance(reply, AitbcError) else str(reply)
