"""The outbox of callback_urls in the ledger, and the stream's entries of watched tasks."""

import pytest

from aitbc.errors import NotFound
from aitbc.ledger import callbacks, leases, queues, tasks
from aitbc.ledger.callbacks import Callback, Told
from aitbc.ledger.events import Stream, watch
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, DONE, FINAL, Desk

URL = "http://receiver/x"
PAUSES = (5, 30, 120, 600, 1800, 3600, 7200)


def due(desk: Desk) -> list[Callback]:
    return desk.run(callbacks.due())


def counted(desk: Desk) -> dict[str, int]:
    return desk.run(tasks.stats()).callbacks


def record(desk: Desk, name: str) -> tuple[str, int, str | None]:
    found = desk.read(name).callback
    assert found
    assert found.url == URL
    return found.state, found.tries, found.error


def ended(desk: Desk, name: str = "t") -> Callback:
    """A task with a callback_url that has ended, and what is due."""
    desk.agent("a")
    desk.started(name, callback_url=URL).ends(DONE)
    (callback,) = due(desk)
    return callback


def test_the_step_that_ends_a_task_puts_it_in(sound: Desk) -> None:
    sound.agent("a", 2)
    call = sound.started("done", callback_url=URL)
    sound.started("none").ends(DONE)
    assert (due(sound), record(sound, "done")) == ([], ("waiting", 0, None))
    call.ends(DONE)
    sound.started("failed", callback_url=URL).ends(FINAL)
    sound.task("cancelled", callback_url=URL, delay=50)
    sound.run(tasks.cancel("cancelled"))
    assert record(sound, "done") == ("due", 0, None)
    assert due(sound) == [Callback(name, 0, 1, URL) for name in ("done", "failed", "cancelled")]
    assert due(sound) == []  # they are somebody's for a while
    assert sound.read("none").callback is None


@pytest.mark.parametrize("how", ["queue_timeout", "expired", "cleared", "broken"])
def test_every_other_way_to_end_puts_it_in_too(desk: Desk, how: str) -> None:
    if how == "broken":
        desk.agent("a")
        desk.started("t", callback_url=URL, max_attempts=1)
        desk.pass_time(14, "a")
    else:
        desk.task("t", callback_url=URL, queue_timeout=5 if how == "queue_timeout" else 0)
        if how == "cleared":
            desk.run(queues.clear(Priority.NORMAL))
        else:
            desk.at(6 if how == "queue_timeout" else 7 * 86_400 + 1)
            desk.sweep()
    assert [callback.task_id for callback in due(desk)] == ["t"]


def test_a_delivered_one_is_gone(sound: Desk) -> None:
    callback = ended(sound)
    assert [sound.run(callbacks.done(callback, Told.DELIVERED)) for _ in range(2)] == ["delivered"] * 2
    sound.at(9000)
    assert due(sound) == []
    sound.sweep()
    assert (record(sound, "t"), counted(sound)) == (("delivered", 1, None), {"due": 0, "delivered": 1, "given_up": 0})


def test_eight_tries_with_growing_pauses_then_given_up(sound: Desk) -> None:
    callback = ended(sound)
    for number, pause in enumerate(PAUSES, 1):
        assert callback.number == number
        assert [sound.run(callbacks.done(callback, Told.FAILED, wrong="500")) for _ in range(2)] == ["due"] * 2
        assert record(sound, "t") == ("due", number, "500")
        sound.at(pause - 0.5)
        assert due(sound) == []
        sound.at(0.6)
        (callback,) = due(sound)
    assert sound.run(callbacks.done(callback, Told.FAILED, wrong="502")) == "given_up"
    sound.at(80_000 - sum(PAUSES))
    assert due(sound) == []
    sound.sweep()
    assert (record(sound, "t"), counted(sound)["given_up"]) == (("given_up", 8, "502"), 1)


def test_gone_is_given_up_at_once_and_later_is_no_try(sound: Desk) -> None:
    callback = ended(sound)
    assert sound.run(callbacks.done(callback, Told.LATER, pause=3)) == "due"
    sound.at(3.1)
    assert due(sound) == [callback]
    assert sound.run(callbacks.done(callback, Told.GONE, wrong="410")) == "given_up"
    assert record(sound, "t") == ("given_up", 1, "410")


def test_whoever_dies_with_one_leaves_it_to_the_next(sound: Desk) -> None:
    callback = ended(sound)
    sound.at(29)
    assert due(sound) == []
    sound.at(1.1)
    assert due(sound) == [callback]  # not counted: nobody knows whether it was sent
    assert sound.run(callbacks.done(callback, Told.FAILED)) == "due"
    assert sound.run(callbacks.done(callback, Told.DELIVERED)) == "delivered"  # the one thought dead had told it after all
    sound.sweep()
    assert sound.run(callbacks.done(callback, Told.FAILED)) == "delivered"


