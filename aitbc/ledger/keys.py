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
    Key("WITH", "agents:with:", "set", "{term}: agents that have it (`any`, `type:x`, `cap:x`, `svc:x`, `tag:x`, `status:x`)"),
    Key("TERMS", "agents:terms:", "set", "svc, cap: the terms that some agent has (counted by /registry/stats)"),
    Key("SIGS_OF", "agents:sigs:", "set", "{agent}: live signatures it satisfies"),
    Key("SCORE", "agents:score:", "zset", "{epoch}:{signature}: agents with a free slot and a callable endpoint, by score, best lowest"),
    Key("ALIVE", "agents:deadlines", "zset", "agent, by when its heartbeat is due"),
    Key("COOLDOWN", "agents:cooldown", "zset", "agent with an open breaker, by when it may be probed"),
    Key("DRIFT", "agents:drift", "zset", "agent, by when its health will have risen a tenth"),
    Key("SILENT", "agents:inactive", "zset", "inactive agent, by when it became so"),
    Key("UNSETTLED", "agents:unsettled", "set", "agents with a free slot that a script left at its grant limit"),
    Key("WEIGHTED", "agents:weighted", "set", "agents whose weight is not 1.0"),
    Key("RESTARTED", "agents:restarted", "set", "agents with a new instance: the old one's 202 leases are to end"),
    Key("CANCEL_AGENT", "cancelling:agent:", "set", "{agent}: begun leases whose task was cancelled, for its heartbeats to hear"),
    Key("CANCEL_WORKER", "cancelling:worker:", "set", "{worker}: the same for a worker's liveness call"),
    Key("SIGS", "sigs", "zset", "signature, by its last use"),
    Key("SIG", "sig:", "hash", "{signature}: terms, health floor, count of live tasks, how far it is built"),
    Key("FLOORS", "sigs:floors", "set", "signatures with a health floor"),
    Key("BUILDING", "sigs:building", "set", "signatures being filled or dropped, in steps"),
    Key("TASK", "task:", "hash", "{task}: the task, its live lease, a line an attempt (L{grant}), its end kept for a repeat"),
    Key(
        "TASKS", "tasks:", "zset", "{state}: tasks in it: queued, waiting by stamp; scheduled by when due; the others by when they entered"
    ),
    Key("ALL", "tasks:all", "zset", "every task, by when it was submitted"),
    Key("WAITING", "tasks:waiting:", "zset", "{signature}:{rank}: runnable tasks, by stamp"),
    Key("HEADS", "heads", "zset", "{signature}:{rank} with runnable tasks, by rank × 2^50 + stamp of the oldest − 1.6e15"),
    Key("SEEN", "heads:seen", "hash", "queued task that the last sweep found first of its list beside a free agent: since when"),
    Key("TIMEOUTS", "tasks:timeouts", "zset", "task with a queue_timeout, by when it passes"),
    Key("IDEMPOTENCY", "idempotency:", "string", "{key}: the task submitted under an Idempotency-Key; lives as long as it"),
    Key("LEASES", "leases", "zset", "live lease ({task}:{grant}), by when it must next be looked at"),
    Key("OF_AGENT", "leases:agent:", "set", "{agent}: its live leases; their number is `active`"),
    Key("OF_WORKER", "leases:worker:", "set", "{worker}: the synchronous leases it has begun"),
    Key("WORKERS", "workers:deadlines", "zset", "worker, by when it is thought dead"),
    Key("POLLING", "workers:polling", "zset", "worker that takes jobs from its broker, by when that is in doubt"),
    Key("SUSPECTS", "workers:suspects", "hash", "worker: the one suspect lease (its task lost two workers or more) that it holds"),
    Key("LEDGER", "ledger", "hash", "last stamp, paused ranks, strategy and epochs, last sweep, its turn, grace, poison tasks found"),
    Key("STATS", "stats", "hash", "counters"),
    Key("EVENTS", "tasks:events", "stream", "t, s: a task and the terminal state it reached; the last AITBC_KEEP_EVENTS or so"),
)

BY_NAME = {key.lua: key.prefix for key in KEYS}
CANCEL_CHANNEL = "cancel:"
"""Pub/sub channel of a worker: lease ids whose call it should close."""
REPLICAS_CHANNEL = "replicas"
"""Pub/sub channel that nobody listens to: see replicas.py."""


def lua_names() -> dict[str, str]:
    """What stands in a script for each constant of the table."""
    return {**{key.lua: f"'{key.prefix}'" for key in KEYS}, "CANCEL_CHANNEL": f"'{CANCEL_CHANNEL}'"}
