"""The steps of the API at which faults strike it (tests/faults: killed, frozen). The client repeats its call at another node."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.harness.agents import accept, succeed
from tests.harness.cluster import Api
from tests.harness.matrix import Row
from tests.harness.processes import wait_for


@dataclass(frozen=True)
class Step:
    """`hook`: where the victim stops; `call`: submit, keyed (submit with an Idempotency-Key), complete, register."""

    name: str
    hook: str
    call: str


STEPS = [
    Step("submit, before it is stored", "submit", "submit"),
    Step("submit, stored and not published", "submit.stored", "submit"),
    Step("submit, published and not answered", "submit.published", "submit"),
    Step("submit with a key, before it is stored", "submit", "keyed"),
    Step("submit with a key, stored and not published", "submit.stored", "keyed"),
    Step("submit with a key, published and not answered", "submit.published", "keyed"),
    Step("complete, before it is stored", "callback", "complete"),
    Step("complete, stored and not answered", "callback.finished", "complete"),
    Step("register, before it is stored", "register", "register"),
    Step("register, stored and its grants not published", "register.stored", "register"),
]


def strike_at(world: Row, step: Step, how: str) -> None:
    """Make the call at the victim, strike it at the step, repeat the call at another node: one task, sent once, ended."""
    other = world.node()
    world.worker()
    victim = world.node(stop_at=step.hook)
    call = CALLS[step.call](world, other)
    at_victim = _Caller(call, victim)
    at_victim.start()
    world.stopped()
    world.strike(victim.process, how, meanwhile=lambda: call(other))
    at_victim.join(20)
    assert not at_victim.is_alive()
    assert at_victim.answered == (how == "freeze"), at_victim.failure
    tasks = world.settle(other, faults=0)
    assert [len(task["attempts"]) for task in tasks.values()] == [1] * len(tasks)
    assert len(other.ok("GET", "/tasks")["tasks"]) == len(world.accepted)


class _Caller(threading.Thread):
    """The client whose call meets the fault. `answered`: with 200."""

    def __init__(self, call: Callable[[Api], None], api: Api) -> None:
        super().__init__(daemon=True)
        self.call, self.api, self.answered, self.failure = call, api, False, ""

    def run(self) -> None:
        try:
            self.call(self.api)
            self.answered = True
        except (OSError, AssertionError) as exc:
            self.failure = repr(exc)


def _submit(world: Row, other: Api) -> Callable[[Api], None]:
    world.agent(other, max_concurrency=1)
    world.accepted.append("one")
    return lambda api: _accepted(api.ok("POST", "/tasks/submit", {"task_data": {"n": 1}, "task_id": "one"}), "one")


def _keyed(world: Row, other: Api) -> Callable[[Api], None]:
    """The ledger chooses the id: both calls hear the same one."""
    world.agent(other, max_concurrency=1)

    def call(api: Api) -> None:
        answer = api.ok("POST", "/tasks/submit", {"task_data": {"n": 1}}, **{"Idempotency-Key": "k"})
        if not world.accepted:
            world.accepted.append(answer["task_id"])
        _accepted(answer, world.accepted[0])

    return call


def _accepted(answer: Any, task_id: str) -> None:
    assert answer["task_id"] == task_id


def _complete(world: Row, other: Api) -> Callable[[Api], None]:
    """A second task waits for the slot that the callback frees."""
    agent = world.agent(other, answer=accept, max_concurrency=1)
    world.submit(other)
    wait_for(lambda: agent.received, 10, "the 202")
    agent.answer = succeed
    world.submit(other)
    callback = agent.received[0]["callback"]
    path = "/" + callback["complete"].split("/", 3)[3]
    return lambda api: _completed(api.ok("POST", path, {"result": 7}, Authorization=f"Bearer {callback['token']}"))


def _completed(answer: Any) -> None:
    assert answer["state"] == "completed"


def _register(world: Row, other: Api) -> Callable[[Api], None]:
    """A task waits for this agent."""
    agent = world.agents.start("late")
    world.submit(other)
    wait_for(lambda: other.task(world.accepted[0])["state"] == "waiting", 10)
    return lambda api: api.register(agent.name, agent.url) and None


CALLS: dict[str, Callable[[Row, Api], Callable[[Api], None]]] = {
    "submit": _submit,
    "keyed": _keyed,
    "complete": _complete,
    "register": _register,
}
