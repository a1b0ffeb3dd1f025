"""What an attempt came to: how the task goes on, and what it says about the agent."""

from dataclasses import dataclass
from enum import StrEnum

from aitbc.model.task import ErrorCode


class Verdict(StrEnum):
    """How the task goes on after an attempt."""

    COMPLETED = "completed"
    FINAL = "final"  # failed for good
    COUNTED = "counted"  # failed; tried again while max_attempts allows
    UNSTARTED = "unstarted"  # the work never began: not counted
    STOPPED = "stopped"  # the worker was told to stop: not counted, outcome unknown


class AgentSays(StrEnum):
    """What the answer tells about the agent itself."""

    OK = "ok"
    BAD = "bad"  # counts towards its breaker
    ERROR = "error"  # 401, 403: marked `error`
    GONE = "gone"  # 410: drained
    NOTHING = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt.

    `result`: JSON text of a completed one; `message`: of a failed one; `pause`: seconds that the agent asked for (Retry-After, at most
    3600), 0 = none; `http_status`: 0 when there was no answer.
    """

    verdict: Verdict
    agent_says: AgentSays = AgentSays.OK
    result: str = "null"
    code: ErrorCode | None = None
    message: str = ""
    http_status: int = 0
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """202: the agent works on; the outcome comes by callback."""
