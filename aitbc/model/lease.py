"""A lease is the right to one slot of one agent; once begun it is an attempt, and one worker POSTs it."""

import hashlib
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from aitbc.model.priority import Priority


@dataclass(frozen=True, slots=True)
class Grant:
    """A lease that waits for a worker to begin it: its id (`{task}:{grant number}`), the priority of its job's queue, retries by hand."""

    lease_id: str
    priority: Priority
    retries: int = 0

    @property
    def task_id(self) -> str:
        """The task the lease is for."""
        return task_of(self.lease_id)

    @property
    def job_id(self) -> str:
        """The Celery id of its job."""
        return keyed(self.task_id, self.retries)


@dataclass(slots=True)  # not frozen: one is made for every attempt, and that would take a microsecond
class Attempt:
    """A begun lease and all that its POST needs.

    `deadline`: Unix seconds by the ledger's clock; `seconds_left`: until then, when the ledger answered; `task_data`, `requirements`:
    JSON bytes, never read by the ledger; `retries`: by hand, so far; `url`, `kind`: the agent's endpoint; `sealed_secret`: the agent's,
    encrypted, or empty; `traceparent`: the W3C trace context that its client sent, or empty.
    """

    lease_id: str
    attempt: int
    deadline: float
    seconds_left: float
    priority: Priority
    task_data: bytes
    requirements: bytes
    retries: int
    idempotent: bool
    agent_id: str
    url: str
    kind: str
    sealed_secret: str
    traceparent: str = ""

    @property
    def task_id(self) -> str:
        """The task that is attempted."""
        return task_of(self.lease_id)

    @property
    def idempotency_key(self) -> str:
        """The same for all automatic attempts; a retry by hand has its own."""
        return keyed(self.task_id, self.retries)


def task_of(lease_id: str) -> str:
    """The task id inside a lease id (task ids hold no colon)."""
    return lease_id.rpartition(":")[0]


def keyed(task_id: str, retries: int) -> str:
    """`task`, or `task.r2` after the second retry by hand: Idempotency-Key, and the Celery id of its jobs."""
    return f"{task_id}.r{retries}" if retries else task_id


_random: list[bytes] = []
"""Taken from the system 64 at a time: each asking costs as much as all else of a token."""
os.register_at_fork(after_in_child=_random.clear)


def new_token() -> str:
    """An unguessable token (256 bits) that proves who holds an attempt. Only its hash is stored."""
    if not _random:
        fresh = os.urandom(64 * 32)
        _random.extend(fresh[i : i + 32] for i in range(0, len(fresh), 32))
    return urlsafe_b64encode(_random.pop()).rstrip(b"=").decode()


def token_hash(token: str) -> str:
    """Half a SHA-256 (128 bits) in hex: what Redis holds of a token. Nobody finds a token for it, and it stands twice in each record."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]
