"""Priorities, highest first; a priority's rank (0 highest) is what the ledger orders by."""

from enum import StrEnum

from aitbc.errors import BadRequest


class Priority(StrEnum):
    """How urgent a task is. Strict: a lower one starts only when no higher one fits the agent."""

    URGENT = "urgent"
    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 (urgent) to 4 (low)."""
        return PRIORITIES.index(self)

    @classmethod
    def parse(cls, text: str) -> "Priority":
        """Read a priority in any case.

        Raises BadRequest `Invalid priority: X` (this text is fixed by older clients).
        """
        try:
            return cls(text.lower())
        except ValueError:
            raise BadRequest(f"Invalid priority: {text}") from None


PRIORITIES: tuple[Priority, ...] = tuple(Priority)
