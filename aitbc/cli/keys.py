"""`aitbc keys`: API keys and the audit stream. It works on the ledger, not through the API: whoever may write to Redis may make keys."""

import getpass
import platform
import re
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aitbc.cli.base import Noun, node_settings
from aitbc.cli.output import say, show, show_list
from aitbc.model.access import Scope, key_digest, new_key_id, new_key_text

if TYPE_CHECKING:
    from aitbc.ledger.step import Step
    from aitbc.model.access import ApiKey

T = TypeVar("T")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST = 3650 * 86_400
_MICRO = 1_000_000


class _Duration(click.ParamType[float]):
    """`90d`, `12h`, `30m`, `45s`: seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, from 1 s to 10 years; 0 where nothing is meant."""
        found = re.fullmatch(r"(\d{1,9})([smhd])", str(value))
        seconds = int(found[1]) * _UNITS[found[2]] if found else -1
        if not 0 <= seconds <= _LONGEST:
            self.fail(f"{value!r}: a number and s, m, h or d are needed, such as 90d; at most 3650d", param, ctx)
        return float(seconds)


@click.group(cls=Noun)
def keys() -> None:
    """Make, list, rotate and revoke API keys, and see what was done with them. Needs REDIS_URL, not the API."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([str(scope) for scope in Scope]),
    default=("submit", "read"),
    show_default=True,
    help="What it may do; may be repeated.",
)
@click.option("--expires", type=_Duration(), default="0s", help="After how long it ends, such as 90d; without it, never.")
def create(name: str, scopes: tuple[str, ...], expires: float) -> None:
    """Make a key for NAME and print it, this once."""
    from aitbc.ledger import access
    from aitbc.model.access import ApiKey

    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise click.UsageError("NAME is 1 to 64 printable characters")
    key_id = new_key_id()
    text = new_key_text(key_id)
    now = _run(access.read_key(key_id)).now
    ends = now + int(expires * _MICRO) if expires else 0
    key = ApiKey(key_id, name, frozenset(map(Scope, scopes)), now, ends, key_digest(text))
    _run(access.create_key(key, _me()))
    say(f"key {key_id} for {name}: {', '.join(sorted(scopes))}; it is shown once and kept nowhere")
    show({**_shown(key, now), "api_key": text}, text)


@keys.command("list")
def list_keys() -> None:
    """List the keys; their texts are kept nowhere."""
    from aitbc.ledger import access

    now, found = _run(access.list_keys())
    columns = {"key": "key_id", "name": "name", "scopes": "scopes", "state": "state", "created": "created_at", "expires": "expires_at"}
    show_list({"keys": [_shown(key, now) for key in found], "count": len(found)}, "keys", columns)


@keys.command()
@click.argument("key_id")
@click.option(
    "--overlap", type=_Duration(), default="1h", show_default=True, help="How long the text before it stays good; 0s: not at all."
)
def rotate(key_id: str, overlap: float) -> None:
    """Give a key another text and print it, this once. What belongs to the key stays its own."""
    from aitbc.ledger import access

    key, now = _find(key_id)
    text = new_key_text(key_id)
    _run(access.rotate_key(key, key_digest(text), now, overlap, _me()))
    say(f"key {key_id} has a new text; the one before is good for {overlap:g} s more")
    show({"key_id": key_id, "overlap": overlap, "api_key": text}, text)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End a key: every API process refuses it within 5 s. Its tasks and agents stay, for admins."""
    from aitbc.ledger import access

    _run(access.revoke_key(_find(key_id)[0], _me()))
    show({"key_id": key_id, "state": "revoked"}, f"Key {key_id} is revoked; API processes refuse it within 5 s")


@keys.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Entries of each kind, the newest.")
@click.option("--key", "who", help="Only what this key did, or what was done to it.")
def audit(limit: int, who: str | None) -> None:
    """List who changed what, newest first: calls of keys, and keys made, rotated and revoked."""
    from aitbc.ledger import access

    found = [entry for kind in access.AUDITS for entry in _run(access.read_audit(kind, limit))]
    entries = sorted(found, key=lambda entry: entry.at, reverse=True)
    rows = [asdict(entry) for entry in entries if who in {None, entry.who, entry.target}]
    columns = {"at": "at", "who": "who", "what": "what", "target": "target", "request": "request", "from": "source"}
    show_list({"entries": rows, "count": len(rows)}, "entries", columns)


def _run(step: "Step[T]") -> T:
    from aitbc.ledger.client import Ledger

    with closing(Ledger(node_settings(), connections=2)) as ledger:
        return ledger.run(step)


def _find(key_id: str) -> "tuple[ApiKey, int]":
    """The key and the ledger's clock, µs. Raises NotFound."""
    from aitbc.errors import NotFound
    from aitbc.ledger import access

    found = _run(access.read_key(key_id))
    if found.key is None:
        raise NotFound("API key", key_id)
    return found.key, found.now


def _shown(key: "ApiKey", now: int) -> dict[str, Any]:
    from aitbc.ledger.step import iso

    state = "expired" if key.expires and now >= key.expires else "rotating" if now < key.old_until else "good"
    times = {"created_at": iso(key.created), "expires_at": iso(key.expires) if key.expires else None}
    return {"key_id": key.key_id, "name": key.name, "scopes": sorted(key.scopes), "state": state, **times}


def _me() -> str:
    """Who runs the command, as the audit stream calls them."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id that has no name here
        user = "somebody"
    return f"{user}@{platform.node()}"
