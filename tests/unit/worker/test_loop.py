"""Asyncio inside a real kombu hub."""

import asyncio
import os
import threading
import time

import pytest
from kombu.asynchronous import Hub

from aitbc.worker.loop import ENOUGH, Loop, in_thread


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def hub(loop):
    hub = Hub()
    loop.attach(hub)
    yield hub
    hub.close()


def test_coroutines_run_while_the_hub_sleeps(loop, hub):
    seen = []

    async def body():
        await asyncio.sleep(0.05)
        seen.append(1)
        loop.hub_has_work()

    loop.asyncio.create_task(body())
    begin = time.monotonic()
    while not seen:
        hub.run_once()
    assert time.monotonic() - begin < 0.9  # the hub's sleep (1 s) was cut short


def test_a_socket_of_the_hub_wakes_it(loop, hub):
    read, write = os.pipe()
    seen = []
    hub.add_reader(read, lambda: seen.append(os.read(read, 1)))
    threading.Timer(0.05, os.write, (write, b"x")).start()
    begin = time.monotonic()
    while not seen:
        hub.run_once()
    assert time.monotonic() - begin < 0.5
    hub.remove(read)
    os.close(read)
    os.close(write)


def test_timers_of_the_hub_are_kept(loop, hub):
    seen = []
    begin = time.monotonic()
    hub.call_later(0.1, lambda: seen.append(time.monotonic() - begin))
    while not seen:
        hub.run_once()
    assert 0.08 < seen[0] < 0.5


def test_attached_again_after_a_reset(loop, hub):
    poller = hub.poller
    loop.attach(hub)
    assert hub.poller is poller
    hub.reset()
    assert hub.poller is not poller
    loop.attach(hub)
    hub.call_soon(hub.stop)
    hub.run_forever()


def test_enough_finished_work_ends_the_turn(loop):
    async def many():
        for _ in range(ENOUGH):
            loop.hub_has_work()

    loop.asyncio.create_task(many())
    begin = time.monotonic()
    loop.run(5)
    assert time.monotonic() - begin < 0.5


def test_complete_is_not_misled_by_a_turn_that_ends(loop):
    async def body():
        for _ in range(3):
            loop.hub_has_work()
            await asyncio.sleep(0.02)
        return "done"

    assert loop.complete(body()) == "done"


def test_beside_runs_coroutines_meanwhile(loop):
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.01)

    task = loop.asyncio.create_task(tick())
    assert loop.beside(lambda: time.sleep(0.3) or "done") == "done"
    assert len(ticks) > 10
    task.cancel()
    loop.run(0)


def test_beside_hands_on_what_is_raised(loop):
    def fails():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        loop.beside(fails)


def test_beside_gives_up_when_the_check_raises(loop):
    def check():
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop.beside(lambda: time.sleep(0.5), check)
    assert time.monotonic() - begin < 0.3


def test_beside_blocks_inside_a_coroutine(loop):
    async def body():
        return loop.beside(threading.current_thread)

    assert loop.asyncio.run_until_complete(body()) is threading.main_thread()


def test_a_thread_that_outlives_the_loop_is_quiet():
    loop = Loop()
    in_thread(loop.asyncio, lambda: time.sleep(0.2))
    loop.close()
    asyncio.set_event_loop(None)
    time.sleep(0.3)  # pytest fails on an unhandled exception in a thread
