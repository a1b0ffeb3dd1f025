"""From REDIS_URL to a connection pool, blocking or asynchronous: plain, TLS or Sentinel; and which Redis errors mean `try again`."""

import re
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from aitbc.errors import Misconfigured

TIMEOUTS: dict[str, Any] = {"socket_timeout": 3.0, "socket_connect_timeout": 2.0, "socket_keepalive": True}
"""Seconds. Redis answers in microseconds; a connection that owes a reply for 3 s is taken for half open. The pipeline makes it
anew and sends its calls again, which every step bears: the price of a wrong guess is one repetition."""

SENTINEL_LIMITS: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": None}
"""Of one that is asked for the master: the next is asked after a second. redis-py would ask the same one eleven times."""

PASSING = ("LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "TRYAGAIN", "CLUSTERDOWN", "BUSY ", "UNBLOCKED")
"""Beginnings of errors that pass by themselves: starting, failing over, a full disk, a long script."""

AWAY = (redis.ConnectionError, redis.TimeoutError, OSError)


def is_passing(error: Exception) -> bool:
    """The same step may succeed in a moment."""
    return isinstance(error, AWAY) or is_demoted(error) or _own_text(error).startswith(PASSING)


def is_demoted(error: Exception) -> bool:
    """This Redis has become a replica: the connection is to the wrong one."""
    return isinstance(error, redis.ReadOnlyError) or _own_text(error).startswith("READONLY")


def is_full(error: Exception) -> bool:
    """Redis is out of memory and refused before the first write."""
    return isinstance(error, redis.OutOfMemoryError) or _own_text(error).startswith("OOM")


def _own_text(error: Exception) -> str:
    """A command's error inside a script as Redis gives it outside; up to 6.2 it is wrapped in the script's."""
    inner = re.match(r"(?:ERR )?Error running script .*?@user_script: ?\d+: -(.*)", str(error))
    return inner[1] if inner else str(error)


def blocking(url: str, connections: int) -> redis.Redis:
    """A client that waits at most 5 s for a free connection of its pool."""
    sentinel = sentinel_parts(url)
    if sentinel:
        hosts, service, db, options = sentinel
        sentinel_class: Any = redis.Sentinel  # untyped in redis-py
        watchers = sentinel_class(hosts, sentinel_kwargs=SENTINEL_LIMITS, **options, **TIMEOUTS)
        client: redis.Redis = watchers.master_for(service, db=db)
        return client
    pool = redis.BlockingConnectionPool.from_url(url, max_connections=connections, timeout=5, retry=Retry(NoBackoff(), 0), **TIMEOUTS)
    return redis.Redis(connection_pool=pool)


def asynchronous(url: str) -> redis.asyncio.Redis:
    """A client whose connections a pipelining owner takes one by one."""
    sentinel = sentinel_parts(url)
    if sentinel:
        hosts, service, db, options = sentinel
        async_sentinel_class: Any = redis.asyncio.Sentinel  # untyped in redis-py
        watchers = async_sentinel_class(hosts, sentinel_kwargs=SENTINEL_LIMITS, **options, **TIMEOUTS)
        client: redis.asyncio.Redis = watchers.master_for(service, db=db)
        return client
    return redis.asyncio.Redis.from_url(url, retry=None, **TIMEOUTS)


def watchers(client: Any) -> list[Any]:
    """The clients that watch Sentinel for this one, which its own close leaves open."""
    return list(getattr(getattr(client.connection_pool, "sentinel_manager", None), "sentinels", ()))


async def close(client: redis.asyncio.Redis) -> None:
    """Close an asynchronous client and whatever watches for it."""
    for one in (client, *watchers(client)):
        await one.aclose()


def sentinel_parts(url: str) -> tuple[list[tuple[str, int]], str, int, dict[str, str]] | None:
    """`sentinel://[user:password@]h1:p,h2:p/MASTER/1` as sentinels, master's name, db and credentials; None for another scheme.

    Raises Misconfigured.
    """
    if not url.startswith("sentinel://"):
        return None
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    user, _, password = credentials.partition(":")
    pairs = [host.rpartition(":") for host in hosts.split(",")]
    if not service or not all(host and port.isdigit() for host, _, port in pairs) or not (db or "0").isdigit():
        raise Misconfigured("REDIS_URL: a Sentinel URL is sentinel://host:port,host:port/MASTER-NAME/DB")
    options = {name: value for name, value in (("username", user), ("password", password)) if value}
    return [(host, int(port)) for host, _, port in pairs], service, int(db or 0), options
