"""An agent says 202 and is not heard of again: its lease lives 60 s from the last renewal, then its task goes elsewhere."""

from tests.harness.agents import accept
from tests.harness.matrix import Row
from tests.harness.processes import wait_for
from tests.integration.system.test_answers import call_back


def test_dies_after_202_and_calls_back_after_expiry(world: Row) -> None:
    """Its callback comes when the second attempt has won: refused, nothing changes."""
    world.name = "agent: dies after 202; its callback comes after expiry"
    api, _ = world.node(), world.worker()
    first = world.agent(api, "dies", accept, heartbeat_timeout=0)
    for _ in range(5):
        world.submit(api)
    wait_for(lambda: len(first.received) == 5, 10, "the 202s")
    world.agents.stop(first)
    world.agent(api, "lives")
    tasks = world.settle(api, faults=1, seconds=80)
    assert [[a["agent_id"] for a in task["attempts"]] for task in tasks.values()] == [["dies", "lives"]] * 5
    for body in first.received:
        callback = body["callback"]
        assert call_back(callback["complete"], callback["token"], {"result": "too late"})[0] == 410
    assert {api.task(task_id)["result"]["by"] for task_id in tasks} == {"lives"}
