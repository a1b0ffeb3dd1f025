"""Who comes again to one task's events: what was missed, 204, or a reset when too much of other tasks lies between."""

import pytest

from aitbc.ledger import events, tasks
from aitbc.web import listening
from tests.harness.streams import events_of

FULL = events.PAGE


@pytest.fixture
def others(ledger):
    """That many ends of other tasks, as the scripts write them."""

    def do(count):
        pipe = ledger.redis.pipeline(transaction=False)
        for n in range(count):
            pipe.xadd("tasks:events", {"t": f"other{n}", "s": "completed"})
        pipe.execute()

    return do


@pytest.fixture
def again(client, ledger):
    """Come again after this id: status, the words heard of a body that ends, ranges of the stream that were read."""

    def do(task_id, last_id):
        ledger.redis.config_resetstat()
        answer = client.get(f"/tasks/{task_id}/events", headers={"Last-Event-ID": last_id})
        heard = [(one.event, one.data) for one in events_of(iter(answer.data.splitlines()))]
        return answer.status_code, heard, ledger.redis.info("commandstats")["cmdstat_xrange"]["calls"]

    return do


@pytest.fixture
def newest(ledger):
    return events.Stream(ledger).newest


def words(heard):
    return [word for word, _ in heard]


def test_what_was_missed_up_to_the_end(client, ledger, submit, others, again, newest):
    task_id = submit()
    ledger.run(events.watch(task_id))
    others(2 * FULL)
    start = newest()
    others(3)
    ledger.run(tasks.cancel(task_id))
    others(3)
    status, heard, _ = again(task_id, start)
    assert (status, words(heard)) == (200, ["cancelled"])
    assert again(task_id, newest())[:2] == (204, [])


@pytest.mark.parametrize("ended", [True, False])
def test_beyond_ten_pages_it_is_told_to_look_and_how_the_task_is(client, ledger, submit, others, again, newest, monkeypatch, ended):
    monkeypatch.setattr(events, "MOST_PAGES", 2)
    task_id = submit()
    others(1)
    start = newest()
    others(2 * FULL)
    if ended:
        ledger.run(tasks.cancel(task_id))
    else:
        monkeypatch.setattr(listening.Listening, "_next", lambda self: self.stop() or [])
    status, heard, read = again(task_id, start)
    assert (status, words(heard)) == (200, ["reset", "cancelled" if ended else "queued"])
    assert heard[1][1] == {"task_id": task_id, "state": "cancelled" if ended else "queued"}
    assert read <= 1 + 2 + 1, "the oldest, two pages, and what came since"
    assert words(again(task_id, newest())[1]) == []


def test_within_the_pages_nothing_is_told_twice(client, ledger, submit, others, again, newest, monkeypatch):
    monkeypatch.setattr(listening.Listening, "_next", lambda self: self.stop() or [])
    task_id = submit()
    ledger.run(events.watch(task_id))
    start = newest()
    others(2 * FULL + 1)
    status, heard, _ = again(task_id, start)
    assert (status, heard) == (200, [])


def test_long_after_its_end_one_page_is_read(client, ledger, submit, others, again):
    task_id = submit()
    ledger.run(tasks.cancel(task_id))
    late = events.place(events.Stream(ledger).newest())[0] + events.WRITTEN_WITHIN + 1
    ledger.redis.xadd("tasks:events", {"t": "x", "s": "completed"}, id=f"{late}-0")
    others(3 * FULL)
    status, heard, read = again(task_id, f"{late}-0")
    assert (status, heard, read) == (204, [], 1 + 1)


def test_who_takes_the_first_events_slowly_is_let_go_to_come_again(client, ledger, submit, others, newest, monkeypatch):
    """A task's listener reads no more pages than that in its answer either; a listener to all does."""
    monkeypatch.setattr(listening, "MOST_PAGES", 2)
    monkeypatch.setattr(listening.Listening, "_next", lambda self: self.stop() or [])
    task_id = submit()
    others(1)
    start = newest()

    def heard(path):
        answer = client.get(path, headers={"Last-Event-ID": start})
        body = iter(answer.response)
        next(body)
        others(3 * FULL)
        ledger.redis.config_resetstat()
        count = sum(piece.count(b"event: completed") for piece in body)
        return count, ledger.redis.info("commandstats")["cmdstat_xrange"]["calls"]

    assert heard(f"/tasks/{task_id}/events") == (0, 2)
    assert heard("/events") == (6 * FULL, 7)
