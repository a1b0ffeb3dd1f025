"""Steps of a lease: route and begin it, finish it, renew it, hand it back."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from aitbc.errors import Conflict, Gone, NotFound
from aitbc.ledger.step import MICRO, Step, grants, micros, text
from aitbc.model.lease import Attempt, Grant, task_of
from aitbc.model.outcome import Outcome, Verdict
from aitbc.model.priority import PRIORITIES

NEEDS = 14
"""Fields of an attempt in a reply."""
ENDED = (NotFound, Gone)
"""What renew raises when the lease is not current any more."""


@dataclass(slots=True)  # not frozen: one is made for every attempt, and that would take a microsecond
class Begun:
    """What route or begin came to.

    `attempt`: to be POSTed, or None and `why`: waiting, gone, begun (by another), returned (its agent takes no work now), suspect (this
    worker holds one already), unknown, or the task's state that leaves nothing to do. `grants`: leases of others that need a job.
    """

    attempt: Attempt | None
    why: str
    grants: list[Grant]


@dataclass(slots=True)  # not frozen: one is made for every attempt, and that would take a microsecond
class Ended:
    """What finish came to.

    `word`: the task's state now; or repeat-safe refusals: different (it ended with another answer), gone (not the current lease),
    unknown (no such lease, or a wrong token). `next`: the first grant, already begun for the caller. `grants` need a job.
    """

    word: str
    next: Attempt | None
    grants: list[Grant]


@dataclass(frozen=True, slots=True)
class Renewed:
    """`cancel`: the client cancelled, stop the work. `expires`: Unix seconds."""

    cancel: bool
    expires: float


def route(task_id: str, worker: str, token_hash: str) -> Step[Begun]:
    """Look at a task: match until it has a slot; begin its grant, or else the first one made."""
    return Step("route", (task_id, worker, token_hash), _begun, wide=True)


def begin(lease_id: str, worker: str, token_hash: str) -> Step[Begun]:
    """Begin a granted lease; the first comer wins, the same comer gets the same answer."""
    return Step("begin", (lease_id, worker, token_hash), _begun)


def finish(lease_id: str, token_hash: str, outcome: Outcome, *, worker: str = "", spare_hash: str = "") -> Step[Ended]:
    """End an attempt. With a spare token's hash the first grant that this makes comes back already begun for `worker`."""
    body = outcome.result if outcome.verdict is Verdict.COMPLETED else outcome.message
    code = outcome.code or ""
    digest = hashlib.sha256(f"{outcome.verdict}\n{code}\n{body}".encode()).hexdigest()[:16]
    args = (lease_id, worker, token_hash, outcome.verdict, body, code, outcome.http_status or "", outcome.agent_says, micros(outcome.pause))
    return Step("finish", (*args, digest, spare_hash), _ended, wide=True)


def call_back(task_id: str, token_hash: str, outcome: Outcome) -> Step[Ended]:
    """The final callback of a 202 agent, known by its token alone.

    Raises NotFound (unknown task and wrong token look alike), Gone (the lease is no longer current), Conflict (it ended differently).
    """
    step = finish(task_id, token_hash, outcome)
    return replace(step, parse=lambda reply: _refused(task_id, step.parse(reply)))


def renew(lease_id: str, token_hash: str, progress: str = "") -> Step[Renewed]:
    """A 202, or its agent's progress (JSON text): the lease lives 60 s more, and no longer by its worker.

    `lease_id` may be a task id when only the token is known. Raises NotFound, Gone.
    """

    def parse(reply: list[Any]) -> Renewed:
        word = text(reply[0])
        if word == "unknown":
            raise NotFound("Task", task_of(lease_id) or lease_id)
        if word == "gone":
            raise Gone("this lease is no longer current: its attempt has ended")
        return Renewed(word == "cancel", int(reply[1]) / MICRO)

    return Step("renew", (lease_id, token_hash, progress), parse)


def disown(lease_id: str, worker: str) -> Step[list[Grant]]:
    """Hand back a begun lease whose reply this worker never got: nothing was sent, so the task waits again."""
    return Step("disown", (lease_id, worker), grants)


def _refused(task_id: str, ended: Ended) -> Ended:
    if ended.word == "unknown":
        raise NotFound("Task", task_id)
    if ended.word == "gone":
        raise Gone("this lease is no longer current: its attempt has ended")
    if ended.word == "different":
        raise Conflict("this attempt has already ended with another answer")
    return ended


def _begun(reply: list[Any]) -> Begun:
    attempt, more = _answered(reply)
    return Begun(attempt, text(reply[0]), more)


def _ended(reply: list[Any]) -> Ended:
    attempt, more = _answered(reply)
    return Ended(text(reply[0]), attempt, more)


def _answered(reply: list[Any]) -> tuple[Attempt | None, list[Grant]]:
    """What follows the first word (`answered` in lifecycle.lua): what the POST needs or an empty text, and grants."""
    if len(reply) > NEEDS and reply[1]:
        return _attempt(reply[1 : NEEDS + 1]), grants(reply[NEEDS + 1 :])
    return None, grants(reply[2:])


def _attempt(needs: list[Any]) -> Attempt:
    """Read what `needs` of grant.lua returns, in its order."""
    lease_id, attempt, deadline, left, rank, data, requirements, retries, idempotent, agent_id, url, kind, secret, trace = needs
    return Attempt(
        lease_id=text(lease_id),
        attempt=int(attempt),
        deadline=int(deadline) / MICRO,
        seconds_left=int(left) / MICRO,
        priority=PRIORITIES[int(rank)],
        task_data=bytes(data),
        requirements=bytes(requirements) or b"{}",
        retries=int(retries),
        idempotent=text(idempotent) == "1",
        agent_id=text(agent_id),
        url=text(url),
        kind=text(kind),
        sealed_secret=text(secret),
        traceparent=text(trace),
    )
