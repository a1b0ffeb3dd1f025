"""The worker's client: one connection, every call made in one turn of the loop leaves in one write, one reader resolves them in order.

Calls of one wide step leave as one script: its price, and that of a reply, is then shared (docs/decisions/0016).

A call whose reply was lost (the connection broke) is sent again after the reconnect, until it is answered: right only because every step is
safe to repeat.  So a step's outcome is never unknown to whoever waits for it, however long Redis is away.
"""

import asyncio
import contextlib
import enum
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar

import hiredis
import redis
import redis.asyncio

from aitbc.errors import Full, LedgerAway
from aitbc.ledger import connection, scripts
from aitbc.ledger.keys import CANCEL_CHANNEL
from aitbc.ledger.replicas import Fence
from aitbc.ledger.step import Step, each_reply, text
from aitbc.settings import Settings

T = TypeVar("T")
MAX_UNANSWERED = 20_000
"""Calls that may wait; beyond, a call fails at once with LedgerAway instead of using memory without end."""
WIDEST = 64
"""Calls in one script: what many share costs less, but it holds up all others for as long as they take (about 3 ms)."""
BACKOFF = (0.05, 1.0)
"""Seconds between attempts to connect: first and most."""
BROKEN = (*connection.AWAY, redis.RedisError, RuntimeError)
"""What a broken connection raises; RuntimeError is uvloop's, for a write to one that was closed in the same turn of the loop."""
PASSING_PAUSE = 0.2
PING_SECONDS = 2.0
"""A channel that was silent for this long is pinged; if it stays silent, it is subscribed to anew."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Call:
    command: tuple[str, str]  # EVALSHA and the hash, or EVAL and the text
    args: tuple[Any, ...]
    reply: "asyncio.Future[Any]"
    wide: bool
    fenced: bool  # its reply counts only when the WAIT behind it is answered
    value: Any = None  # the reply of a fenced one until then


class _Mark(enum.Enum):
    """Replies that nobody asked for: those of the fence."""

    IGNORED = enum.auto()
    COPIES = enum.auto()


class Pipeline:
    """Runs steps on the running loop. `start` once, `close` once."""

    def __init__(self, settings: Settings, *, offset: str = "0") -> None:
        """`offset`: see scripts.load (tests)."""
        self._scripts = scripts.load(settings, offset)
        self._client: Any = connection.asynchronous(settings.redis_url)  # redis-py leaves its pool untyped
        self._unsent: deque[_Call] = deque()
        self._sent: deque[list[_Call] | _Mark] = deque()  # the calls of each script
        self._held: list[_Call] = []  # answered, waiting for replicas
        self._fence = Fence(settings.ledger_replicas)
        self.unanswered = 0
        """Calls without a reply so far."""
        self._away = False  # said in the log
        self._work = asyncio.Event()  # something is unsent
        self._owed = asyncio.Event()  # something is sent and unanswered
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect in the background, and again whenever the connection breaks."""
        self._task = asyncio.get_running_loop().create_task(self._serve(), name="ledger pipeline")

    async def close(self) -> None:
        """Stop; calls that are still unanswered fail with LedgerAway."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for call in (*self._owed_calls(), *self._unsent):
            if not call.reply.done():
                call.reply.set_exception(LedgerAway("the worker stopped before the ledger answered"))
        await connection.close(self._client)

    async def run(self, step: Step[T]) -> T:
        """Run a step, for as long as it takes. Raises Full (Redis out of memory), LedgerAway (too many calls wait, or closed)."""
        script = self._scripts[step.script]
        command = "EVALSHA", script.sha
        while True:
            try:
                return step.parse(await self._call(command, step))
            except redis.exceptions.NoScriptError:
                command = "EVAL", script.text
            except redis.RedisError as exc:
                if connection.is_full(exc):
                    raise Full("the ledger's Redis is out of memory", retry_after=30) from exc
                if not connection.is_passing(exc):
                    raise
                await asyncio.sleep(PASSING_PAUSE)

    async def cancels(self, worker: str) -> AsyncIterator[str]:
        """Lease ids whose call this worker should close, as they come; listens again by itself after an outage."""
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(CANCEL_CHANNEL + worker)
                    async for lease_id in _heard(channel):
                        yield lease_id
            except BROKEN:
                await asyncio.sleep(BACKOFF[1])

    async def _call(self, command: tuple[str, str], step: Step[Any]) -> Any:
        if self.unanswered >= MAX_UNANSWERED:
            raise LedgerAway("too many calls wait for the ledger (Redis)")
        reply = asyncio.get_running_loop().create_future()
        self._unsent.append(_Call(command, step.args, reply, step.wide, self._fence.holds(step.script)))
        self._work.set()
        self.unanswered += 1
        try:
            return await reply
        finally:
            self.unanswered -= 1

    async def _serve(self) -> None:
        pause = BACKOFF[0]
        while True:
            link: Any = None
            try:
                link = await self._client.connection_pool.get_connection()
                pause = BACKOFF[0]
                await self._exchange(link)
            except Exception as exc:  # a pipeline that ends would hold every call for ever
                if not self._away:
                    strange = exc if not isinstance(exc, BROKEN) else None
                    log.warning("the ledger (Redis) does not answer (%s): calls wait until it does", exc, exc_info=strange)
                self._away = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF[1])
            finally:
                if link is not None:
                    await self._drop(link)

    async def _drop(self, link: Any) -> None:
        """Whatever is unanswered goes first when the next connection stands."""
        with contextlib.suppress(*BROKEN):
            await link.disconnect(nowait=True)
        await self._client.connection_pool.release(link)
        self._unsent.extendleft(reversed([call for call in self._owed_calls() if not call.reply.done()]))
        self._sent.clear()
        self._held.clear()
        self._owed.clear()
        if self._unsent:
            self._work.set()

    def _owed_calls(self) -> list[_Call]:
        """Sent and not answered, or answered by a Redis whose replicas may not have it: a failover can have undone that."""
        return [*self._held, *(call for calls in self._sent if isinstance(calls, list) for call in calls)]

    async def _exchange(self, link: Any) -> None:
        """Send and receive until the connection breaks."""
        halves = [asyncio.ensure_future(self._send(link)), asyncio.ensure_future(self._receive(link))]
        try:
            done, _ = await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            for half in done:
                half.result()
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)

    async def _send(self, link: Any) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            batch = [call for call in self._unsent if not call.reply.done()]
            self._unsent.clear()
            loads = _loads(batch)
            self._sent.extend(loads)
            packed = [_packed(calls) for calls in loads]
            if any(call.fenced for call in batch):
                packed += [hiredis.pack_command(command) for command in self._fence.commands()]
                self._sent.extend((_Mark.IGNORED, _Mark.COPIES))
            self._owed.set()
            await link.send_packed_command(packed, check_health=False)

    async def _receive(self, link: Any) -> None:
        while True:
            if not self._sent:
                self._owed.clear()
                await self._owed.wait()
                continue
            try:
                reply = await link.read_response(disable_decoding=True)
            except redis.ResponseError as exc:
                reply = exc
            if self._away:
                self._away = False
                log.warning("the ledger (Redis) answers again")
            calls = self._sent.popleft()
            replies = _each(calls, reply)
            self._take(calls, replies)
            if any(isinstance(one, Exception) and connection.is_demoted(one) for one in replies):
                raise redis.ConnectionError("this Redis has become a replica")

    def _take(self, calls: list[_Call] | _Mark, replies: list[Any]) -> None:
        if calls is _Mark.COPIES:
            self._fence.enough(replies[0])  # too few: go on, counted
            for held in self._held:
                self._answer(held.reply, held.value)
            self._held.clear()
        elif isinstance(calls, list):
            for call, own in zip(calls, replies, strict=True):
                self._take_own(call, own)

    def _take_own(self, call: _Call, reply: Any) -> None:
        if call.fenced and not isinstance(reply, Exception):
            call.value = reply
            self._held.append(call)
        else:
            self._answer(call.reply, reply)

    @staticmethod
    def _answer(waiting: "asyncio.Future[Any]", reply: Any) -> None:
        if waiting.done():
            return
        if isinstance(reply, Exception):
            waiting.set_exception(reply)
        else:
            waiting.set_result(reply)


def _each(calls: list[_Call] | _Mark, reply: Any) -> list[Any]:
    """The reply to each of a script's calls."""
    if isinstance(calls, list) and calls[0].wide and isinstance(reply, list):
        return list(each_reply(reply))
    return [reply] * (len(calls) if isinstance(calls, list) else 1)


def _loads(calls: list[_Call]) -> list[list[_Call]]:
    """Calls by the script that they leave in, in the order of the first of each."""
    loads: list[list[_Call]] = []
    fillable: dict[tuple[str, str], list[_Call]] = {}
    for call in calls:
        load = fillable.get(call.command)
        if load and len(load) < WIDEST:
            load.append(call)
        else:
            loads.append([call])
            if call.wide:
                fillable[call.command] = loads[-1]
    return loads


def _packed(load: list[_Call]) -> bytes:
    packed: bytes = hiredis.pack_command((*load[0].command, 0, *(arg for call in load for arg in call.args)))
    return packed


async def _heard(channel: Any) -> AsyncIterator[str]:
    """What is published there. Raises redis.TimeoutError when not even a ping is answered: the connection is half open."""
    pinged = False
    while True:
        message = await channel.get_message(timeout=PING_SECONDS)
        if message is not None and message["type"] == "message":
            yield text(message["data"])
        elif message is None and pinged:
            raise redis.TimeoutError("the channel of cancels is silent")
        elif message is None:
            await channel.ping()
        pinged = message is None
