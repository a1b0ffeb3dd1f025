"""Rate limits: off they cost nothing, on they are counted by key, else by address, for all processes on one Redis; agents apart."""

import pytest

from aitbc.web.limits import network_of
from tests.contract.keyholders import Holder

TASK = {"task_data": {}}


@pytest.fixture
def limited(with_settings, ledger):
    """Clients of applications with limits, each with what one process remembers."""
    return with_settings


def test_off_there_is_nothing_of_it(client, ledger):
    answer = client.post("/tasks/submit", json=TASK)
    assert not [name for name in dict(answer.headers) if name.lower().startswith("ratelimit")]
    assert not ledger.redis.keys("limit:*")


def test_the_headers_count_down_and_one_more_is_429(limited, ledger, shaped):
    client = limited(rate_limit=3)
    answers = [client.post("/tasks/submit", json=TASK) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"default";q=3;w=60'}
    told = [answer.headers["RateLimit"].split(";") for answer in answers]
    assert [(name, left) for name, left, _ in told] == [
        ('"default"', "r=2"),
        ('"default"', "r=1"),
        ('"default"', "r=0"),
        ('"default"', "r=0"),
    ]
    assert all(0 < int(seconds.removeprefix("t=")) <= 60 for *_, seconds in told)
    problem = shaped(answers[3], 429)
    assert "more than 3 requests in a minute by this address; AITBC_RATE_LIMIT sets the limit" in problem["detail"]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
    assert ledger.redis.zcard("tasks:all") == 3
    assert client.get("/health").status_code == 200


def test_all_processes_count_together_and_one_that_refused_asks_no_more(limited, ledger):
    first, second = limited(rate_limit=2), limited(rate_limit=2)
    assert [client.get("/tasks").status_code for client in (first, second, first, second)] == [200, 200, 429, 429]
    (key,) = ledger.redis.keys("limit:*")
    counted = int(ledger.redis.get(key))
    assert [client.get("/tasks").status_code for client in (first, second)] == [429, 429]
    assert int(ledger.redis.get(key)) == counted
    assert 0 < ledger.redis.pttl(key) <= 60_000


def test_a_minute_later_it_is_allowed_again(limited, ledger):
    client, other = limited(rate_limit=1), limited(rate_limit=1)
    assert [client.get("/tasks").status_code for _ in range(2)] == [200, 429]
    ledger.redis.delete(*ledger.redis.keys("limit:*"))  # the minute is over
    assert other.get("/tasks").status_code == 200


def test_keys_are_counted_by_themselves_and_the_rest_by_address(limited, ledger):
    client = limited(rate_limit=2)
    one, two = Holder(ledger, "read"), Holder(ledger, "read")

    def status(headers, address="10.0.0.1"):
        return client.get("/tasks", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code

    assert [status(one.headers) for _ in range(3)] == [200, 200, 429]
    assert [status(two.headers) for _ in range(3)] == [200, 200, 429]
    assert [status({}) for _ in range(3)] == [401, 401, 429]
    assert status({"Authorization": "Bearer x"}, "10.0.0.1") == 429
    assert status({"Authorization": "Bearer x"}, "10.0.0.2") == 401


def test_heartbeats_and_callbacks_have_a_budget_of_their_own(limited, ledger, register, submit, begin):
    client = limited(rate_limit=1, rate_limit_agents=3)
    register()
    _, token = begin(submit("t1"))
    assert [client.get("/tasks").status_code for _ in range(2)] == [200, 429]
    progress = {"headers": {"Authorization": f"Bearer {token}"}, "json": {}}
    answers = [client.post("/agents/a1/heartbeat"), client.post("/tasks/t1/progress", **progress), client.post("/v1/agents/a1/heartbeat")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    refused = client.post("/tasks/t1/complete", **progress)
    assert (refused.status_code, refused.headers["RateLimit-Policy"]) == (429, '"agents";q=3;w=60')


def test_behind_a_proxy_the_callers_own_address_counts(limited, ledger):
    behind, open_ = limited(rate_limit=1, trusted_proxies=1), limited(rate_limit=1)
    for client, expected in ((behind, [200, 429, 200]), (open_, [200, 429, 429])):
        ledger.redis.delete(*(ledger.redis.keys("limit:*") or ["none"]))
        sent = ["6.6.6.6, 10.0.0.1", "7.7.7.7, 10.0.0.1", "6.6.6.6, 10.0.0.2"]
        assert [client.get("/tasks", headers={"X-Forwarded-For": one}).status_code for one in sent] == expected


def test_a_full_redis_still_hears_a_heartbeat(limited, ledger, register):
    register()
    client = limited(rate_limit_agents=100)
    client.post("/agents/a1/heartbeat")
    ledger.redis.config_set("maxmemory", 1)
    try:
        assert client.post("/agents/a1/heartbeat").status_code == 200
    finally:
        ledger.redis.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_an_ipv6_address_counts_with_its_network(address, counted):
    assert network_of(address) == counted


def test_a_clock_of_redis_that_was_set_back_locks_nobody_out(limited, ledger):
    """Redis keeps the moment at which a key ends: an hour back, and a minute would take an hour more."""
    client = limited(rate_limit=1)
    client.get("/tasks")
    (key,) = ledger.redis.keys("limit:*")
    ledger.redis.pexpire(key, 3_600_000)
    assert int(client.get("/tasks").headers["Retry-After"]) <= 60
    assert ledger.redis.pttl(key) <= 60_000
