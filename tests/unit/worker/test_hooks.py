"""Periodic work and hooks."""

import asyncio
import logging
from time import monotonic

import pytest

from aitbc.worker.hooks import Hooks, Periodic, every, hooks, on_start, on_stop, run_hook


@pytest.fixture(autouse=True)
def _own_registry():
    kept = dict(vars(hooks))
    vars(hooks).update(vars(Hooks()))
    yield
    vars(hooks).update(kept)


def run_for(seconds, periodic):
    async def main():
        task = asyncio.create_task(periodic.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_begins_at_once_and_keeps_its_rhythm():
    at = []

    async def work():
        at.append(monotonic())
        await asyncio.sleep(0.02)

    begin = monotonic()
    run_for(0.32, Periodic(0.1, work, "w"))
    assert len(at) == 4
    assert at[0] - begin < 0.05
    assert 0.05 < at[3] - at[2] < 0.15  # from beginning to beginning


def test_never_overlaps_and_makes_up_for_nothing():
    at, running = [], 0

    async def work():
        nonlocal running
        assert running == 0
        running += 1
        at.append(monotonic())
        await asyncio.sleep(0.2 if len(at) == 1 else 0)
        running -= 1

    run_for(0.42, Periodic(0.05, work, "w"))
    assert 4 <= len(at) <= 6  # 0, 0.2, 0.25, 0.3, 0.35, 0.4: no burst after the long turn
    assert at[2] - at[1] > 0.03


def test_errors_are_logged_once_a_kind_until_it_succeeds(caplog):
    outcomes = [ValueError(), ValueError(), KeyError(), ValueError(), None, ValueError(), *[None] * 99]

    async def work():
        if error := outcomes.pop(0):
            raise error

    with caplog.at_level(logging.INFO, "celery.pool"):
        run_for(0.2, Periodic(0.01, work, "reaper"))
    lines = [r.getMessage().split(" failed")[0] if r.levelno > logging.INFO else "again" for r in caplog.records]
    assert lines == ["Periodic work reaper", "Periodic work reaper", "again", "Periodic work reaper", "again"]


@pytest.mark.parametrize("seconds", [0, -1])
def test_interval_must_be_positive(seconds):
    async def work():
        pass

    with pytest.raises(ValueError, match="more than 0 seconds"):
        every(seconds, work)
    assert hooks.periodic == []


def test_registered_late_begins_at_once():
    launched = []

    async def work():
        pass

    every(1, work)
    hooks.launch = launched.append
    every(2, work, name="named")
    assert [p.name for p in launched] == ["named"]
    assert [p.seconds for p in hooks.periodic] == [1, 2]


def test_hooks_are_decorators_and_have_phases():
    @on_start
    async def a():
        pass

    @on_stop
    async def b():
        pass

    on_stop(a, phase="end")
    assert hooks.start == [a]
    assert hooks.stop == {"begin": [b], "end": [a]}


def test_a_stop_hook_that_fails_is_logged(caplog):
    async def bad():
        raise OSError("no")

    asyncio.run(run_hook(bad))
    assert "Stop hook" in caplog.text
