"""The scenarios: a module each, `run(lab)` measures and returns what it found. A new one is one module and one line here."""

from collections.abc import Callable

from bench.lab import Lab
from bench.rows import agents, aof, chain, idle, inflight, ledger, live, memory, payload, processes, rabbit, storage, submit, waiting
from bench.table import Result

SCENARIOS: dict[str, Callable[[Lab], Result]] = {
    "chain": chain.run,
    "live": live.run,
    "submit": submit.run,
    "idle": idle.run,
    "aof": aof.run,
    "processes": processes.run,
    "agents": agents.run,
    "payload": payload.run,
    "inflight": inflight.run,
    "memory": memory.run,
    "storage": storage.run,
    "rabbit": rabbit.run,
    "waiting": waiting.run,
    "ledger": ledger.run,
}
QUICK: dict[str, Callable[[Lab], Result]] = {"quick": chain.quick}
