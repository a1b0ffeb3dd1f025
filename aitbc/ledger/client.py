"""The blocking client: runs steps for the API and the command line. The worker's pipelining one is in pipeline.py."""

import time
from typing import Any, TypeVar, cast

import redis

from aitbc.errors import Full, LedgerAway, TryLater
from aitbc.ledger import connection, scripts
from aitbc.ledger.access import Note
from aitbc.ledger.convoy import Convoy
from aitbc.ledger.replicas import REFUSED, Fence
from aitbc.ledger.step import Step, each_reply
from aitbc.ledger.tasks import SUBMIT_FIELDS
from aitbc.settings import Settings

T = TypeVar("T")
TRIES = 3
PAUSE = 0.1
"""A step is tried thrice, 0.1 and 0.2 s apart: long enough for a script reload or a dropped connection, short enough for a caller."""
PATIENCE = 4.0
"""Seconds after which it is not tried again: each try at a Redis that accepts and never answers costs a socket timeout."""


class Ledger:
    """The ledger as blocking code sees it; threads and greenlets may share one."""

    def __init__(self, settings: Settings, *, connections: int = 64, offset: str = "0") -> None:
        """Connect lazily. `offset`: see scripts.load (tests)."""
        self.settings = settings
        self.redis = connection.blocking(settings.redis_url, connections)
        self._convoy = Convoy(self.redis)
        self._scripts = scripts.load(settings, offset)
        self._fence = Fence(settings.ledger_replicas)

    def run(self, step: Step[T], note: Note = ()) -> T:
        """Run a step. `note`: a command that goes with it, in the same trip; what becomes of it changes nothing.

        Raises LedgerAway, Full (Redis out of memory: nothing was stored), TryLater (too few replicas have it), and what the step's
        refusals mean.
        """
        until = time.monotonic() + PATIENCE
        for tried in range(1, TRIES + 1):
            try:
                return self._judged(step, *self._evaluate(step, note))
            except (redis.RedisError, OSError) as exc:
                if connection.is_full(exc):
                    raise Full("the ledger's Redis is out of memory: nothing was stored; raise its maxmemory", retry_after=30) from exc
                if not connection.is_passing(exc):
                    raise
                if connection.is_demoted(exc):
                    self.redis.connection_pool.disconnect()  # Sentinel names the new master to a new connection
                if tried == TRIES or time.monotonic() > until:
                    raise LedgerAway("the ledger (Redis) does not answer: nothing was lost, try again", retry_after=2) from exc
                time.sleep(PAUSE * tried)
        raise AssertionError("unreachable")

    def _evaluate(self, step: Step[Any], note: Note) -> tuple[Any, bool]:
        """The reply, and whether enough replicas have it."""
        script = self._scripts[step.script]
        try:
            return self._send(step, "EVALSHA", script.sha, note)
        except redis.exceptions.NoScriptError:
            return self._send(step, "EVAL", script.text)

    def _send(self, step: Step[Any], command: str, body: str, note: Note = ()) -> tuple[Any, bool]:
        call, client = (command, body, 0, *step.args), cast("Any", self.redis)  # untyped in redis-py
        if not self._fence.holds(step.script):
            return _own(step, self._convoy.call(*call, note=note)), True
        with client.pipeline(transaction=False) as batch:
            for one in (call, *([note] if note else []), *self._fence.commands(patient=True)):
                batch.execute_command(*one)
            reply, *_, copies = batch.execute(raise_on_error=False)
        return _own(step, reply), self._fence.enough(copies)

    def _judged(self, step: Step[T], reply: Any, copied: bool) -> T:
        value = step.parse(reply)
        if not copied and step.script in REFUSED:
            wanted = f"AITBC_LEDGER_REPLICAS={self._fence.replicas} replicas"
            many = len(step.args) // SUBMIT_FIELDS
            what, its = (f"task {step.args[0]!s} is", "this task_id") if many == 1 else (f"{many} tasks are", "the same task_ids")
            raise TryLater(f"{what} recorded, but not on {wanted}: a failover could lose what is not; safe to repeat with {its}")
        return value

    def ping(self) -> None:
        """Raises LedgerAway."""
        try:
            self.redis.ping()
        except (redis.RedisError, OSError) as exc:
            raise LedgerAway("the ledger (Redis) does not answer", retry_after=2) from exc

    def close(self) -> None:
        """Close every connection."""
        self.redis.close()
        self.redis.connection_pool.disconnect()
        for watcher in connection.watchers(self.redis):
            watcher.close()


def _own(step: Step[Any], reply: Any) -> Any:
    """The step's own reply. Raises what Redis answered as an error."""
    own = next(each_reply(reply)) if step.wide and isinstance(reply, list) else reply
    if isinstance(own, Exception):
        raise own
    return own
