"""Look-ups: shared, remembered for a while, bounded, given up at the end."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from aitbc.dispatch import connect, kept
from aitbc.dispatch.connect import Connector, Names
from aitbc.dispatch.connection import Connection
from aitbc.dispatch.guard import Guard
from aitbc.dispatch.kept import Connections
from aitbc.dispatch.request import Origin
from aitbc.errors import AddressRefused

Ask = Callable[[Names], Any]


def asked(ask: Ask, answers: Callable[[str], list[str]] = lambda _host: ["8.8.8.8"]) -> list[str]:
    """The names that were looked up while `ask` ran."""
    seen: list[str] = []

    def lookup(host: str, _port: int) -> list[str]:
        seen.append(host)
        return answers(host)

    async def main() -> None:
        names = Names(Guard([]), lookup)
        await ask(names)
        names.close()

    asyncio.run(main())
    return seen


def test_a_name_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(names: Names) -> None:
        assert await asyncio.gather(*(names.addresses("a", 80) for _ in range(3))) == [["8.8.8.8"]] * 3
        await names.addresses("a", 80)
        await names.addresses("a", 81)
        monkeypatch.setattr(connect, "DNS_TIME", -1.0)
        await names.addresses("a", 80)

    assert asked(ask) == ["a", "a", "a"]


def test_failures_are_not_remembered() -> None:
    async def ask(names: Names) -> None:
        for _ in range(2):
            with pytest.raises(OSError, match="no address"):
                await names.addresses("a", 80)

    assert asked(ask, lambda _host: []) == ["a", "a"]


def test_what_is_remembered_is_checked_each_time() -> None:
    async def ask(names: Names) -> None:
        for _ in range(2):
            with pytest.raises(AddressRefused):
                await names.addresses("a", 80)

    assert asked(ask, lambda _host: ["8.8.8.8", "127.0.0.1"]) == ["a"]


def test_so_many_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "MOST_NAMES", 2)

    async def ask(names: Names) -> None:
        for host in "abcba":
            await names.addresses(host, 80)
        assert len(names._asked) == 2

    assert asked(ask) == ["a", "b", "c", "a"]


def test_a_lookup_that_hangs_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "LOOKUP_THREADS", 1)
    goes_on = threading.Event()

    async def main() -> None:
        names = Names(Guard([]), lambda _host, _port: ["8.8.8.8"] if goes_on.wait(10) else [])
        under_way, queued = (asyncio.create_task(names.addresses(host, 80)) for host in "ab")
        await asyncio.sleep(0.05)
        names.close()
        with pytest.raises(OSError, match="the worker stops"):
            await queued
        goes_on.set()
        assert await under_way == ["8.8.8.8"]

    asyncio.run(main())


def test_a_connection_that_closes_at_once_was_never_written_to(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        connector = Connector(Guard(["127.0.0.0/8"]), lambda _host, _port: [])
        connections = Connections(connector, 1)
        opens = connector.connect

        async def closes(origin: Origin, protocol: Callable[[], Connection]) -> Connection:
            connection = await opens(origin, protocol)
            connection.abort()
            return connection

        monkeypatch.setattr(connector, "connect", closes)
        async with kit.running(kit.answering(kit.reply())) as agent:
            with pytest.raises(ConnectionResetError, match="as soon as"):
                await connections.connect(Origin(tls=False, host="127.0.0.1", port=agent.port), 5)
            await asyncio.wait_for(agent.closed.wait(), 2)
            assert not connections._all
            connections.close()

    asyncio.run(main())


def test_the_sweep_comes_again_for_those_that_are_not_old_yet(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "IDLE_TIME", 0.2)
    monkeypatch.setattr(kept, "SWEEP_TIME", 0.01)

    async def main() -> None:
        async with kit.running(kit.answering(kit.reply(202))) as a, kit.running(kit.answering(kit.reply(202))) as b, kit.dispatching() as d:
            await d.send(kit.attempt(a.url), "t")
            await asyncio.sleep(0.1)
            await d.send(kit.attempt(b.url), "t")
            await asyncio.wait_for(a.closed.wait(), 2)
            await asyncio.wait_for(b.closed.wait(), 2)
            assert not d._connections._by_origin

    asyncio.run(main())
