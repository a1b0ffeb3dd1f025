"""Whether the Redis behind the ledger is one on which the laws hold: what /ready, doctor and start-up say, and how full it is."""

import re
import time
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import redis

from aitbc.errors import LedgerAway
from aitbc.ledger.client import Ledger

OLDEST = (6, 2)
FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RedisState:
    """`problems` refuse service, `warnings` say which law does not hold; `memory_share`: used ÷ allowed, 0 when there is no limit."""

    version: str
    problems: list[str]
    warnings: list[str]
    memory_share: float


def look(ledger: Ledger) -> RedisState:
    """Look at Redis; an answer is used for 1 s. Raises LedgerAway."""
    cached = _seen.get(ledger)
    if cached and time.monotonic() - cached[0] < FRESH_SECONDS:
        return cached[1]
    try:
        state = judge(ledger.redis.info(), _config(ledger.redis), ledger.settings.max_ledger_bytes, ledger.settings.ledger_replicas)
    except (redis.RedisError, OSError) as exc:
        raise LedgerAway("the ledger (Redis) does not answer", retry_after=2) from exc
    _seen[ledger] = time.monotonic(), state
    return state


_seen: "WeakKeyDictionary[Ledger, tuple[float, RedisState]]" = WeakKeyDictionary()


def judge(info: Any, config: dict[str, str], max_bytes: int, replicas: int = 0) -> RedisState:
    """Pure: from INFO and CONFIG (empty where a managed Redis refuses CONFIG)."""
    problems, warnings = [], []
    if info.get("cluster_enabled"):
        problems.append("Redis Cluster cannot hold the ledger: its scripts touch many keys")
    policy = info.get("maxmemory_policy", config.get("maxmemory-policy", "noeviction"))
    if policy != "noeviction" and int(info.get("maxmemory", 0)):
        problems.append(f"maxmemory-policy is {policy}: Redis would evict accepted tasks; set noeviction")
    elif policy != "noeviction":
        warnings.append(f"L1 does not hold once maxmemory is set: maxmemory-policy is {policy}; set noeviction")
    problems += _role(info, replicas)
    version = str(info.get("redis_version", "0"))
    if tuple(int(n) for n in re.findall(r"\d+", version)[:2]) < OLDEST:
        problems.append(f"Redis {version} is too old: 6.2 or later is needed")
    if not info.get("aof_enabled"):
        warnings.append("L1 does not hold: appendonly is off, a restart of Redis loses accepted tasks; set appendonly yes")
    elif config.get("appendfsync", "always") != "always":
        warnings.append(f"L1 does not hold: appendfsync is {config['appendfsync']}, a kill of Redis can lose accepted tasks; set always")
    limit = max_bytes or int(info.get("maxmemory", 0))
    return RedisState(version, problems, warnings, int(info.get("used_memory", 0)) / limit if limit else 0.0)


def _role(info: Any, replicas: int) -> list[str]:
    if info.get("role") != "master":
        return [f"this Redis is a {info.get('role')}, not a master"]
    found = int(info.get("connected_slaves", 0))
    return [f"AITBC_LEDGER_REPLICAS is {replicas}, but {found} replicas are connected: submits are refused"] if found < replicas else []


def _config(client: redis.Redis) -> dict[str, str]:
    try:
        found: Any = client.config_get("appendfsync")
        return {str(k): str(v) for k, v in {**found, **client.config_get("maxmemory-policy")}.items()}
    except redis.ResponseError:
        return {}
