"""Periodic work and hooks."""

import asyncio
import logging
import selectors

import pytest

from aitbc.worker.hooks import Hooks, Periodic, every, hooks, on_start, on_stop, run_hook


@pytest.fixture(autouse=True)
def _own_registry():
    kept = dict(vars(hooks))
    vars(hooks).update(vars(Hooks()))
    yield
    vars(hooks).update(kept)


class Ahead(selectors.DefaultSelector):
    """Sleeps by setting the clock ahead: what is asked here is an order of times, which a busy machine must not change."""

    now = 0.0

    def select(self, timeout=None):
        self.now += timeout or 0
        return super().select(0)


def run_for(seconds, periodic):
    async def main():
        task = asyncio.create_task(periodic.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def ahead():
        clock = Ahead()
        loop = asyncio.SelectorEventLoop(clock)
        loop.time = lambda: clock.now
        return loop

    with asyncio.Runner(loop_factory=ahead) as runner:
        runner.run(main())


def now():
    return round(asyncio.get_running_loop().time(), 3)


def test_begins_at_once_and_keeps_its_rhythm():
    at = []

    async def work():
        at.append(now())
        await asyncio.sleep(0.02)

    run_for(0.32, Periodic(0.1, work, "w"))
    assert at == [0, 0.1, 0.2, 0.3]  # from beginning to beginning


def test_never_overlaps_and_makes_up_for_nothing():
    at, running = [], 0

    async def work():
        nonlocal running
        assert running == 0
        running += 1
        at.append(now())
        await asyncio.sleep(0.22 if len(at) == 1 else 0)
        running -= 1

    run_for(0.40, Periodic(0.05, work, "w"))
    assert at == [0, 0.22, 0.27, 0.32, 0.37]  # no burst after the long turn


def test_errors_are_logged_once_a_kind_until_it_succeeds(caplog):
    outcomes = [ValueError(), ValueError(), KeyError(), ValueError(), None, ValueError(), None, None]

    async def work():
        if error := outcomes.pop(0):
            raise error

    with caplog.at_level(logging.INFO, "celery.pool"):
        run_for(0.075, Periodic(0.01, work, "reaper"))
    assert outcomes == []
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
