"""Which caller an API key stands for; what the ledger says of a key is kept for CACHE_SECONDS, so that a request costs no trip for it."""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

from aitbc.bounded import Bounded
from aitbc.errors import AitbcError
from aitbc.ledger import access
from aitbc.ledger.access import Found
from aitbc.ledger.step import MICRO, Step
from aitbc.model.access import ADMIN_ID, ApiKey, Caller, Scope, key_digest, key_id_of
from aitbc.settings import Settings

CACHE_SECONDS = 5.0
"""A revoked key is refused by every process after so long at most; an expired one at once."""
MAX_CACHED = 10_000
"""Keys that a process remembers."""

Run = Callable[[Step[Found]], Found]


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until: float  # time.monotonic()


class Keyring:
    """The keys as one process knows them. Threads and greenlets may share it."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is asked yet."""
        self._off = settings.auth == "off"
        self.asks = settings.asks_for_keys  # and once it does, it does for good
        self._admin = key_digest(settings.admin_key) if settings.admin_key else ""
        self._looked = self._off
        self._look_at = float("inf") if self._off else 0.0
        self._known: Bounded[str, _Known] = Bounded(MAX_CACHED)

    def required(self, run: Run) -> bool:
        """Whether calls need a key. On loopback that is as soon as one was made: noticed within CACHE_SECONDS.

        Raises LedgerAway while that has never been known.
        """
        if not self.asks and (not self._looked or time.monotonic() >= self._look_at):
            self._look_at = time.monotonic() + CACHE_SECONDS  # others go on meanwhile with what is known; before the first look nothing is
            try:
                self.asks = run(access.read_key("")).keyed
                self._looked = True
            except AitbcError:
                if not self._looked:
                    raise
        return self.asks

    def caller(self, sent: str, run: Run) -> Caller | None:
        """Whose key this is; None for one that is wrong, unknown, revoked or expired. Raises LedgerAway.

        What is refused is never remembered: whether its id is known or not, the ledger is asked and the same is done with the answer, so
        the time to refuse tells nothing.
        """
        digest = key_digest(sent)
        known = self._known.get(digest)
        if known and time.monotonic() < known.until:
            return known.caller
        if self._admin and hmac.compare_digest(digest, self._admin):
            return Caller(ADMIN_ID, frozenset({Scope.ADMIN}))
        asked = time.monotonic()  # what is known is as old as the question
        found = run(access.read_key(key_id_of(sent)))
        until = access.matches(found.key, digest, found.now)
        if until < 0 or found.key is None:
            self._known.pop(digest, None)
            return None
        return self._remember(digest, found.key, asked + min((until - found.now) / MICRO if until else CACHE_SECONDS, CACHE_SECONDS))

    def _remember(self, digest: str, key: ApiKey, until: float) -> Caller:
        caller = Caller(key.key_id, key.scopes)
        self._known[digest] = _Known(caller, until)
        return caller
