"""Asyncio runs where Celery's hub sleeps.

Celery's consumer turns kombu's hub: callbacks that are due, timers, then `hub.poller.poll(timeout)`, which sleeps in epoll.
`Poller` stands in that object's place and sleeps by running an asyncio loop. So Celery and all coroutines share one thread and
nothing needs a lock. `Loop` also runs where Celery would block that thread: `beside` has a blocking call done in a thread of
its own and runs coroutines until it is done.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")

# Finished jobs wait this long for company before the hub sends their acknowledgements and events (seconds) ...
GATHER = 0.005
# ... or until there are so many callbacks: by time alone a small pool would stand still with its places full.
ENOUGH = 64
# The longest sleep of one hub turn when no timer is due (seconds). Celery looks at its shutdown flags once a turn.
LONGEST_TURN = 1.0


class Loop:
    """An asyncio loop that runs in turns, all of them in the thread that made it."""

    def __init__(self) -> None:
        """Make the loop and announce it as the thread's own."""
        import uvloop  # here: processes that only publish import this room too

        self.asyncio = uvloop.new_event_loop()
        asyncio.set_event_loop(self.asyncio)
        self._waiting = 0
        self.polled = float("-inf")  # monotonic seconds of the last turn of a hub

    def run(self, seconds: float) -> None:
        """Run coroutines for at most `seconds`, or until the hub has something to do."""
        timer = self.asyncio.call_later(max(seconds, 0.0), self.asyncio.stop)
        try:
            self.asyncio.run_forever()
        finally:
            timer.cancel()
            self._waiting = 0

    def hub_has_work(self) -> None:
        """End the turn soon: something waits for the hub (an acknowledgement, an event)."""
        self._waiting += 1
        if self._waiting == ENOUGH:
            self.asyncio.stop()
        elif self._waiting == 1:
            self.asyncio.call_later(GATHER, self.asyncio.stop)

    def attach(self, hub: Any) -> None:
        """Make sleeping in `hub` run this loop. Called at each (re)connect: after a lost connection the hub has a new poller."""
        if isinstance(hub.poller, Poller):
            return
        hub.poller = poller = Poller(hub.poller, self)
        # A hub without sockets does not poll, it calls time.sleep: it gets one socket that is never readable.
        hub.add_reader(poller.never, lambda: None)

    def beside(self, blocking: Callable[[], T], check: Callable[[], object] = lambda: None) -> T:
        """Do `blocking()` in a thread, running coroutines meanwhile; its result or its exception is the call's.

        `check` is called about once a second and may raise to give up waiting; the thread is then left to itself.
        Inside a coroutine nothing can wait, so there the call simply blocks.
        """
        if self.asyncio.is_running():
            return blocking()
        return self._wait(in_thread(self.asyncio, blocking), check)

    def complete(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run until `coroutine` has ended. The loop's own run_until_complete fails when something else ends a turn."""
        return self._wait(self.asyncio.create_task(coroutine), lambda: None)

    def _wait(self, future: "asyncio.Future[T]", check: Callable[[], object]) -> T:
        future.add_done_callback(lambda _: self.asyncio.stop())
        try:
            while not future.done():
                check()
                self.run(LONGEST_TURN)
        finally:
            future.cancel()  # nobody waits any more; has no effect on one that is done
        return future.result()

    def close(self) -> None:
        """End asynchronous generators and close the loop."""
        self.complete(self.asyncio.shutdown_asyncgens())
        self.asyncio.close()


class Poller:
    """Stands where the hub's epoll object stands."""

    def __init__(self, poller: Any, loop: Loop) -> None:
        """`poller` is kombu's epoll wrapper, which goes on holding the hub's sockets."""
        self._poller = poller
        self._loop = loop
        self.register = poller.register
        self.unregister = poller.unregister
        self.never = os.eventfd(0)
        self._most = float("inf")  # seconds of the next sleep
        # An epoll descriptor is itself readable when one of its sockets is.
        self._fd = poller._epoll.fileno()  # noqa: SLF001  kombu keeps it private; the contract test watches it
        loop.asyncio.add_reader(self._fd, loop.asyncio.stop)

    def poll(self, timeout: float | None) -> Any:
        """Run coroutines for at most `timeout` seconds or until a socket of the hub is ready; return what is."""
        self._loop.polled = monotonic()
        self._loop.run(min(LONGEST_TURN if timeout is None else timeout, self._most))
        self._most = float("inf")
        return self._poller.poll(0)

    def turn_within(self, seconds: float) -> None:
        """Let the next sleep be no longer. A timer of the hub, set by what it calls just before a sleep, would count from the one after."""
        self._most = min(self._most, seconds)

    def close(self) -> None:
        """Called by the hub when it is reset or closed; the loop may have been closed before it."""
        if not self._loop.asyncio.is_closed():
            self._loop.asyncio.remove_reader(self._fd)
        self._poller.close()
        os.close(self.never)


def in_thread(loop: asyncio.AbstractEventLoop, blocking: Callable[[], T]) -> "asyncio.Future[T]":
    """Do `blocking()` in a thread of its own; the future belongs to `loop`.

    The thread is a daemon: one that hangs (a plain task that never returns, a host that does not answer) does not keep the
    process from exiting, as a ThreadPoolExecutor would.
    """
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            set_outcome(outcome)

    def work() -> None:
        set_outcome: Callable[[Any], None]
        try:
            outcome: Any = blocking()
            set_outcome = future.set_result
        except BaseException as error:  # noqa: BLE001  it belongs to whoever waits, SystemExit of Celery's shutdown too
            outcome = error
            set_outcome = future.set_exception
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(settle, set_outcome, outcome)

    threading.Thread(target=work, daemon=True).start()
    return future
