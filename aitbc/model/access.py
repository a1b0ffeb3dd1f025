"""Who may do what: scopes, API keys, and whoever makes a call."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do. Each call needs one of them; `admin` is all of them, over everybody's tasks and agents."""

    SUBMIT = "submit"  # submit, cancel and retry tasks
    READ = "read"  # look at tasks, agents and figures
    AGENT = "agent"  # register agents and keep them
    ADMIN = "admin"


ADMIN_ID = "admin"
"""Id of the key that AITBC_ADMIN_KEY gives; the ids of others are hexadecimal."""
KEY_FORM = re.compile(r"aitbc_([a-z0-9]{1,32})_[A-Za-z0-9_-]{43,128}")
"""A key: a prefix by which it is known wherever it turns up, its id, which is no secret, and 256 random bits or more."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the ledger has it. Times are microseconds by the ledger's clock, 0 = never; `digest`: of its text.

    After a rotation the text before it is good until `old_until`.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    created: int
    expires: int
    digest: str
    old_digest: str = ""
    old_until: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a call: `key_id` is what its tasks and agents belong to, empty for one who was not asked for a key."""

    key_id: str
    scopes: frozenset[Scope]

    @property
    def admin(self) -> bool:
        """It may do everything."""
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        """The scope is among its own."""
        return self.admin or scope in self.scopes


EVERYBODY = Caller("", frozenset({Scope.ADMIN}))
"""Whoever calls while no keys are asked for."""
STRANGER = Caller("-", frozenset())
"""Whoever was not looked at: nothing is theirs (no key has this id)."""


def new_key_id() -> str:
    """An id that no other key has."""
    return secrets.token_hex(6)


def new_key_text(key_id: str) -> str:
    """The text of a key: shown once to whoever makes it, and kept nowhere."""
    return f"aitbc_{key_id}_{secrets.token_urlsafe(32)}"


def key_id_of(text: str) -> str:
    """The id that stands in a key's text; empty when it is none."""
    found = KEY_FORM.fullmatch(text)
    return found[1] if found else ""


def key_digest(text: str) -> str:
    """SHA-256 in hex. A fast hash is enough: there are 256 random bits in it, so nobody guesses a text from its hash."""
    return hashlib.sha256(text.encode()).hexdigest()
