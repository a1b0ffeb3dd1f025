"""The Lua of the steps: one verb a file in lua/, put behind the prelude and the parts that its first line names.

`-- needs: order, agent` in a verb's first line brings those parts, in that order.  Redis makes every function of a script anew at each
call, and a function pays for each local that it captures: so a script holds only the functions that its verb can reach, constants (words
in capitals: keys, bounds) stand in it as values, and each part is nested in the one before it, `return (function() … end)()`, where what
was captured once is handed on.  Nothing else is changed.  Why: docs/decisions/0014-scripts-are-put-together.md.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from aitbc.ledger.keys import lua_names
from aitbc.ledger.step import micros
from aitbc.ledger.strategy import DEFAULT, STRATEGIES
from aitbc.settings import Settings
from aitbc.telemetry.histogram import BOUNDS

PARTS = ("prelude", "order", "agent", "rescore", "signature", "grant", "lifecycle", "feedback")
"""Files of lua/ that are no steps."""

USUAL_ATTEMPTS = 3
"""`max_attempts` of a task whose record does not say."""
USUAL_RUN = micros(300)
"""`run_timeout` of a task whose record does not say."""
RECORD_BYTES = 2000
"""What an ended task takes in Redis besides its data and result, about (`python -m bench.ledger` measures it)."""

MAX_API_KEYS = 1000
"""API keys: all are read to list them."""

FIXED: dict[str, int] = {
    "S": micros(1),  # scripts count in microseconds
    "GRANTS": 64,  # grants a script
    "BUILD_PAGE": 1000,  # agents a step of filling a signature or a switch of strategy
    "WORKER_TTL": micros(10),
    "RENEWAL": micros(60),  # a 202 lease lives this long from each renewal
    "SLACK": micros(30),  # past its deadline a lease is ended; a cancelled call's slot is free after it
    "PROBE": micros(300),  # an agent that answered 401 or 403 is tried again after it
    "DRIFT_TIME": micros(600),  # health drifts back to 1 with this time constant
    "TURN": 1 << 16,  # what a turn of an agent of weight 1 takes in weighted_round_robin
    "FORGET": micros(60),  # without an answer for so long, an agent's mean response time halves
    "PROBES": 7,  # points of a key on consistent_hash's ring
    "HASHED": 1 << 16,  # bytes of task_data that are its key there: a hash of a MiB would hold Redis for 3 ms
    "SIGNATURE_IDLE": micros(600),
    "MAX_CRASHES": 5,
    "PAGE_BYTES": 4 << 20,  # of a page of tasks or agents
    "PROGRESS_BYTES": 1024,  # of a progress in the event stream; a larger one is told of without
    "CALLBACK_TRIES": 8,
    "CALLBACK_LEASE": micros(30),  # longer than one delivery may take, its wait for its turn included
    "CALLBACK_PAUSE": micros(7200),  # the longest between two tries
    "PATIENCE": micros(0.9),  # a sweep later a job that has not been looked at counts as lost, unless others were
    "USUAL_ATTEMPTS": USUAL_ATTEMPTS,
    "USUAL_RUN": USUAL_RUN,  # run_timeout; both are what a task's record leaves out, so they must never change
    "RANK": 1 << 50,  # `heads` puts ranks this far apart: stamps stay between until 2056, 5 ranks below 2^53
    "ERA": 1_600_000_000 * 1_000_000,  # µs: stamps count from here in `heads`
    "RECORD_BYTES": RECORD_BYTES,
    "MAX_API_KEYS": MAX_API_KEYS,
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


def load(settings: Settings, offset: str = "0", fixed: Mapping[str, int] = FIXED) -> dict[str, Script]:
    """Every step's script, for these bounds.

    `offset`: a Lua expression (µs) added to Redis's clock, by which tests travel in time; `fixed`: other values than FIXED (tests too).
    """
    words = _words(settings, offset, fixed)
    return {name: _script(name, words) for name in names()}


def _words(settings: Settings, offset: str, fixed: Mapping[str, int]) -> dict[str, str]:
    """What stands in the Lua for each word in capitals: key names and bounds."""
    bounds = {
        **fixed,
        "MAX_LIVE": settings.max_live_tasks,
        "MAX_AGENTS": settings.max_agents,
        "MAX_SIGS": settings.max_signatures,
        "SIGS_SHARE": max(1, settings.max_signatures // 2),
        "MAX_DISPATCHES": settings.max_dispatches,
        "MAX_AGE": micros(settings.max_task_age),
        "KEEP_TASKS": micros(settings.keep_tasks),
        "KEEP_DEAD": settings.keep_dead,
        "KEEP_BYTES": settings.keep_bytes,
        "KEEP_EVENTS": settings.keep_events,
        "KEEP_AUDIT": settings.keep_audit,
        "KEEP_INACTIVE": micros(settings.keep_inactive_agents),
        "AGEING": micros(settings.ageing),
    }
    histogram = "{" + ",".join(str(micros(bound)) for bound in BOUNDS) + "}"
    return {
        **lua_names(),
        "BOUNDS": histogram,
        **{name: str(value) for name, value in bounds.items()},
        "OFFSET": offset,
        "DEFAULT_STRATEGY": f"'{DEFAULT}'",
    }


def _scores() -> str:
    """The strategies' scores as one Lua function."""
    scores = {name: strategy.score or f"({strategy.load}) * 2 ^ 39 + (A._seq or 0)" for name, strategy in STRATEGIES.items()}
    cases = "".join(f"  if strategy == '{name}' then return {score} end\n" for name, score in scores.items())
    return f"local function score_of(strategy, a, A)\n{cases}end\n"


def _script(name: str, words: Mapping[str, str]) -> Script:
    verb = _read(name)
    needed = re.match(r"-- needs: (.*)\n", verb)
    parts = [_read("prelude") + _scores(), *(_read(part) for part in (needed[1].split(", ") if needed else []))]
    reached = _reached(verb, parts)
    nested = "return (function()\n".join([*("".join(_kept(part, reached)) for part in parts), verb])
    text = _with_values(nested + "end)()\n" * len(parts), words)
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _units(part: str) -> list[tuple[str, str]]:
    """A part's functions by name, and what stands between them under no name."""
    units = re.split(r"^(?=local |--)", part, flags=re.MULTILINE)
    named = ((re.match(r"local function (\w+)", unit), unit) for unit in units)
    return [(found[1] if found else "", unit) for found, unit in named]


def _kept(part: str, reached: set[str]) -> list[str]:
    return [unit for name, unit in _units(part) if not name or name in reached]


def _reached(verb: str, parts: list[str]) -> set[str]:
    """The parts' functions that the verb can come to call."""
    functions = {name: unit for part in parts for name, unit in _units(part) if name}
    reached: set[str] = set()
    new = {verb}
    while new:
        called = {word for text in new for word in re.findall(r"\w+", re.sub(_QUIET, "", text)) if word in functions}
        new = {functions[name] for name in called - reached}
        reached |= called
    return reached


_QUIET = r"--.*|'[^'\n]*'"
"""Comments and texts: no names stand in them."""


def _with_values(text: str, words: Mapping[str, str]) -> str:
    return re.sub(rf"{_QUIET}|\b[A-Z][A-Z_]*\b", lambda found: words.get(found[0], found[0]), text)


@cache
def _read(name: str) -> str:
    return resources.files("aitbc.ledger").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
