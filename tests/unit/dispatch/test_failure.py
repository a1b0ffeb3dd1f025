"""Calls that brought no answer."""

import socket
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aitbc.dispatch.failure import failed, foreseen, too_late
from aitbc.dispatch.reading import ResponseTooLarge, UnreadableBody
from aitbc.errors import AddressRefused, Misconfigured
from aitbc.model.outcome import AgentSays, Outcome, Verdict
from aitbc.model.task import ErrorCode

KEY = ConnectionKey("agent", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
INFO = aiohttp.RequestInfo(URL("http://agent/?key=hidden"), "POST", CIMultiDictProxy(CIMultiDict()))

FINAL, COUNTED, UNSTARTED = Verdict.FINAL, Verdict.COUNTED, Verdict.UNSTARTED
OK, BAD, NOTHING = AgentSays.OK, AgentSays.BAD, AgentSays.NOTHING
CONNECTION, TIMEOUT, INVALID = ErrorCode.CONNECTION_FAILED, ErrorCode.RUN_TIMEOUT, ErrorCode.INVALID_RESPONSE

UNSENT: list[tuple[Exception, ErrorCode, AgentSays]] = [
    (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")), CONNECTION, BAD),
    (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown")), CONNECTION, BAD),
    (aiohttp.ClientConnectorCertificateError(KEY, Exception("expired")), CONNECTION, BAD),
    (aiohttp.ConnectionTimeoutError("slow"), CONNECTION, BAD),
    (TimeoutError(), CONNECTION, BAD),
    (aiohttp.ClientConnectionResetError("closing"), CONNECTION, BAD),
    (OSError(24, "too many open files"), CONNECTION, BAD),
    (AddressRefused("10.0.0.1: no"), ErrorCode.ADDRESS_REFUSED, BAD),
    (aiohttp.InvalidURL("http://127.1/?key=hidden"), ErrorCode.ADDRESS_REFUSED, BAD),
    (Misconfigured("AITBC_SECRET_KEY"), CONNECTION, NOTHING),
    (RuntimeError("a bug"), CONNECTION, NOTHING),
]


@pytest.mark.parametrize(("exc", "code", "says"), UNSENT)
def test_nothing_sent_is_not_counted(exc: Exception, code: ErrorCode, says: AgentSays) -> None:
    outcome = failed(exc, sent=False, idempotent=False)
    assert (outcome.verdict, outcome.code, outcome.agent_says, outcome.http_status) == (UNSTARTED, code, says, 0)
    assert outcome.message
    assert "hidden" not in outcome.message


SENT: list[tuple[Exception, ErrorCode, AgentSays]] = [
    (aiohttp.ServerDisconnectedError(), CONNECTION, BAD),
    (aiohttp.ClientOSError(104, "reset"), CONNECTION, BAD),
    (aiohttp.ClientOSError(110, "gone"), CONNECTION, BAD),
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
    (UnreadableBody("damaged"), INVALID, BAD),
    (aiohttp.ClientPayloadError("cut off"), INVALID, BAD),
    (aiohttp.ClientResponseError(INFO, (), status=400, message="no HTTP\r\n"), INVALID, BAD),
]


@pytest.mark.parametrize(("exc", "code", "says"), UNREADABLE)
@pytest.mark.parametrize(("idempotent", "verdict"), [(False, FINAL), (True, COUNTED)])
def test_what_cannot_be_read_is_retried_only_when_idempotent(
    exc: Exception, code: ErrorCode, says: AgentSays, idempotent: bool, verdict: Verdict
) -> None:
    outcome = failed(exc, sent=True, idempotent=idempotent, status=201)
    assert (outcome.verdict, outcome.code, outcome.agent_says, outcome.http_status) == (verdict, code, says, 201)
    assert "\r" not in outcome.message
    assert "hidden" not in outcome.message


def test_the_cause_is_shown_rather_than_the_url() -> None:
    exc = aiohttp.ClientOSError(104, "Can not write request body for http://agent/?key=hidden")
    exc.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert failed(exc, sent=True, idempotent=False).message.endswith("[Errno 104] Connection reset by peer")


def test_an_exception_without_words_is_named() -> None:
    assert failed(OSError(), sent=False, idempotent=False).message == "no connection: OSError"


def test_foreseen() -> None:
    assert foreseen(OSError())
    assert foreseen(Mock(spec=aiohttp.ClientError))
    assert not foreseen(RuntimeError())


def test_too_late() -> None:
    assert too_late() == Outcome(UNSTARTED, NOTHING, code=TIMEOUT, message="the deadline had passed before the call")
