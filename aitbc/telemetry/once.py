"""One line when something goes away and one when it is back, instead of one a request."""

import logging
import threading
import time

log = logging.getLogger(__name__)


class OutageLog:
    """Tells of the outages of one thing (`the ledger`, `the broker`); any thread or greenlet may call it."""

    def __init__(self, name: str) -> None:
        """`name` begins the line: `the ledger is away: ...`."""
        self._name = name
        self._lock = threading.Lock()
        self._since: float | None = None
        self._count = 0

    @property
    def away(self) -> bool:
        """An outage is going on."""
        return self._since is not None

    def down(self, exc: BaseException) -> None:
        """It failed. The first failure of an outage is logged, the others are counted."""
        with self._lock:
            self._count += 1
            first = self._since is None
            if first:
                self._since = time.monotonic()
        if first:
            log.error("%s is away: %s", self._name, exc)

    def up(self) -> None:
        """It works. Logged when that ends an outage; costs one comparison otherwise."""
        if self._since is None:
            return
        with self._lock:
            since, count = self._since, self._count
            self._since, self._count = None, 0
        if since is not None:
            log.warning("%s is back after %.1f s and %d failures", self._name, time.monotonic() - since, count)
