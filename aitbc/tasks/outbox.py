"""Deliver the outbox: what is due is taken from the ledger, POSTed to its callback_url, and what came of it is written down.

A receiver that hangs holds up nobody else: to one receiver few calls are made at once, and what is due beyond that goes back until it may
have room.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass

from aitbc.bounded import Bounded
from aitbc.dispatch.callback import Message, Messenger, origin_of
from aitbc.dispatch.request import Origin
from aitbc.errors import AddressRefused, AitbcError, NotFound
from aitbc.ledger import callbacks, tasks
from aitbc.ledger.callbacks import Callback, Told
from aitbc.model.task import Task
from aitbc.settings import Settings
from aitbc.tasks.node import node
from aitbc.telemetry.steps import reached
from aitbc.worker import every, on_start, on_stop, stopping

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
STOP_SECONDS = 2.0
AT_ONCE = 256
"""Calls of a worker process under way; their answers are small, and none waits for another."""
TO_ONE = 16
"""Of these, calls to one receiver; to one whose last call failed, one."""
BUSY_PAUSE, FAILING_PAUSE = (0.5, 1.0), (10.0, 20.0)
"""Seconds after which what was too much for one receiver comes again, at least: one that answers, and one whose last call failed."""
MOST_PAUSE = 600.0
"""And at most, however many wait for it."""
FIRST_GUESS, LEARNS = 0.1, 0.2
"""Seconds of a call to a receiver of which none has ended, and what one more call weighs in the mean."""
MOST_FAILING = 4096
"""Receivers remembered as failing."""
GONE = 410
MOST_WRONG = 500
"""Characters of what was wrong that are kept."""


@dataclass(slots=True)
class _Queue:
    """What waits for one receiver. `seconds`: of a call to it, in the mean; `ends`: when those put off so far will have had their turns."""

    seconds: float = FIRST_GUESS
    ends: float = 0.0

    def pause(self, at_once: int) -> float:
        """Seconds until there is room for one more. Without a turn of its own each of many would come back every moment, in vain."""
        now = time.monotonic()
        self.ends = min(max(self.ends, now) + self.seconds / at_once, now + MOST_PAUSE)
        return self.ends - now

    def heard(self, seconds: float) -> None:
        """One more call has ended."""
        self.seconds += LEARNS * (seconds - self.seconds)


class _Outbox:
    """What this process has under way."""

    def __init__(self) -> None:
        self.messenger: Messenger | None = None
        self.calls: set[asyncio.Task[None]] = set()
        self.to: Counter[Origin | None] = Counter()
        self.queues: dict[Origin | None, _Queue] = {}
        """Of the same receivers."""
        self.failing: Bounded[Origin | None, None] = Bounded(MOST_FAILING)


_here = _Outbox()


@on_start
async def open_outbox() -> None:
    """Before any look."""
    _here.messenger = Messenger(Settings.load())


async def deliver() -> None:
    """Begin whatever is due, as far as there is room."""
    here = node()
    while not stopping() and len(_here.calls) + callbacks.MOST <= AT_ONCE:
        due = await here.ledger.run(callbacks.due())
        await asyncio.gather(*map(_begin, due))
        if len(due) < callbacks.MOST:
            return


async def close_outbox() -> None:
    """Nothing new; what is under way has a moment, then it is cut: another worker takes it again."""
    if _here.calls:
        await asyncio.wait(_here.calls, timeout=STOP_SECONDS)
    for call in _here.calls:
        call.cancel()
    await asyncio.gather(*_here.calls, return_exceptions=True)
    if _here.messenger is not None:
        _here.messenger.close()


async def _begin(callback: Callback) -> None:
    origin = None
    with suppress(AddressRefused):  # the call says so again
        origin = origin_of(callback.url)
    failing = origin in _here.failing
    at_once, least = (1, FAILING_PAUSE) if failing else (TO_ONE, BUSY_PAUSE)
    if _here.to[origin] >= at_once:
        pause = random.uniform(*least) + _here.queues[origin].pause(at_once)  # noqa: S311 - not for secrets
        await node().ledger.run(callbacks.done(callback, Told.LATER, pause=pause))
        return
    _here.to[origin] += 1
    _here.queues.setdefault(origin, _Queue())
    call = asyncio.ensure_future(_call(callback, origin))
    _here.calls.add(call)
    call.add_done_callback(_here.calls.discard)


async def _call(callback: Callback, origin: Origin | None) -> None:
    began = time.monotonic()
    try:
        told, wrong = await _told(callback)
        _here.queues[origin].heard(time.monotonic() - began)
        _remember(origin, failed=told is Told.FAILED)
        reached("callback_url.told")
        word = await node().ledger.run(callbacks.done(callback, told, wrong=wrong))
        if word == "given_up":
            log.warning("task %s: its callback_url was not told of its end, after %d tries: %s", callback.task_id, callback.number, wrong)
    except AitbcError as exc:
        log.warning("task %s: its callback_url is told again in a while: %s", callback.task_id, exc)
    finally:
        _here.to[origin] -= 1
        if not _here.to[origin]:
            del _here.to[origin], _here.queues[origin]


async def _told(callback: Callback) -> tuple[Told, str]:
    """One try: what it came to, and what was wrong."""
    try:
        task = await node().ledger.run(tasks.read(callback.task_id))
        status = await _messenger().tell(callback.url, _message(callback, task), time.time())
    except NotFound:
        return Told.GONE, "the task is not kept any more"
    except Exception as exc:  # noqa: BLE001 - whatever it is, the try has failed and the next one may not
        return Told.FAILED, (str(exc) or type(exc).__name__)[:MOST_WRONG]
    if 200 <= status < 300:
        return Told.DELIVERED, ""
    return Told.GONE if status == GONE else Told.FAILED, f"the receiver answered {status}"


def _message(callback: Callback, task: Task) -> Message:
    return Message(
        callback.message_id, f"task.{task.state}", task.ended_at or "", {k: v for k, v in asdict(task).items() if k != "callback"}
    )


def _remember(origin: Origin | None, *, failed: bool) -> None:
    if failed:
        _here.failing[origin] = None
    else:
        _here.failing.pop(origin, None)


def _messenger() -> Messenger:
    if _here.messenger is None:
        raise RuntimeError("no aitbc worker runs in this process")
    return _here.messenger


every(LOOK_SECONDS, deliver, name="outbox")
on_stop(close_outbox)
