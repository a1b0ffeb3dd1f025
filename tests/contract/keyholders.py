"""API keys for the contract's tests: made by the ledger's own steps, as `aitbc keys` makes them."""

import itertools
from dataclasses import replace

from aitbc.ledger import access, agents, tasks
from aitbc.ledger.client import Ledger
from aitbc.model.access import ApiKey, Scope, key_digest, new_key_text
from aitbc.model.agent import AgentType, Registration
from aitbc.model.priority import Priority
from aitbc.model.requirements import Requirements
from aitbc.model.task import NewTask

ADMIN_KEY = "aitbc_admin_" + "a" * 43
_numbers = itertools.count(1)


class Holder:
    """A key: `text` is sent; what it has is made here as if it had asked for it."""

    def __init__(self, ledger: Ledger, *scopes: str, expires: int = 0, name: str = "test") -> None:
        self.ledger, self.key_id = ledger, f"{next(_numbers):012x}"
        self.text = new_key_text(self.key_id)
        key = ApiKey(self.key_id, name, frozenset(map(Scope, scopes)), 1, expires, key_digest(self.text))
        ledger.run(access.create_key(key, "test"))

    @property
    def key(self) -> ApiKey:
        found = self.ledger.run(access.read_key(self.key_id)).key
        assert found
        return found

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}

    def agent(self, name: str = "", **fields) -> str:
        name = name or f"agent-{next(_numbers)}"
        agent = Registration(name, AgentType.WORKER, ("c",), ("s",), {"http": "http://127.0.0.1:9002"}, owner=self.key_id, may="")
        self.ledger.run(agents.register(replace(agent, **fields)))
        return name

    def task(self, name: str = "", *, dead: bool = False, cancelled: bool = False, **fields) -> str:
        name = name or f"task-{next(_numbers)}"
        task = NewTask(name, "{}", Priority.NORMAL, Requirements(), name, owner=self.key_id)
        self.ledger.run(tasks.submit(replace(task, **fields)))
        if cancelled or dead:
            self.ledger.run(tasks.cancel(name))
        if dead:  # as one that failed, without a worker
            pipe = self.ledger.redis.pipeline()
            pipe.zrem("tasks:cancelled", name)
            pipe.zadd("tasks:failed", {name: 1})
            pipe.hset(f"task:{name}", mapping={"state": "failed", "error_code": "agent_failed"})
            pipe.execute()
        return name
