"""Trips to Redis that many threads or greenlets share: whoever calls while none is under way makes one, and takes along all who wait.

A call alone goes at once.  Under load the calls that come in during one trip leave in one write on the next one, so that the price of a
trip (two system calls on either side, and with `appendfsync always` a part of an fsync) is shared; nobody waits for a timer.
"""

import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import hiredis
import redis

log = logging.getLogger(__name__)

LONGEST = 64
"""Calls a trip: what comes later goes with the next one."""


@dataclass(slots=True, eq=False)
class _Call:
    """`turn` is released when there is a `reply`, or when this caller shall make the next trip. `noted`: a second command is in it."""

    packed: bytes
    noted: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)
    reply: Any = None
    leads: bool = False


class Convoy:
    """The shared trips of one client."""

    def __init__(self, client: redis.Redis) -> None:
        """Trips use one connection of the client's pool, which the convoy keeps."""
        self._pool: Any = client.connection_pool  # untyped in redis-py
        self._link: Any = None
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []
        self._under_way = False

    def call(self, *command: Any, note: tuple[Any, ...] = ()) -> Any:
        """The reply to one command. Raises what Redis answered as an error, and the connection's errors.

        `note`: a command behind it in the same write; an error of its own is logged.
        """
        mine = _Call(hiredis.pack_command(command), bool(note))
        if note:
            mine.packed += hiredis.pack_command(note)
        mine.turn.acquire()
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._under_way = not self._under_way, True
        if not mine.leads:
            self._wait(mine)
        if mine.leads:
            self._trip()
        if isinstance(mine.reply, Exception):
            raise mine.reply
        return mine.reply

    def _wait(self, mine: _Call) -> None:
        try:
            mine.turn.acquire()
        except BaseException:  # a greenlet is ended while it waits: nobody may wait for a trip that it will not make
            with self._lock:
                if mine in self._waiting:
                    self._waiting.remove(mine)
            if mine.leads:
                self._hand_over([])
            raise

    def _trip(self) -> None:
        with self._lock:
            calls, self._waiting = self._waiting[:LONGEST], self._waiting[LONGEST:]
        try:
            self._exchange(calls)
        except (redis.RedisError, OSError) as exc:
            for call in calls:
                call.reply = exc
        except BaseException:  # this greenlet or thread is ended from outside: whoever came along must not wait for ever
            for call in calls:
                call.reply = redis.ConnectionError("the trip to Redis was broken off")
            raise
        finally:
            self._hand_over(calls)

    def _hand_over(self, calls: list[_Call]) -> None:
        with self._lock:
            self._under_way = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].turn.release()
        for call in calls:
            if not call.leads:
                call.turn.release()

    def _exchange(self, calls: list[_Call]) -> None:
        if self._link is None:
            self._link = self._pool.get_connection()
        try:
            self._link.connect()  # nothing when it stands; else through Sentinel, which a send would not ask for the master anew
            self._link.send_packed_command([b"".join(call.packed for call in calls)], check_health=False)
            for call in calls:
                try:
                    call.reply = self._link.read_response(disable_decoding=True)
                except redis.ResponseError as exc:
                    call.reply = exc
                if call.noted:
                    self._read_note()
        except BaseException:  # what it still owes would be read as the answer to another call; the next trip connects it anew
            self._link.disconnect()
            raise

    def _read_note(self) -> None:
        try:
            self._link.read_response(disable_decoding=True)
        except redis.ResponseError as exc:
            log.warning("an audit entry was refused: %s", exc)
