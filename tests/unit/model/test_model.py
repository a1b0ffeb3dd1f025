"""The vocabulary: priorities, signatures, tokens, endpoints."""

import json

import pytest

from aitbc.errors import BadRequest
from aitbc.model.agent import AgentType, Registration
from aitbc.model.lease import Attempt, Grant, keyed, new_token, task_of, token_hash
from aitbc.model.priority import PRIORITIES, Priority
from aitbc.model.requirements import Requirements, index_terms
from aitbc.model.task import TERMINAL, TaskState


@pytest.mark.parametrize("text", ["urgent", "URGENT", "Urgent"])
def test_priorities_in_any_case(text):
    assert Priority.parse(text) is Priority.URGENT
    assert [priority.rank for priority in PRIORITIES] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("text", ["", "asap", " urgent"])
def test_a_wrong_priority(text):
    with pytest.raises(BadRequest) as caught:
        Priority.parse(text)
    assert str(caught.value) == f"Invalid priority: {text}"


def test_equal_requirements_share_a_signature():
    one = Requirements("worker", ("b", "a"), ("s",), ("t",), 0.76)
    two = Requirements("worker", ("a", "b", "a"), ("s",), ("t",), 0.84)
    assert one.signature == two.signature
    assert (one.signature.terms, one.signature.floor) == ("cap:a\ncap:b\nsvc:s\ntag:t\ntype:worker", 8)
    assert len(one.signature.id) == 12


def test_different_requirements_do_not():
    different = [
        Requirements(),
        Requirements("worker"),
        Requirements(capabilities=("worker",)),
        Requirements(services=("worker",)),
        Requirements(tags=("worker",)),
        Requirements(min_health_score=0.1),
        Requirements(min_health_score=1.0),
    ]
    assert len({needs.signature.id for needs in different}) == len(different)
    assert Requirements().signature.id == Requirements(min_health_score=0.04).signature.id == "any"


def test_requirements_as_json_and_back():
    for needs in (Requirements(), Requirements("worker", ("a",), ("s",), ("t",), 0.5)):
        assert Requirements.from_json(json.dumps(needs.as_json())) == needs
    assert Requirements().as_json() == {}
    assert Requirements.from_json("") == Requirements()
    assert index_terms(None, (), (), ()) == set()


def test_leases():
    assert Grant("t.1:7", Priority.LOW).task_id == "t.1" == task_of("t.1:7")
    assert Grant("t:7", Priority.LOW, 2).job_id == "t.r2"
    assert (keyed("t", 0), keyed("t", 2)) == ("t", "t.r2")
    token = new_token()
    assert token != new_token()
    assert len(token) >= 43
    assert token_hash(token) != token
    assert len(token_hash(token)) == 32
    attempt = Attempt("t:1", 1, 0.0, 1.0, Priority.LOW, b"", b"", 3, False, "a", "", "", "")
    assert (attempt.task_id, attempt.idempotency_key) == ("t", "t.r3")


def test_the_first_endpoint_we_can_call():
    def endpoint(**kinds):
        return Registration("a", AgentType.WORKER, endpoints=kinds).callable_endpoint

    assert endpoint(grpc="x", http="u") == ("http", "u")
    assert endpoint(http="") == endpoint(grpc="x") == endpoint() == ("", "")


def test_terminal_states():
    assert {state for state in TaskState if state.terminal} == TERMINAL
    assert not TaskState.SCHEDULED.terminal
