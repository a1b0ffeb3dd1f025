"""Waiting for a task, with an event stream made by hand."""

import threading
import time
from types import SimpleNamespace

import pytest

from aitbc.errors import LedgerAway
from aitbc.ledger.events import Event
from aitbc.model.task import TaskState
from aitbc.web import feed as feed_module
from aitbc.web import held as module
from aitbc.web.feed import Feed
from aitbc.web.held import Held


class Stream:
    """A ledger with one task and its stream of ends."""

    def __init__(self):
        self.state, self.ends, self.away, self.reads = TaskState.QUEUED, [], False, 0
        self.more = threading.Event()

    def newest(self):
        if self.away:
            raise LedgerAway("away")
        return f"{len(self.ends)}-0"

    def holds(self, _last_id):
        return True

    def follow(self, last_id, block_seconds):
        if self.away:
            raise LedgerAway("away")
        at = int(last_id.partition("-")[0])
        if len(self.ends) == at:
            self.more.wait(block_seconds)
            self.more.clear()
        return [Event(f"{n}-0", task_id, "completed") for n, task_id in enumerate(self.ends[at:], at + 1)]

    def read(self):
        self.reads += 1
        return SimpleNamespace(state=self.state)

    def end(self, task_id="t"):
        self.state = TaskState.COMPLETED
        self.ends.append(task_id)
        self.more.set()


@pytest.fixture
def stream(monkeypatch):
    monkeypatch.setattr(feed_module, "BLOCK_SECONDS", 0.05)
    monkeypatch.setattr(module, "BLOCK_SECONDS", 0.05)
    return Stream()


def waited(held, stream, seconds=5.0, task_id="t"):
    began = time.monotonic()
    task, was_held = held.wait(task_id, seconds, stream.read, "")
    return task.state, was_held, time.monotonic() - began


def test_an_end_wakes_its_waiters(stream):
    held = Held(Feed(stream, 10))
    threading.Timer(0.15, stream.end).start()
    state, was_held, spent = waited(held, stream)
    assert (state, was_held) == (TaskState.COMPLETED, True)
    assert 0.1 < spent < 2
    assert stream.reads == 2


def test_the_end_of_another_task_wakes_nobody(stream):
    held = Held(Feed(stream, 10))
    threading.Timer(0.05, lambda: (stream.ends.append("other"), stream.more.set())).start()
    assert waited(held, stream, 0.3)[0] is TaskState.QUEUED
    assert stream.reads == 2


def test_an_end_before_the_reader_stood_is_seen(stream):
    stream.end()
    assert waited(Held(Feed(stream, 10)), stream)[2] < 1


def test_beyond_the_limit_nobody_waits(stream):
    held = Held(Feed(stream, 1))
    first = threading.Thread(target=waited, args=(held, stream, 0.4))
    first.start()
    time.sleep(0.1)
    _, was_held, spent = waited(held, stream)
    assert not was_held
    assert spent < 0.1
    first.join()
    assert waited(held, stream, 0.05)[1]


def test_a_missed_event_is_made_good(stream, monkeypatch):
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.1)
    held = Held(Feed(stream, 10))
    threading.Timer(0.1, lambda: setattr(stream, "state", TaskState.FAILED)).start()
    assert waited(held, stream)[2] < 1


def test_an_outage_of_the_stream_is_survived(stream, caplog):
    stream.away = True
    held = Held(Feed(stream, 10))
    threading.Timer(0.2, lambda: setattr(stream, "away", False)).start()
    threading.Timer(0.4, stream.end).start()
    assert waited(held, stream)[0] is TaskState.COMPLETED
    assert [record.getMessage().split(":")[0] for record in caplog.records][:1] == ["the ledger's event stream is away"]
    assert len([record for record in caplog.records if "away" in record.getMessage()]) == 1


def test_the_reader_ends_with_its_last_waiter(stream):
    held, before = Held(Feed(stream, 10)), set(threading.enumerate())
    for _ in range(2):
        waited(held, stream, 0.01)
        time.sleep(0.3)
        assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "feed"]


def test_closing_answers_all(stream):
    held = Held(Feed(stream, 10))
    results = []
    waiters = [threading.Thread(target=lambda: results.append(waited(held, stream))) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.2)
    held._feed.close()
    for waiter in waiters:
        waiter.join(timeout=2)
    assert [(state, was_held) for state, was_held, _ in results] == [(TaskState.QUEUED, False)] * 3
    assert waited(held, stream)[1] is False
