"""The steps of a worker at which faults strike it (tests/faults: killed, told to end, frozen), and what each may cost."""

import asyncio
from dataclasses import dataclass

import redis

from tests.harness.agents import HttpAgent
from tests.harness.cluster import Api
from tests.harness.matrix import Row
from tests.harness.processes import wait_for


@dataclass(frozen=True)
class Step:
    """`hook`: where the victim stops by itself; '' when its agent's doing keeps it there.

    `tasks`: for one slot. `again`: sends that a kill may cost, beyond one a task: what was not sent may not be sent twice.
    """

    name: str
    hook: str
    again: int
    tasks: int = 1
    places: str = "1000"


STEPS = [
    Step("job popped, not looked at", "job.taken", again=0),
    Step("job of a grant popped, not looked at", "job.taken", again=0),
    Step("begun, not connected", "attempt.begun", again=0),
    Step("body half sent", "", again=1),
    Step("waiting for the answer", "", again=1),
    Step("answer read, not finished", "attempt.answered", again=1),
    Step("finished, the next one begun and not sent", "attempt.finished", again=0, tasks=4),
    Step("finished, its grant not published", "grants.unpublished", again=0, tasks=4, places="1"),
    Step("done, job not acknowledged", "job.done", again=0),
    Step("sweep has granted, not published", "grants.unpublished", again=0),
]


def strike_at(world: Row, step: Step, how: str) -> None:
    """Bring the only worker to the step, strike it, let another take over: every task ends."""
    api = world.node()
    if step.name.startswith("job of a grant"):
        _lose_the_job(world, api)
    victim = world.worker(stop_at=step.hook, AITBC_WORKER_CONCURRENCY=step.places)
    agent = _bring_to(world, api, step)
    agent.delay = 0
    world.strike(victim, how, meanwhile=world.worker)
    tasks = world.settle(api, faults=1)
    assert sum(world.agents.sends.values()) <= len(tasks) + (step.again or how == "freeze"), world.agents.sends
    if how == "term":
        assert victim.stop(20) == 0
    if how == "freeze":
        assert victim.alive


def _bring_to(world: Row, api: Api, step: Step) -> HttpAgent:
    if step.name.startswith("body"):
        return _half_sent(world, api)
    agent = world.agent(api, max_concurrency=1, delay=0.0 if step.hook else 30)
    while len(world.accepted) < step.tasks:
        world.submit(api, delay=1 if step.name.startswith("sweep") else 0)
    if step.hook:
        world.stopped()
    else:
        wait_for(lambda: agent.working, 10, "the call")
    return agent


def _lose_the_job(world: Row, api: Api) -> None:
    """Then it is the agent's coming that grants: the victim's first job is one for a lease."""
    broker = redis.Redis.from_url(world.cluster.redis_url)
    world.submit(api)
    assert broker.delete("normal") == 1
    broker.close()


def _half_sent(world: Row, api: Api) -> HttpAgent:
    """The agent reads the beginning of a large body and then no more."""

    async def read_little(agent: HttpAgent, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        agent.received.append({"task_id": "large"})
        agent.working += 1
        await asyncio.sleep(3600)

    agent = world.agents.raw("reads-little", read_little)
    api.register(agent.name, agent.url, max_concurrency=1)
    world.submit(api, task_id="large", task_data={"filler": "x" * 1_000_000})
    wait_for(lambda: agent.working, 10, "half of the body")
    return world.agent(api)
