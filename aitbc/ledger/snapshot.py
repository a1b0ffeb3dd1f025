"""Every key of the ledger as it stands, for the doctor: read in chunks with SCAN, so that Redis is never held up."""

from typing import Any

from aitbc.ledger.client import Ledger
from aitbc.ledger.keys import KEYS
from aitbc.ledger.step import MICRO, text

CHUNK = 500
SKIPPED = ("stream",)


class Snapshot:
    """`data`: key → dict (hash; zset as member → score), set or text; `now`: Redis's clock, µs; `ttls`: keys that have a TTL."""

    def __init__(self, ledger: Ledger, offset: int = 0) -> None:
        """Read everything. `offset`: µs that the scripts add to the clock (tests)."""
        self.data: dict[str, Any] = {}
        self.settings = ledger.settings
        self.ttls: dict[str, int] = {}
        prefixes = tuple(key.prefix for key in KEYS)
        chunk: list[str] = []
        for raw in ledger.redis.scan_iter(count=CHUNK):
            name = text(raw)
            if name.startswith(prefixes):
                chunk.append(name)
            if len(chunk) == CHUNK:
                self._read(ledger, chunk)
                chunk = []
        self._read(ledger, chunk)
        time: Any = ledger.redis.time()
        self.now = time[0] * MICRO + time[1] + offset

    def under(self, prefix: str) -> dict[str, Any]:
        """Keys that begin with the prefix, without it."""
        return {name[len(prefix) :]: value for name, value in self.data.items() if name.startswith(prefix)}

    def at(self, name: str) -> Any:
        """One key's content; an empty dict when it does not exist."""
        return self.data.get(name, {})

    def _read(self, ledger: Ledger, names: list[str]) -> None:
        if not names:
            return
        kinds = _pipelined(ledger, [("TYPE", name) for name in names])
        readable = [(n, text(k)) for n, k in zip(names, kinds, strict=True) if text(k) not in (*SKIPPED, "none")]
        contents = _pipelined(ledger, [_command(name, kind) for name, kind in readable])
        ttls = _pipelined(ledger, [("TTL", name) for name, _ in readable])
        for (name, kind), content, ttl in zip(readable, contents, ttls, strict=True):
            self.data[name] = _content(kind, content)
            if ttl >= 0:
                self.ttls[name] = ttl


def _pipelined(ledger: Ledger, commands: list[tuple[Any, ...]]) -> list[Any]:
    pipe: Any = ledger.redis.pipeline(transaction=False)  # untyped in redis-py
    for command in commands:
        pipe.execute_command(*command)
    replies: list[Any] = pipe.execute()
    return replies


def _command(name: str, kind: str) -> tuple[Any, ...]:
    return {
        "hash": ("HGETALL", name),
        "zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
        "set": ("SMEMBERS", name),
        "string": ("GET", name),
    }[kind]


def _content(kind: str, content: Any) -> Any:
    """As text; redis-py may or may not have paired hashes and scores already."""
    if kind == "hash":
        pairs = content.items() if isinstance(content, dict) else zip(content[::2], content[1::2], strict=True)
        return {text(field): text(value) for field, value in pairs}
    if kind == "zset":
        flat = content if not content or isinstance(content[0], (tuple, list)) else list(zip(content[::2], content[1::2], strict=True))
        return {text(member): float(score) for member, score in flat}
    if kind == "set":
        return {text(member) for member in content}
    return text(content)
