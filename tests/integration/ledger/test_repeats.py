"""L7: every step, run twice, answers the same and changes nothing the second time."""

import pytest

from aitbc.errors import AitbcError
from aitbc.ledger import access, agents, leases, queues, sweep, tasks, workers
from aitbc.ledger.tasks import TaskFilter
from aitbc.model.access import ApiKey, Scope, key_digest
from aitbc.model.agent import AgentQuery, AgentStatus
from aitbc.model.lease import token_hash
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from tests.integration.ledger.desk import COUNTED, DONE, FINAL, FORBIDDEN, LEFT, REFUSED, STOPPED, new_task, registration
from tests.properties.repeats import same_answer

TOKEN, SPARE = token_hash("token"), token_hash("spare")

KEY = ApiKey("0", "key", frozenset({Scope.READ}), 1, 0, key_digest("text"))

STEPS = {
    "submit": tasks.submit(new_task("new", idempotency_key="k")),
    "submit later": tasks.submit(new_task("new", delay=5, queue_timeout=5)),
    "read": tasks.read("begun"),
    "page": tasks.page(TaskFilter(), 10),
    "stats": tasks.stats(),
    "route": leases.route("waits", "w1", TOKEN),
    "begin": leases.begin("granted:1", "w1", TOKEN),
    "renew": leases.renew("begun:1", TOKEN, "{}"),
    "disown": leases.disown("begun:1", "w1"),
    "cancel waiting": tasks.cancel("waits"),
    "cancel granted": tasks.cancel("granted"),
    "cancel begun": tasks.cancel("begun"),
    "retry": tasks.retry("dead", "r", Requirements()),
    "pause": queues.pause(Priority.NORMAL),
    "resume": queues.resume(Priority.NORMAL),
    "clear": queues.clear(Priority.NORMAL, 2**52),
    "strategy": queues.set_strategy("round_robin"),
    "heartbeat": agents.heartbeat("a", {"cpu": 0.5}, ["begun:1"]),
    "drain": agents.drain("a"),
    "resume agent": agents.resume("off"),
    "status": agents.set_status("a", AgentStatus.MAINTENANCE),
    "remove": agents.remove("a"),
    "register": agents.register(registration("a", 9)),
    "read agent": agents.read("a"),
    "agents": agents.page(10),
    "discover": agents.discover(AgentQuery()),
    "registry": agents.stats(["active"], ["worker"]),
    "alive": workers.alive("w1"),
    "leave": workers.leave("w2"),
    "count": workers.count(),
    "full": workers.full(10),
    "create key": access.create_key(KEY, "me"),
    "revoke key": access.revoke_key(KEY, "me"),
    "read key": access.read_key("0"),
    "list keys": access.list_keys(),
    "owner": access.owner_of("task", "begun"),
    "read audit": access.read_audit("keys", 10),
    **{f"sweep {step.script}": step for step in sweep.steps()},
    **{
        f"finish {name}": leases.finish("begun:1", TOKEN, outcome, worker="w1", spare_hash=SPARE)
        for name, outcome in {
            "ok": DONE,
            "500": COUNTED,
            "final": FINAL,
            "401": FORBIDDEN,
            "410": LEFT,
            "refused": REFUSED,
            "stop": STOPPED,
        }.items()
    },
}

COUNTS_ON = ("version", "swept", "last_heartbeat", "registration_time", "expires", "_seq", "turn")
"""Fields that say how often, or when, a step came."""


def stored(desk):
    """Everything that a repeat may not change; what only tells the time is left out."""
    found = {
        key: value
        for key, value in desk.whole().items()
        if key not in {"agents:deadlines", "workers:deadlines", "workers:polling", "agents:drift", "sigs"}
    }
    for key, value in found.items():
        if key.startswith(("task:", "agent:", "ledger")) and isinstance(value, dict):
            found[key] = {field: content for field, content in value.items() if field not in COUNTS_ON}
        elif key == "leases" or key.startswith("agents:score"):
            found[key] = set(value)
    return found


@pytest.fixture
def working(sound):
    sound.agent("off", 1)
    sound.run(agents.drain("off"))
    sound.agent("a", 2)
    sound.started("dead").ends(FINAL)
    sound.task("begun")
    sound.route("begun", "w1", TOKEN)
    sound.run(workers.alive("w2", first=True))
    sound.run(agents.drain("a"))
    sound.task("granted")
    sound.run(agents.resume("a"))
    sound.task("waits")
    sound.run(queues.pause(Priority.LOW))
    return sound


@pytest.mark.parametrize("name", STEPS)
def test_a_repeat_answers_the_same_and_changes_nothing(working, name):
    step = STEPS[name]
    first = _answer(working, step)
    before = stored(working)
    second = _answer(working, step)
    assert same_answer(step.script, first, second)
    assert stored(working) == before


def _answer(desk, step):
    try:
        return desk.run(step)
    except AitbcError as refusal:
        return refusal
