"""This worker process: its id, its client of the ledger, its client of the agents, and the calls it has in flight."""

import asyncio
import secrets
from dataclasses import dataclass, field

from celery import signals

from aitbc.dispatch.client import Dispatcher
from aitbc.ledger.pipeline import Pipeline
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Accepted, Outcome
from aitbc.settings import Settings


@dataclass(slots=True)
class Node:
    """What the jobs of this process share. `worker`: `{nodename}:{16 hex}`, new at every start. `held`: lease → its call in flight."""

    settings: Settings
    ledger: Pipeline
    dispatcher: Dispatcher
    worker: str
    held: dict[str, "asyncio.Task[Outcome | Accepted]"] = field(default_factory=dict)

    async def call(self, attempt: Attempt, token: str) -> Outcome | Accepted | None:
        """POST an attempt. None when the call was closed from outside (`close`); a cancelled caller closes it too."""
        call = asyncio.ensure_future(self.dispatcher.send(attempt, token))
        self.held[attempt.lease_id] = call
        try:
            return await call
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():  # it has cancelled the call, and waited for it
                raise
            return None
        finally:
            del self.held[attempt.lease_id]

    def close(self, lease_id: str) -> None:
        """Close the socket of a call in flight; nothing when there is none."""
        if lease_id in self.held:
            self.held[lease_id].cancel()

    def rename(self) -> None:
        """Take a new id."""
        self.worker = new_worker_id()


class _Process:
    """Where the jobs find their node, and the name that Celery gave the process."""

    node: Node | None = None
    nodename = "worker"


def node() -> Node:
    """This process's node. Raises RuntimeError outside of a worker."""
    if _Process.node is None:
        raise RuntimeError("no aitbc worker runs in this process")
    return _Process.node


def open_node(settings: Settings) -> Node:
    """Make the node of this process; its loop must be running."""
    _Process.node = Node(settings, Pipeline(settings), Dispatcher(settings), new_worker_id())
    _Process.node.ledger.start()
    return _Process.node


async def close_node() -> None:
    """Close both clients."""
    await node().dispatcher.close()
    await node().ledger.close()


def new_worker_id() -> str:
    """Unguessable: whoever knows it may hand back its leases."""
    return f"{_Process.nodename}:{secrets.token_hex(8)}"


@signals.celeryd_init.connect
def _named(sender: str | None = None, **_: object) -> None:
    _Process.nodename = sender or _Process.nodename
