"""The Lua of the steps: one verb a file in lua/, put behind generated constants, the prelude and the parts that its first line names.

`-- needs: order, agent` in a verb's first line brings those parts, in that order; a step pays only for what it needs.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from aitbc.ledger.keys import lua_constants
from aitbc.ledger.step import micros
from aitbc.ledger.strategy import DEFAULT, STRATEGIES
from aitbc.settings import Settings

PARTS = ("prelude", "order", "agent", "rescore", "signature", "grant", "lifecycle", "feedback")
"""Files of lua/ that are no steps."""

RECORD_BYTES = 3000
"""What an ended task takes in Redis besides its data and result, about."""

FIXED = {
    "GRANTS": 64,  # grants a script
    "BUILD_PAGE": 1000,  # agents a step of filling a signature or a switch of strategy
    "WORKER_TTL": micros(10),
    "RENEWAL": micros(60),  # a 202 lease lives this long from each renewal
    "SLACK": micros(30),  # past its deadline a lease is ended; a cancelled call's slot is free after it
    "PROBE": micros(300),  # an agent that answered 401 or 403 is tried again after it
    "DRIFT_TIME": micros(600),  # health drifts back to 1 with this time constant
    "SIGNATURE_IDLE": micros(600),
    "MAX_CRASHES": 5,
    "RECORD_BYTES": RECORD_BYTES,
}


@dataclass(frozen=True, slots=True)
class Script:
    """One step's whole text and the SHA-1 under which Redis knows it."""

    name: str
    text: str
    sha: str


def names() -> tuple[str, ...]:
    """Every step's name."""
    files = (entry.name.removesuffix(".lua") for entry in resources.files("aitbc.ledger").joinpath("lua").iterdir())
    return tuple(sorted(name for name in files if name not in PARTS))


def load(settings: Settings, offset: str = "0") -> dict[str, Script]:
    """Every step's script, for these bounds. `offset`: a Lua expression (µs) added to Redis's clock; tests travel in time with it."""
    head = constants(settings, offset)
    return {name: _script(name, head) for name in names()}


def constants(settings: Settings, offset: str = "0") -> str:
    """Key names, bounds and the strategies' loads as Lua locals."""
    bounds = {
        **FIXED,
        "MAX_LIVE": settings.max_live_tasks,
        "MAX_AGENTS": settings.max_agents,
        "MAX_SIGS": settings.max_signatures,
        "MAX_DISPATCHES": settings.max_dispatches,
        "MAX_AGE": micros(settings.max_task_age),
        "KEEP_TASKS": micros(settings.keep_tasks),
        "KEEP_DEAD": settings.keep_dead,
        "KEEP_BYTES": settings.keep_bytes,
        "KEEP_EVENTS": settings.keep_events,
        "KEEP_INACTIVE": micros(settings.keep_inactive_agents),
        "AGEING": micros(settings.ageing),
    }
    loads = ", ".join(f"{name} = function(A) return {strategy.load} end" for name, strategy in STRATEGIES.items())
    lines = [f"local {name} = {value}" for name, value in bounds.items()]
    lines += [f"local OFFSET = {offset}", f"local DEFAULT_STRATEGY = '{DEFAULT}'", f"local LOADS = {{{loads}}}"]
    return lua_constants() + "\n".join(lines) + "\n"


def _script(name: str, head: str) -> Script:
    verb = _read(name)
    needed = re.match(r"-- needs: (.*)\n", verb)
    parts = ["prelude", *(needed[1].split(", ") if needed else [])]
    text = "\n".join([head, *(_read(part) for part in parts), verb])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def _read(name: str) -> str:
    return resources.files("aitbc.ledger").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
