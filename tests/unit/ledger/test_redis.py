"""The Redis behind the ledger: what refuses service, what breaks a law, which errors pass, and REDIS_URL."""

import pytest
import redis

from aitbc.errors import Misconfigured
from aitbc.ledger import connection
from aitbc.ledger.redis_state import judge

GOOD = {"role": "master", "redis_version": "6.2.14", "aof_enabled": 1, "used_memory": 50, "maxmemory": 0, "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    ("info", "config", "problem", "warning"),
    [
        ({}, {"appendfsync": "always"}, "", ""),
        ({}, {}, "", ""),
        ({"redis_version": "7.4.0"}, {}, "", ""),
        ({"redis_version": "6.0.9"}, {}, "too old", ""),
        ({"redis_version": ""}, {}, "too old", ""),
        ({"redis_version": "8.0-rc1"}, {}, "", ""),
        ({"cluster_enabled": 1}, {}, "Cluster", ""),
        ({"role": "slave"}, {}, "is a slave", ""),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 100}, {}, "would evict", ""),
        ({"maxmemory_policy": "allkeys-lru"}, {}, "", "once maxmemory is set"),
        ({"aof_enabled": 0}, {}, "", "appendonly is off"),
        ({}, {"appendfsync": "everysec"}, "", "appendfsync is everysec"),
    ],
)
def test_judge(info, config, problem, warning):
    state = judge({**GOOD, **info}, config, 0)
    assert len(state.problems) == bool(problem)
    assert len(state.warnings) == bool(warning)
    assert problem in "".join(state.problems)
    assert warning in "".join(state.warnings)


def test_the_policy_may_come_from_config():
    info = {key: value for key, value in GOOD.items() if key != "maxmemory_policy"}
    assert judge(info, {"maxmemory-policy": "volatile-ttl"}, 0).warnings


@pytest.mark.parametrize(("limit", "own", "share"), [(0, 0, 0.0), (100, 0, 0.5), (100, 200, 0.25), (0, 200, 0.25)])
def test_memory_share(limit, own, share):
    assert judge({**GOOD, "maxmemory": limit}, {}, own).memory_share == share


OLD = "Error running script (call to f_140d6c): @user_script:108: @user_script: 108: -"


@pytest.mark.parametrize(
    ("error", "passing", "full", "demoted"),
    [
        (redis.ConnectionError("x"), True, False, False),
        (redis.TimeoutError("x"), True, False, False),
        (OSError("x"), True, False, False),
        (redis.BusyLoadingError("x"), True, False, False),
        (redis.ReadOnlyError("You can't write"), True, False, True),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), True, False, False),
        (redis.ResponseError("BUSY Redis is busy running a script"), True, False, False),
        (redis.ResponseError(f"{OLD}READONLY You can't write against a read only replica."), True, False, True),
        (redis.ResponseError(f"ERR {OLD}MISCONF Errors writing to the AOF file"), True, False, False),
        (redis.OutOfMemoryError("command not allowed"), False, True, False),
        (redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:1."), False, True, False),
        (redis.ResponseError(f"{OLD}OOM command not allowed when used memory > 'maxmemory'."), False, True, False),
        (redis.ResponseError("WRONGTYPE Operation against a key"), False, False, False),
        (
            redis.ResponseError("ERR Error running script (call to f_1): @user_script:3: attempt to index a nil value OOM"),
            False,
            False,
            False,
        ),
    ],
    ids=str,
)
def test_errors(error, passing, full, demoted):
    assert (connection.is_passing(error), connection.is_full(error), connection.is_demoted(error)) == (passing, full, demoted)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://localhost/1", None),
        ("sentinel://h1:1,h2:2/main/3", ([("h1", 1), ("h2", 2)], "main", 3, {})),
        ("sentinel://h:1/main", ([("h", 1)], "main", 0, {})),
        ("sentinel://u:p@h:1/main/0", ([("h", 1)], "main", 0, {"username": "u", "password": "p"})),
        ("sentinel://:p@h:1/main/0", ([("h", 1)], "main", 0, {"password": "p"})),
    ],
)
def test_sentinel_urls(url, parts):
    assert connection.sentinel_parts(url) == parts


@pytest.mark.parametrize(
    "url", ["sentinel://h:1", "sentinel://h/main", "sentinel://h:x/main", "sentinel://:1/main", "sentinel://h:1/main/x"]
)
def test_wrong_sentinel_urls(url):
    with pytest.raises(Misconfigured, match="sentinel://host:port"):
        connection.sentinel_parts(url)
