"""This worker process: its id, its client of the ledger, its client of the agents, and the calls it has in flight."""

import asyncio
import logging
import secrets
from dataclasses import dataclass, field
from typing import cast

from celery import signals

from aitbc.dispatch.client import Dispatcher
from aitbc.ledger.pipeline import Pipeline
from aitbc.model.lease import Attempt
from aitbc.model.outcome import Accepted, Outcome
from aitbc.settings import Settings
from aitbc.telemetry import logs


@dataclass(slots=True)
class _Call:
    caller: "asyncio.Task[object]"
    closed: bool = False


@dataclass(slots=True)
class Node:
    """What the jobs of this process share. `worker`: `{nodename}:{16 hex}`, new at every start. `held`: lease → its call in flight."""

    settings: Settings
    ledger: Pipeline
    dispatcher: Dispatcher
    worker: str
    held: dict[str, _Call] = field(default_factory=dict)

    async def call(self, attempt: Attempt, token: str) -> Outcome | Accepted | None:
        """POST an attempt. None when the call was closed from outside (`close`); a cancelled caller closes it too.

        Runs in a task. One of its own for each call would take a twentieth of the worker's time.
        """
        caller = cast("asyncio.Task[object]", asyncio.current_task())
        call = self.held[attempt.lease_id] = _Call(caller)
        try:
            return await self.dispatcher.send(attempt, token)
        except asyncio.CancelledError:
            if call.closed and not caller.uncancel():
                return None
            raise  # the caller itself is cancelled too
        finally:
            del self.held[attempt.lease_id]

    def close(self, lease_id: str) -> None:
        """Close the socket of a call in flight; nothing when there is none."""
        call = self.held.get(lease_id)
        if call is not None and not call.closed:
            call.closed = True
            call.caller.cancel()

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
def _log_as_json(**_: object) -> None:
    """Celery sets up its own plain lines unless somebody takes this signal."""
    if Settings.load().log_format == "json":
        signals.setup_logging.connect(_configure_logs)


def _configure_logs(loglevel: int | str = "INFO", **_: object) -> None:
    logs.configure(loglevel if isinstance(loglevel, str) else logging.getLevelName(loglevel))


@signals.celeryd_init.connect
def _named(sender: str | None = None, **_: object) -> None:
    _Process.nodename = sender or _Process.nodename