def test_a_retry_by_hand_takes_it_out_and_the_next_end_is_another(sound: Desk) -> None:
    sound.agent("a")
    sound.started("t", callback_url=URL).ends(FINAL)
    (first,) = due(sound)
    sound.run(callbacks.done(first, Told.FAILED, wrong="500"))
    sound.run(tasks.retry("t", "r", Requirements()))
    assert (record(sound, "t"), counted(sound)["due"]) == (("waiting", 0, None), 0)
    assert sound.run(callbacks.done(first, Told.DELIVERED)) == "stale"
    sound.run(tasks.cancel("t"))
    (second,) = due(sound)
    assert (first.message_id, second.message_id, second.number) == ("t", "t.r1", 1)


def test_a_trimmed_task_is_given_up(sound: Desk) -> None:
    callback = ended(sound)
    sound.run(callbacks.done(callback, Told.FAILED))
    sound.at(90_000)
    sound.sweep()
    assert counted(sound) == {"due": 0, "delivered": 0, "given_up": 1}
    assert sound.run(callbacks.done(callback, Told.DELIVERED)) == "stale"


def test_a_clock_set_back_delays_it_by_no_more_than_the_longest_pause(sound: Desk) -> None:
    callback = ended(sound)
    sound.run(callbacks.done(callback, Told.FAILED))
    sound.sweep()
    sound.at(-86_400)
    for _ in range(10):
        sound.sweep()
    sound.at(7201)
    assert [again.task_id for again in due(sound)] == ["t"]


def test_a_full_redis_does_not_stop_it(sound: Desk) -> None:
    callback = ended(sound)
    sound.redis.config_set("maxmemory", 1)
    try:
        assert sound.run(callbacks.done(callback, Told.LATER)) == "due"
        assert due(sound) == [callback]
        assert sound.run(callbacks.done(callback, Told.DELIVERED)) == "delivered"
        assert sound.run(watch("t")).state == "completed"
    finally:
        sound.redis.config_set("maxmemory", 0)


def test_the_doctor_sees_what_is_in_no_order(desk: Desk) -> None:
    ended(desk)
    desk.redis.zadd("callbacks:due", {"nobody": desk.redis.zscore("callbacks:due", "t")})
    desk.redis.zrem("callbacks:due", "t")
    assert sorted(v.split(" is in")[0] for v in desk.violations()) == ["11 task nobody", "11 task t"]
    desk.redis.zadd("callbacks:due", {"t": 1})
    desk.redis.zrem("callbacks:due", "nobody")
    desk.sweep()
    assert desk.violations() == ["8 t is overdue in callbacks:due"]


def test_a_watched_task_tells_of_everything(sound: Desk) -> None:
    stream = Stream(sound.ledger)
    sound.task("t", max_attempts=2)
    assert sound.run(watch("t")).state == "queued"
    sound.route("t")  # no agent: it waits
    sound.agent("a")
    (grant,) = sound.sweep_for_lost_jobs() if sound.state("t") == "waiting" else [None]
    lease = sound.field("t", "lease")
    token = sound.token()
    sound.begin(lease, "w1", token)
    sound.run(leases.renew(lease, token, '{"percent":50}'))
    sound.run(leases.renew(lease, token, '"' + "x" * 1100 + '"'))
    sound.run(leases.finish(lease, token, COUNTED, worker="w1"))
    sound.at(3)
    sound.sweep()
    sound.run(tasks.cancel("t"))
    found = stream.after("0-0")
    words = [event.word for event in found]
    assert words == ["waiting", "running", "progress", "progress", "scheduled", "waiting", "running", "cancelled"], words
    assert [event.data["progress"] for event in found[2:4]] == [{"percent": 50}, None]
    assert found[1].data["agent_id"] == "a"
    assert grant is None or grant.lease_id == lease


def test_an_unwatched_task_tells_of_its_end_alone(sound: Desk) -> None:
    stream = Stream(sound.ledger)
    sound.agent("a")
    sound.started("t").ends(DONE)
    assert [event.word for event in stream.after("0-0")] == ["completed"]
    assert sound.run(watch("t")).ended
    with pytest.raises(NotFound):
        sound.run(watch("nobody"))


def test_what_the_stream_does_not_hold_any_more(desk: Desk) -> None:
    small = desk.again(keep_events=1000)
    stream = Stream(small.ledger)
    assert stream.holds("0-0")
    assert not stream.holds("99-0")  # an empty stream never came so far: another Redis
    first = desk.redis.xadd("tasks:events", {"t": "x", "s": "completed"}, id="100-0").decode()
    assert stream.holds("0-0")  # nothing has been cut
    assert stream.holds(first)
    for _ in range(1200):
        desk.redis.xadd("tasks:events", {"t": "x", "s": "completed"}, maxlen=1000, approximate=False)
    assert not stream.holds(first)
    assert stream.holds(stream.newest())
    small.close()
