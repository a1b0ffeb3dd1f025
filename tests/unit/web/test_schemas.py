"""What bodies may hold, and what they become."""

import pytest
from pydantic import ValidationError

from aitbc.errors import BadRequest, NotFound
from aitbc.model.priority import Priority
from aitbc.model.task import TaskState
from aitbc.web.schemas import base
from aitbc.web.schemas.agents import Discover, Register
from aitbc.web.schemas.tasks import DeadChoice, RequirementsBody, Submit, TaskPageQuery, WaitQuery


def test_null_is_absent():
    body = Submit.model_validate(
        {"task_data": {}, "priority": None, "requirements": None, "max_attempts": None, "task_id": None, "run_at": None, "delay": None}
    )
    assert (body.priority, body.max_attempts, body.task_id) == ("normal", 3, None)
    assert body.requirements == RequirementsBody()
    assert Register.model_validate({"agent_id": "a", "agent_type": "worker", "capabilities": None}).capabilities == []


def test_unknown_fields_are_ignored():
    assert not hasattr(Submit.model_validate({"task_data": {}, "owner": "me"}), "owner")


@pytest.mark.parametrize("value", [[], "x", 1, None])
def test_a_body_is_an_object(value):
    with pytest.raises(ValidationError):
        Submit.model_validate(value)


@pytest.mark.parametrize(
    ("sent", "unix"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-01 00:00:10.5+00:00", 10.5),
        (10, 10.0),
        (10.5, 10.5),
        (0, 0.0),
    ],
)
def test_run_at(sent, unix):
    assert Submit.model_validate({"task_data": {}, "run_at": sent}).run_at == unix


def test_requirements_are_canonical():
    one = RequirementsBody(agent_type="worker", capabilities=["b", "a", "b"], tags=["t"], min_health_score=0.5).as_requirements()
    two = RequirementsBody(agent_type="worker", capabilities=["a", "b"], tags=["t"], min_health_score=0.5).as_requirements()
    assert one == two
    assert one.signature == two.signature


def test_sixteen_terms_pass_and_repeats_count_once():
    RequirementsBody(capabilities=[str(n) for n in range(15)], agent_type="worker")
    RequirementsBody(capabilities=["a\u2028b"] * 16, tags=["t"] * 16)
    with pytest.raises(ValidationError, match="at most 16"):
        RequirementsBody(capabilities=[str(n) for n in range(16)], agent_type="worker")


@pytest.mark.parametrize("value", ["x" * 65, "", "a\nb", "\x7f", "a\0"])
def test_terms_of_another_form(value):
    with pytest.raises(ValueError, match="1 to 64 characters"):
        base.term(value)


@pytest.mark.parametrize("value", ["a\n", "ä", "", *sorted(base.PATH_WORDS)])
def test_ids_of_another_form(value):
    with pytest.raises(ValueError, match=r"must be|choose another"):
        base.chosen_id(value)


def test_paths_of_impossible_ids_are_not_found():
    with pytest.raises(NotFound, match="Task a:b not found"):
        base.TaskPath(task_id="a:b")
    with pytest.raises(NotFound, match=r"Agent x{128}… not found"):
        base.AgentPath(agent_id="x" * 1000)
    assert base.TaskPath(task_id="status").task_id == "status"


def test_a_registration():
    body = Register.model_validate(
        {
            "agent_id": "a",
            "agent_type": "worker",
            "capabilities": ["c", "c"],
            "weight": 2,
            "endpoints": {"http": "http://x", "ws": "ws://y"},
        }
    )
    agent = body.as_registration("sealed")
    assert (agent.capabilities, agent.weight, agent.sealed_secret) == (("c",), 2.0, "sealed")
    assert body.called == {"http": "http://x"}
    assert Register(agent_id="a", agent_type="worker", endpoints={"http": ""}).called == {}


def test_a_discovery():
    query = Discover(capabilities=["c"], status="whatever").as_query()
    assert (query.status, query.capabilities, query.limit) == ("whatever", ("c",), 1000)


def test_filters():
    assert TaskPageQuery(priority="LOW").as_filter(TaskState.FAILED).priority is Priority.LOW
    assert TaskPageQuery().as_filter(None).priority is None
    assert DeadChoice(all=True).as_filter().state is TaskState.FAILED
    with pytest.raises(BadRequest, match="Invalid priority: soon"):
        DeadChoice(priority="soon").as_filter()


def test_the_schema_of_a_query_is_built_once():
    assert WaitQuery.model_json_schema() is WaitQuery.model_json_schema()
    assert WaitQuery.model_json_schema() is not TaskPageQuery.model_json_schema()
    assert WaitQuery.model_json_schema(mode="serialization")["properties"]
