"""What is put off for a receiver that is slow: each entry until its turn, or a crowd of them would keep Redis busy for nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from aitbc.ledger.callbacks import Callback
from aitbc.tasks import outbox

SLOW = 0.2
URL = "http://127.0.0.1:9/x"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds for which entries were put off; calls take SLOW and succeed."""
    found: list[float] = []

    async def run(step: Any) -> Any:
        if step.script == "callback_done" and step.args[3] == "later":
            found.append(step.args[4] / 1e6)

    async def told(_: Callback) -> tuple[outbox.Told, str]:
        await asyncio.sleep(SLOW)
        return outbox.Told.DELIVERED, ""

    monkeypatch.setattr(outbox, "_here", outbox._Outbox())
    monkeypatch.setattr(outbox, "_told", told)
    monkeypatch.setattr(outbox, "node", lambda: SimpleNamespace(ledger=SimpleNamespace(run=run)))
    return found


async def begin(many: int) -> None:
    for n in range(many):
        await outbox._begin(Callback(f"t{n}", 0, 1, URL))


def test_each_waits_for_its_own_turn(pauses: list[float]) -> None:
    async def crowd() -> None:
        await begin(outbox.TO_ONE + 1)
        for _ in range(20):  # one call after the other has ended: it is known now how long they take
            outbox._here.queues[outbox.origin_of(URL)].heard(SLOW)
        await begin(1600)
        await asyncio.gather(*outbox._here.calls)

    asyncio.run(crowd())
    assert len(pauses) == 1601
    assert pauses[0] < outbox.BUSY_PAUSE[1] + 0.1
    assert 1600 / outbox.TO_ONE * SLOW * 0.9 < pauses[-1] < 1600 / outbox.TO_ONE * SLOW * 1.1 + 1
    assert not outbox._here.queues, "nothing is remembered of a receiver that is free"


def test_nobody_waits_longer_than_so(pauses: list[float]) -> None:
    async def crowd() -> None:
        await begin(outbox.TO_ONE)
        outbox._here.queues[outbox.origin_of(URL)].seconds = 1e6
        await begin(3)
        await asyncio.gather(*outbox._here.calls)

    asyncio.run(crowd())
    assert max(pauses) <= outbox.MOST_PAUSE + outbox.BUSY_PAUSE[1]
