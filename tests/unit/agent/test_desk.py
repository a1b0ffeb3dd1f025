"""The desk of an agent: slots, repeated requests, and what a handler's end becomes."""

import json

import pytest

from aitbc.agent import WorkFailed, current
from aitbc.agent.work import KEPT_ANSWERS, Desk, Execution, Reply, execute


def test_counts_slots():
    desk = Desk(2)
    assert desk.enter("a") is None
    assert desk.enter("b") is None
    refused = desk.enter("c")
    assert refused is not None
    assert (refused.status, refused.retry_after) == (503, 1)
    assert desk.load() == {"queue": 1.0}
    desk.leave("a", Reply(200, b"1"))
    assert desk.running == 1
    assert desk.enter("c") is None


def test_the_same_key_while_it_runs_is_a_conflict_even_when_full():
    desk = Desk(1)
    assert desk.enter("a") is None
    refused = desk.enter("a")
    assert refused is not None
    assert refused.status == 409


def test_no_key_is_never_a_repeat():
    desk = Desk(3)
    assert desk.enter("") is None
    assert desk.enter("") is None
    desk.leave("", Reply(200, b"1", keep=True))
    assert desk.enter("") is None


def test_a_kept_answer_is_given_again_without_a_slot():
    desk = Desk(1)
    desk.enter("a")
    desk.leave("a", Reply(200, b"42", keep=True))
    desk.enter("b")
    again = desk.enter("a")
    assert again is not None
    assert again.body == b"42"
    assert desk.running == 1


def test_an_answer_that_may_be_tried_again_is_not_kept():
    desk = Desk(1)
    desk.enter("a")
    desk.leave("a", Reply(424, b"{}", keep=False))
    assert desk.enter("a") is None


def test_keeps_the_last_thousand():
    desk = Desk(1)
    for n in range(KEPT_ANSWERS + 1):
        assert desk.enter(str(n)) is None
        desk.leave(str(n), Reply(200, b"", keep=True))
    assert desk.enter("1") is not None
    assert desk.enter("0") is None


def test_keeps_a_bounded_number_of_bytes(monkeypatch):
    monkeypatch.setattr("aitbc.agent.work.KEPT_BYTES", 10)
    desk = Desk(1)
    for key in "ab":
        desk.enter(key)
        desk.leave(key, Reply(200, b"123456", keep=True))
    assert desk.enter("b") is not None
    assert desk.enter("a") is None


def _fail(error):
    def handler(_):
        raise error

    return handler


@pytest.mark.parametrize(
    ("handler", "status", "body", "keep"),
    [
        (lambda data: {"got": data}, 200, {"got": {"n": 1}}, True),
        (lambda _: None, 200, None, True),
        (_fail(WorkFailed("no paper")), 424, {"status": "failed", "error": "no paper", "retryable": False}, True),
        (_fail(WorkFailed("no paper", retryable=True)), 424, {"status": "failed", "error": "no paper", "retryable": True}, False),
        (_fail(KeyError("text")), 424, {"status": "failed", "error": "KeyError: 'text'"}, True),
        (lambda _: object(), 424, {"status": "failed", "error": "TypeError: Object of type object is not JSON serializable"}, True),
        (lambda _: float("nan"), 424, None, True),
    ],
)
def test_what_a_handler_comes_to(handler, status, body, keep):
    reply = execute(handler, {"n": 1}, Execution("t"))
    assert (reply.status, reply.keep) == (status, keep)
    assert body is None or json.loads(reply.body) == body


def test_current_is_the_execution_and_ends_with_it():
    execution = Execution("t1", attempt=2, timeout=3.0)
    seen = []
    execute(lambda _: seen.append(current()), {}, execution)
    assert seen == [execution]
    assert not execution.abandoned()
    execution.closing.set()
    assert execution.abandoned()
    with pytest.raises(LookupError):
        current()
