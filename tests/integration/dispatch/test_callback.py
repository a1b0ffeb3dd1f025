"""The POST to a callback_url: guarded at the connect, never redirected, over in ten seconds."""

import asyncio
import time
from typing import Any

import pytest

from aitbc.dispatch import callback as module
from aitbc.dispatch.callback import Message, Messenger
from aitbc.errors import AddressRefused, Misconfigured
from aitbc.settings import Settings

MESSAGE = Message("t", "task.completed", "2026-01-01T00:00:00+00:00", {"result": "ü"})


def tell(kit: Any, url: str, script: Any = None, *, cidrs: str = "127.0.0.0/8", secret: str = "", **options: Any) -> tuple[Any, Any]:
    """One POST; its status, and the receiver that may have heard of it."""

    async def run() -> tuple[Any, Any]:
        async with kit.running(script or kit.answering(kit.reply(200, b"not json"))) as receiver:
            messenger = Messenger(Settings(allow_agent_cidrs=cidrs, callback_secret=secret), **options)
            try:
                return await messenger.tell(url.format(port=receiver.port), MESSAGE, time.time()), receiver
            except Exception as exc:
                return exc, receiver
            finally:
                messenger.close()
                await asyncio.sleep(0.01)

    return asyncio.run(run())


def test_the_request(kit: Any) -> None:
    status, receiver = tell(kit, "http://127.0.0.1:{port}/hook?x=1")
    (seen,) = receiver.requests
    assert (status, seen.line) == (200, "POST /hook?x=1 HTTP/1.1")
    assert seen.headers["webhook-id"] == "t"
    assert seen.headers.keys().isdisjoint({"webhook-signature", "traceparent", "tracestate"})
    assert seen.body == b'{"type":"task.completed","timestamp":"2026-01-01T00:00:00+00:00","data":{"result":"\\u00fc"}}'


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "http://127.1:{port}", "http://[::ffff:127.0.0.1]:{port}", "http://localhost:{port}"]
)
def test_an_internal_address_gets_no_packet(kit: Any, url: str) -> None:
    error, receiver = tell(kit, url, cidrs="")
    assert isinstance(error, AddressRefused)
    assert receiver.connections == 0


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"]])
def test_a_name_whose_addresses_changed_gets_no_packet(kit: Any, answers: list[str]) -> None:
    error, receiver = tell(kit, "http://hook.example:{port}", cidrs="", lookup=lambda _host, _port: answers)
    assert isinstance(error, AddressRefused)
    assert receiver.connections == 0


def test_a_redirect_is_an_answer(kit: Any) -> None:
    status, receiver = tell(kit, "http://127.0.0.1:{port}", kit.answering(kit.reply(307, Location="http://127.0.0.1:1/")))
    assert (status, receiver.connections) == (307, 1)


def test_a_status_counts_though_its_body_breaks(kit: Any) -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf"
    assert tell(kit, "http://127.0.0.1:{port}", kit.answering(wire, close=True))[0] == 200


def test_silence_ends_in_time(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.3)
    began = time.monotonic()
    assert isinstance(tell(kit, "http://127.0.0.1:{port}", kit.answering(b""))[0], TimeoutError)
    assert time.monotonic() - began < 2


def test_a_secret_that_is_none_stops_the_start(kit: Any) -> None:
    async def run() -> None:
        with pytest.raises(Misconfigured, match="AITBC_CALLBACK_SECRET"):
            Messenger(Settings(callback_secret="whsec_§"))

    asyncio.run(run())
