"""Calls that brought no answer."""

import socket
import ssl

import pytest

from aitbc.dispatch.failure import failed, foreseen, too_late
from aitbc.dispatch.reading import ResponseTooLarge, Unreadable
from aitbc.errors import AddressRefused, Misconfigured
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

FINAL, COUNTED, UNSTARTED = Verdict.FINAL, Verdict.COUNTED, Verdict.UNSTARTED
OK, BAD, NOTHING = AgentSays.OK, AgentSays.BAD, AgentSays.NOTHING
CONNECTION, TIMEOUT, INVALID = ErrorCode.CONNECTION_FAILED, ErrorCode.RUN_TIMEOUT, ErrorCode.INVALID_RESPONSE

UNSENT: list[tuple[Exception, ErrorCode, AgentSays]] = [
    (ConnectionRefusedError(111, "refused"), CONNECTION, BAD),
    (socket.gaierror(-2, "unknown"), CONNECTION, BAD),
    (ssl.SSLCertVerificationError(1, "expired"), CONNECTION, BAD),
    (TimeoutError(110, "timed out by the kernel"), CONNECTION, BAD),
    (TimeoutError(), CONNECTION, BAD),
    (ConnectionResetError("closing"), CONNECTION, BAD),
    (OSError(24, "too many open files"), CONNECTION, BAD),
    (AddressRefused("10.0.0.1: no"), ErrorCode.ADDRESS_REFUSED, BAD),
    (Misconfigured("AITBC_SECRET_KEY"), CONNECTION, NOTHING),
    (RuntimeError("a bug"), CONNECTION, NOTHING),
]


@pytest.mark.parametrize(("exc", "code", "says"), UNSENT)
def test_nothing_sent_is_not_counted(exc: Exception, code: ErrorCode, says: AgentSays) -> None:
    outcome = failed(exc, sent=False, idempotent=False)
    assert (outcome.verdict, outcome.code, outcome.agent_says, outcome.http_status) == (UNSTARTED, code, says, 0)
    assert outcome.message


SENT: list[tuple[Exception, ErrorCode, AgentSays]] = [
    (ConnectionResetError("Server disconnected"), CONNECTION, BAD),
    (ConnectionAbortedError(103, "aborted"), CONNECTION, BAD),
    (BrokenPipeError(32, "gone"), CONNECTION, BAD),
    (TimeoutError(), TIMEOUT, BAD),
    (RuntimeError("a bug"), CONNECTION, NOTHING),
]


@pytest.mark.parametrize(("exc", "code", "says"), SENT)
@pytest.mark.parametrize("idempotent", [False, True])
def test_what_breaks_after_sending_is_counted(exc: Exception, code: ErrorCode, says: AgentSays, idempotent: bool) -> None:
    outcome = failed(exc, sent=True, idempotent=idempotent, status=200)
    assert (outcome.verdict, outcome.code, outcome.agent_says, outcome.http_status) == (COUNTED, code, says, 200)


UNREADABLE: list[tuple[Exception, ErrorCode, AgentSays]] = [
    (ResponseTooLarge("large"), ErrorCode.RESPONSE_TOO_LARGE, OK),
    (Unreadable("damaged"), INVALID, BAD),
    (Unreadable("no HTTP\r\n"), INVALID, BAD),
]


@pytest.mark.parametrize(("exc", "code", "says"), UNREADABLE)
@pytest.mark.parametrize(("idempotent", "verdict"), [(False, FINAL), (True, COUNTED)])
def test_what_cannot_be_read_is_retried_only_when_idempotent(
    exc: Exception, code: ErrorCode, says: AgentSays, idempotent: bool, verdict: Verdict
) -> None:
    outcome = failed(exc, sent=True, idempotent=idempotent, status=201)
    assert (outcome.verdict, outcome.code, outcome.agent_says, outcome.http_status) == (verdict, code, says, 201)
    assert "\r" not in outcome.message


def test_a_refusal_does_not_say_where() -> None:
    outcome = failed(AddressRefused("neither public", "db.corp.internal"), sent=False, idempotent=False)
    assert outcome.message == "the agent's address: neither public"


def test_the_cause_is_shown() -> None:
    exc = ConnectionResetError("Server disconnected")
    exc.__cause__ = TimeoutError(110, "Connection timed out")
    outcome = failed(exc, sent=True, idempotent=False)
    assert outcome.code is CONNECTION
    assert outcome.message.endswith("[Errno 110] Connection timed out")


def test_an_exception_without_words_is_named() -> None:
    assert failed(OSError(), sent=False, idempotent=False).message == "no connection: OSError"


def test_foreseen() -> None:
    assert foreseen(OSError())
    assert foreseen(Unreadable())
    assert not foreseen(RuntimeError())


def test_too_late() -> None:
    assert too_late() == Outcome(UNSTARTED, NOTHING, code=TIMEOUT, message="the deadline had passed before the call")
