"""The supervisor of `aitbc up`: start services one after the other, start again what dies, end all in order."""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby

from aitbc.cli.children import Child, Service, Tell

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds before a service that died is started again: doubled from the first to the longest, ..."""
STEADY = 10.0
"""... and back to the first once it has run for this long, s."""
LEAST_GRACE = 0.7
"""Seconds that each stage of the end has, however long those before it took."""
_TICK = 0.05


class Supervisor:
    """Keeps services running until it is told to stop."""

    def __init__(
        self, services: Sequence[Service], say: Callable[[str], None], tell: Tell, *, verbose: bool = False, within: float = 10
    ) -> None:
        """Services start in the order given and end in the order of `ends`; `say` gets what happens to them, `tell` their output.

        `within`: seconds for the whole end, whatever the services' own graces add up to.
        """
        self.children = [Child(service, verbose, tell) for service in services]
        self.stopping = threading.Event()
        self.hurry = threading.Event()
        self._say, self._within = say, within

    def stop(self) -> None:
        """End everything in order; the second time, at once. Fit for a signal handler."""
        (self.hurry if self.stopping.is_set() else self.stopping).set()

    def run(self) -> None:
        """Start everything and keep it running until `stop`; nothing runs any more when this returns. From the main thread."""
        try:
            for child in self.children:
                self._start(child)
            while not self.stopping.wait(_TICK):
                self._revive()
        finally:
            self._end()

    def _start(self, child: Child) -> None:
        """Start a service and, while it is not ready, look after the others."""
        if self.stopping.is_set():
            return
        child.start()
        while child.service.ready and not child.service.ready() and not self.stopping.wait(_TICK):
            self._revive()

    def _revive(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.restart_at is not None:
                if now >= child.restart_at:
                    child.start()
            elif (code := child.ended()) is not None:
                child.pause = FIRST_PAUSE if now - child.started > STEADY else min(max(child.pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
                child.restart_at = now + child.pause
                self._say(f"{child.service.name} ended ({_how(code)}); it is started again in {child.pause:.1f} s")

    def _end(self) -> None:
        self.stopping.set()
        deadline = time.monotonic() + self._within
        ordered = sorted(self.children, key=lambda child: child.service.ends)
        stages = [[child for child in stage if child.pid] for _, stage in groupby(ordered, key=lambda child: child.service.ends)]
        for number, stage in enumerate(stages, start=1):
            self._end_stage(stage, deadline - LEAST_GRACE * (len(stages) - number))

    def _end_stage(self, running: list[Child], deadline: float) -> None:
        """End these together, each within its own grace and the deadline; at once when it is to go quickly."""
        begin = time.monotonic()
        for child in running:
            child.terminate()
        while running:
            running = [child for child in running if child.ended() is None]
            now = time.monotonic()
            over = [child for child in running if self.hurry.is_set() or now > min(begin + child.service.grace, deadline)]
            for child in over:
                self._say(f"{child.service.name} is killed" + ("" if self.hurry.is_set() else f": it has not ended in {now - begin:.1f} s"))
                child.kill()
                while child.ended() is None:
                    time.sleep(0.005)
            running = [child for child in running if child not in over]
            if running:
                self.hurry.wait(_TICK)


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit {code}"
