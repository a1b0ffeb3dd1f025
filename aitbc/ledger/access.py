"""Steps of API keys, of owners and of the audit stream."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from aitbc.errors import Conflict, Full, NotFound
from aitbc.ledger.keys import BY_NAME
from aitbc.ledger.step import Arg, Step, iso, micros, text, texts
from aitbc.model.access import ApiKey, Scope, key_digest

Note = tuple[Arg, ...]
"""A command that goes to Redis behind a step, in the same trip: an entry of the audit stream."""
AUDITS = ("submits", "calls", "admin-submits", "admin-calls", "keys")
"""Kinds of the audit stream, each a stream of its own so that none drives out another: submits and other calls of keys, the same of
admins, and keys made, rotated and revoked."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the ledger says of a key: None when there is no such; `now`: its clock, µs; `keyed`: keys have been made, ever."""

    key: ApiKey | None
    now: int
    keyed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the audit stream. `who`: a key's id, or who ran the command; `request`: the request's id; `source`: its address."""

    at: str
    who: str
    what: str
    target: str
    request: str
    source: str


@dataclass(frozen=True, slots=True)
class Standing:
    """`left`: requests that a caller may still make, below 0 when it is beyond its quota; `resets_in`: seconds."""

    left: int
    resets_in: float


def read_key(key_id: str) -> Step[Found]:
    """A key by its id."""

    def parse(reply: list[Any]) -> Found:
        record = text(reply[0])
        key = _key(key_id, record or NO_RECORD)  # no key takes as long to read as one
        return Found(key if record else None, int(reply[1]), bool(reply[2]))

    return Step("read_api_key", (key_id,), parse)


def list_keys() -> Step[tuple[int, list[ApiKey]]]:
    """The ledger's clock, µs, and all keys, oldest first."""

    def parse(reply: list[Any]) -> tuple[int, list[ApiKey]]:
        now, *flat = texts(reply)
        found = [_key(key_id, record) for key_id, record in zip(flat[::2], flat[1::2], strict=True)]
        return int(now), sorted(found, key=lambda key: (key.created, key.key_id))

    return Step("list_api_keys", (), parse)


def create_key(key: ApiKey, who: str) -> Step[None]:
    """A new key. Raises Full when there are too many."""
    return _set(key.key_id, "", _record(key), "create", who)


def rotate_key(key: ApiKey, digest: str, now: int, overlap: float, who: str) -> Step[None]:
    """Another text for `key`, as it was read at `now`; the one before stays good for `overlap` seconds.

    Raises Conflict when it has changed meanwhile.
    """
    until = now + micros(overlap) if overlap else 0
    changed = replace(key, digest=digest, old_digest=key.digest if until else "", old_until=until)
    return _set(key.key_id, _record(key), _record(changed), "rotate", who)


def revoke_key(key: ApiKey, who: str) -> Step[None]:
    """Forget a key, as it was read. What belongs to it stays, for admins. Raises Conflict when it has changed meanwhile."""
    return _set(key.key_id, _record(key), "", "revoke", who)


def owner_of(kind: str, name: str) -> Step[str]:
    """The key that an agent or a task (`kind`) belongs to, empty when to none. Raises NotFound."""

    def parse(reply: Any) -> str:
        if reply is None:
            raise NotFound(kind.capitalize(), name)
        return text(reply)

    return Step("owner", (kind, name), parse)


def count_request(who: str, quota: int, window: float) -> Step[Standing]:
    """One more request of this caller in its window of so many seconds."""
    return Step("count_request", (who, quota, round(window * 1000)), lambda reply: Standing(int(reply[0]), max(0, int(reply[1])) / 1000))


def note(kind: str, who: str, what: str, target: str, request: str, source: str, keep: int) -> Note:
    """An entry for the audit stream of this kind (one of AUDITS), which keeps about `keep`."""
    fields = ("who", who, "what", what, "target", target, "request", request, "from", source)
    return ("XADD", BY_NAME["AUDIT"] + kind, "MAXLEN", "~", keep, "*", *fields)


def read_audit(kind: str, most: int) -> Step[list[Entry]]:
    """Newest first. `kind`: one of AUDITS."""
    return Step("read_audit", (kind, most), lambda reply: [_entry(entry) for entry in reply])


def matches(key: ApiKey | None, digest: str, now: int) -> int:
    """Until when (µs, 0 = for good) a text of this digest is the key's; -1 when it is not. The same work for no key as for a wrong text."""
    known = key or NOBODY
    new = hmac.compare_digest(known.digest, digest)
    old = hmac.compare_digest(known.old_digest or NOBODY.digest, digest) and now < known.old_until
    alive = not known.expires or now < known.expires
    if not alive or not (new or old):
        return -1
    ends = [end for end in (known.expires, 0 if new else known.old_until) if end]
    return min(ends, default=0)


def _set(key_id: str, was: str, record: str, what: str, who: str) -> Step[None]:
    def parse(reply: Any) -> None:
        if reply == -1:
            raise Full("there are too many API keys: revoke those that nobody uses", retry_after=60)
        if reply == 0:
            raise Conflict(f"API key {key_id} has just been changed by somebody else: look, and try again")

    return Step("set_api_key", (key_id, was, record, what, who), parse)


def _record(key: ApiKey) -> str:
    fields: Mapping[str, Any] = {**asdict(key), "scopes": sorted(key.scopes)}
    return json.dumps({name: value for name, value in fields.items() if value and name != "key_id"}, separators=(",", ":"), sort_keys=True)


def _key(key_id: str, record: str) -> ApiKey:
    fields = {"name": "", "created": 0, "expires": 0, "digest": "", **json.loads(record)}
    return ApiKey(key_id, **{**fields, "scopes": frozenset(map(Scope, fields["scopes"]))})


def _entry(entry: list[Any]) -> Entry:
    number, flat = text(entry[0]), texts(entry[1])
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    at = iso(int(number.partition("-")[0]) * 1000)
    return Entry(at, fields["who"], fields["what"], fields["target"], fields["request"], fields["from"])


NOBODY = ApiKey("", "", frozenset(), 0, 0, key_digest("nobody has this key"))
"""Compared with when there is no such key."""
NO_RECORD = _record(replace(NOBODY, name="nobody", scopes=frozenset({Scope.READ}), created=1))
