"""Every Redis key, once: its name in Lua, its prefix, its type and what it holds. docs/keys.md is generated from this table.

A trailing colon means that an id follows.  Priorities stand in keys as ranks, 0 (urgent) to 4 (low); times are microseconds since 1970.
"""

from typing import NamedTuple


class Key(NamedTuple):
    """`lua`: the word that stands for `prefix` in lua/."""

    lua: str
    prefix: str
    type: str
    holds: str


KEYS: tuple[Key, ...] = (
    Key("AGENT", "agent:", "hash", "{agent}: the fields of the agent object; lists and dicts as JSON; bookkeeping begins with `_`"),
    Key("ACTIVE", "agents:active", "set", "agents that may get work: active, breaker not open, heartbeat in time"),
    Key("AGENTS", "agents:all", "zset", "every agent, score 0: read in order of ids"),
    Key("WITH", "agents:with:", "set", "{term}: agents that have it (`any`, `type:x`, `cap:x`, `svc:x`, `tag:x`, `own:x`, `status:x`)"),
    Key("TERMS", "agents:terms:", "set", "svc, cap: the terms that some agent has (counted by /registry/stats)"),
    Key("SIGS_OF", "agents:sigs:", "set", "{agent}: live signatures it satisfies"),
    Key("SCORE", "agents:score:", "zset", "{epoch}:{signature}: agents with a free slot and a callable endpoint, by score, best lowest"),
    Key("ALIVE", "agents:deadlines", "zset", "agent, by when its heartbeat is due"),
    Key("COOLDOWN", "agents:cooldown", "zset", "agent with an open breaker, by when it may be probed"),
    Key("DRIFT", "agents:drift", "zset", "agent, by when its health will have risen a tenth"),
    Key("STALE", "agents:stale", "zset", "agent whose response times are measured, by when their mean halves unless it answers"),
    Key("SILENT", "agents:inactive", "zset", "inactive agent, by when it became so"),
    Key("HALF_OPEN", "agents:half_open", "set", "agents whose breaker is half open"),
    Key("UNSETTLED", "agents:unsettled", "set", "agents with a free slot that a script left at its grant limit"),
    Key("WEIGHTED", "agents:weighted", "set", "agents whose weight is not 1.0"),
    Key("RESTARTED", "agents:restarted", "set", "agents with a new instance: the old one's 202 leases are to end"),
    Key("CANCEL_AGENT", "cancelling:agent:", "set", "{agent}: begun leases whose task was cancelled, for its heartbeats to hear"),
    Key("CANCEL_WORKER", "cancelling:worker:", "set", "{worker}: the same for a worker's liveness call"),
    Key("SIGS", "sigs", "zset", "signature, by its last use"),
    Key(
        "SIG",
        "sig:",
        "hash",
        "{signature}: terms, health floor, count of live tasks, how far it is built, its round, the API key that brought it",
    ),
    Key(
        "BROUGHT",
        "sigs:brought",
        "hash",
        "API key that is no admin's: signatures that its tasks were the first to use, while they are kept",
    ),
    Key("FLOORS", "sigs:floors", "set", "signatures with a health floor"),
    Key("BUILDING", "sigs:building", "set", "signatures being filled or dropped, in steps"),
    Key("TASK", "task:", "hash", "{task}: the task, its live lease, a line an attempt (L{grant}), its end kept for a repeat"),
    Key(
        "TASKS", "tasks:", "zset", "{state}: tasks in it: queued, waiting by stamp; scheduled by when due; the others by when they entered"
    ),
    Key("ALL", "tasks:all", "zset", "every task, by when it was submitted"),
    Key("OWN_TASKS", "owner:tasks:", "zset", "{owner}: tasks that this API key submitted, by when"),
    Key("OWN_AGENTS", "owner:agents:", "zset", "{owner}: agents of this API key, score 0: read in order of ids"),
    Key("WAITING", "tasks:waiting:", "zset", "{signature}:{rank}: runnable tasks, by stamp"),
    Key("HEADS", "heads", "zset", "{signature}:{rank} with runnable tasks, by rank × 2^50 + stamp of the oldest − 1.6e15"),
    Key("SEEN", "heads:seen", "hash", "queued task that the last sweep found first of its list beside a free agent: since when"),
    Key("TIMEOUTS", "tasks:timeouts", "zset", "task with a queue_timeout, by when it passes"),
    Key("IDEMPOTENCY", "idempotency:", "string", "{key}: the task submitted under an Idempotency-Key; lives as long as it"),
    Key("LEASES", "leases", "zset", "live lease ({task}:{grant}), by when it must next be looked at"),
    Key("OF_AGENT", "leases:agent:", "set", "{agent}: its live leases; their number is `active`"),
    Key("OF_WORKER", "leases:worker:", "set", "{worker}: the synchronous leases it has begun"),
    Key("ASYNC", "leases:async", "set", "live leases whose agent answered 202"),
    Key("WORKERS", "workers:deadlines", "zset", "worker, by when it is thought dead"),
    Key("POLLING", "workers:polling", "zset", "worker that takes jobs from its broker, by when that is in doubt"),
    Key("ROOM", "workers:room", "hash", "worker: calls that it had room for at its last sign of life"),
    Key("TOLD", "workers:told:", "hash", "{worker}: its part of `measured`, so that a repeated report adds nothing"),
    Key("SUSPECTS", "workers:suspects", "hash", "worker: the one suspect lease (its task lost two workers or more) that it holds"),
    Key(
        "LEDGER",
        "ledger",
        "hash",
        "last stamp, paused ranks, strategy and epochs, the fleet's round, last sweep, its turn, grace, poison tasks found, `keyed`",
    ),
    Key("STATS", "stats", "hash", "counters"),
    Key("API_KEYS", "apikeys", "hash", "API key, by its id: JSON of its name, scopes, times and the SHA-256 of its text"),
    Key("LIMIT", "limit:", "string", "{caller}: its requests in this minute; the only keys with a TTL"),
    Key(
        "AUDIT",
        "audit:",
        "stream",
        "{kind}: who did what to what; `[admin-]submits` and other `[admin-]calls` of keys; `keys` made, rotated and revoked",
    ),
    Key(
        "EVENTS", "tasks:events", "stream", "t, s: a task and the state it reached, an end or any of a watched task; a: agent; p: progress"
    ),
    Key(
        "CALLBACKS",
        "callbacks:due",
        "zset",
        "ended task whose callback_url is to be told, by when it is due (while told: when it is due again)",
    ),
    Key("MEASURED", "measured", "hash", "histograms, {name}:{label}:{bucket}: their counts; {name}:{label}:us: their sum"),
)

BY_NAME = {key.lua: key.prefix for key in KEYS}
CANCEL_CHANNEL = "cancel:"
"""Pub/sub channel of a worker: lease ids whose call it should close."""
REPLICAS_CHANNEL = "replicas"
"""Pub/sub channel that nobody listens to: see replicas.py."""


def lua_names() -> dict[str, str]:
    """What stands in a script for each constant of the table."""
    return {**{key.lua: f"'{key.prefix}'" for key in KEYS}, "CANCEL_CHANNEL": f"'{CANCEL_CHANNEL}'"}
