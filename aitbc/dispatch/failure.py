"""What a call means that brought no answer to classify. Pure.

Work never started (not counted as an attempt) only when nothing was sent.  A request that was sent in part is a broken call like one
sent in full: how much of it the agent acted on cannot be known, and a body that breaks every connection must not be sent for ever.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from aitbc.dispatch.outcome import clip, invalid
from aitbc.dispatch.reading import ResponseTooLarge, Unreadable
from aitbc.dispatch.request import Unfit
from aitbc.errors import AddressRefused, AitbcError
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that brought no answer to classify.

    `sent`: bytes of the request may have reached the agent; `status`: of the answer whose body broke, 0 = there was none.
    """

    exc: Exception
    sent: bool
    status: int
    idempotent: bool

    def ended(self, code: ErrorCode, what: str, says: AgentSays = AgentSays.BAD) -> Outcome:
        """The work never began only when nothing was sent: a half-sent request is a broken call like any other."""
        verdict = Verdict.COUNTED if self.sent else Verdict.UNSTARTED
        return Outcome(verdict, says, code=code, message=clip(f"{what}: {self.detail}"), http_status=self.status)

    @property
    def detail(self) -> str:
        """What happened, in the words nearest to its cause."""
        cause = self.exc.__cause__ or self.exc
        return str(cause) or type(cause).__name__


def _refused(failure: Failure) -> Outcome:
    """Another agent can take the task. The agent's breaker opens, or its failing at once would make it look least loaded.

    Whoever submitted the task did not register the agent: where it is stays out of the text.
    """
    message = f"the agent's address: {failure.exc.why if isinstance(failure.exc, AddressRefused) else failure.exc}"
    return Outcome(Verdict.UNSTARTED, AgentSays.BAD, code=ErrorCode.ADDRESS_REFUSED, message=clip(message))


def _unfit(failure: Failure) -> Outcome:
    """The task's fault, and nothing was sent."""
    return Outcome(Verdict.FINAL, AgentSays.NOTHING, code=ErrorCode.AGENT_REFUSED, message=clip(str(failure.exc)))


def _misconfigured(failure: Failure) -> Outcome:
    """This node's fault, not the agent's: nothing was sent, its breaker is not touched."""
    return Outcome(Verdict.UNSTARTED, AgentSays.NOTHING, code=ErrorCode.CONNECTION_FAILED, message=clip(str(failure.exc)))


def _too_large(failure: Failure) -> Outcome:
    return invalid(failure.status, str(failure.exc), idempotent=failure.idempotent, code=ErrorCode.RESPONSE_TOO_LARGE)


def _unreadable(failure: Failure) -> Outcome:
    return invalid(failure.status, f"the answer cannot be read: {failure.detail}", idempotent=failure.idempotent)


def _timed_out(failure: Failure) -> Outcome:
    code, message = (
        (ErrorCode.RUN_TIMEOUT, "no complete answer before the deadline")
        if failure.sent
        else (ErrorCode.CONNECTION_FAILED, "no connection in time")
    )
    return replace(failure.ended(code, ""), message=message)


def _broken(failure: Failure) -> Outcome:
    what = "the connection broke after the request was sent" if failure.sent else "no connection"
    return failure.ended(ErrorCode.CONNECTION_FAILED, what)


def _unexpected(failure: Failure) -> Outcome:
    return failure.ended(ErrorCode.CONNECTION_FAILED, f"the call failed ({type(failure.exc).__name__})", AgentSays.NOTHING)


FAILURES: list[tuple[type[Exception], Callable[[Failure], Outcome]]] = [
    (AddressRefused, _refused),
    (AitbcError, _misconfigured),
    (Unfit, _unfit),
    (ResponseTooLarge, _too_large),
    (Unreadable, _unreadable),
    (TimeoutError, _timed_out),
    (OSError, _broken),
    (Exception, _unexpected),
]
"""The first match counts. TimeoutError stands before OSError, whose subclass it is."""


def failed(exc: Exception, *, sent: bool, idempotent: bool, status: int = 0) -> Outcome:
    """What a call that ended in an exception means."""
    failure = Failure(exc, sent, status, idempotent)
    return next(meaning(failure) for kinds, meaning in FAILURES if isinstance(exc, kinds))


def foreseen(exc: Exception) -> bool:
    """Whether the table knows it; the rest is a bug of ours, and logged."""
    return any(isinstance(exc, kinds) for kinds, _ in FAILURES[:-1])


def too_late() -> Outcome:
    """The deadline had passed before anything was sent: no fault of the agent."""
    return Outcome(Verdict.UNSTARTED, AgentSays.NOTHING, code=ErrorCode.RUN_TIMEOUT, message="the deadline had passed before the call")
