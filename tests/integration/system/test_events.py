"""Server-sent events by real processes: nothing is missing and nothing comes twice, over kills; slow and surplus listeners are refused."""

import contextlib
import http.client
import socket
import time

import pytest

from aitbc.client import Client
from tests.harness.agents import Agents
from tests.harness.cluster import Api, Cluster
from tests.harness.processes import wait_for
from tests.harness.streams import Listener, until_listening

LISTENERS = 100


def put(cluster: Cluster, count: int, name: str = "x") -> list[str]:
    """Entries of the stream as the scripts write them; their ids."""
    ledger = cluster.ledger
    pipe = ledger.redis.pipeline(transaction=False)
    for n in range(count):
        pipe.xadd("tasks:events", {"t": f"{name}{n}", "s": "completed"})
    ids = [raw.decode() for raw in pipe.execute()]
    ledger.close()
    return ids


def all_hear(listeners: list[Listener], ids: list[str], seconds: float = 30) -> None:
    """Each has heard exactly these, in order: no gap, no double."""
    wait_for(lambda: all(len(listener.heard) >= len(ids) for listener in listeners), seconds, "every listener to hear everything")
    assert [listener.ids for listener in listeners if listener.ids != ids] == []


def test_a_hundred_listeners_over_a_killed_api_and_a_restarted_redis(cluster: Cluster) -> None:
    api = cluster.api()
    ids = put(cluster, 3, "before")  # nobody listens yet: not for these listeners
    listeners = [Listener(api.port, last_id=ids[0]).start() for _ in range(LISTENERS)]
    until_listening(listeners, wait_for)
    ids += put(cluster, 200, "a")
    all_hear(listeners, ids[1:])
    api.process.kill()
    ids += put(cluster, 200, "b")  # while nobody serves
    api = cluster.api("api2", port=api.port)
    ids += put(cluster, 100, "c")
    all_hear(listeners, ids[1:])
    cluster.redis.kill()
    time.sleep(1.5)
    cluster.start_redis()
    ids += put(cluster, 100, "d")
    all_hear(listeners, ids[1:])
    ledger = cluster.ledger
    readers = [c for c in ledger.redis.client_list() if c["cmd"].startswith("xread")]
    ledger.close()
    assert len(readers) == 1  # one a process, whoever listens
    assert api.call("GET", "/tasks/status")[0] == 200
    for listener in listeners:
        listener.over.set()
    assert api.process.stop() == 0
    for listener in listeners:
        listener.end()


def test_a_task_from_its_submit_to_its_end(cluster: Cluster, agents: Agents) -> None:
    api = cluster.api()
    cluster.worker()
    task_id = api.submit(max_attempts=2)
    listener = Listener(api.port, f"/tasks/{task_id}/events").start()
    wait_for(lambda: listener.heard, 10, "the first state")
    agent = agents.start("a", delay=0.2)
    api.register("a", agent.url)
    wait_for(listener.over.is_set, 15, "the end, and 204 for who comes again")
    words = [one.event for one in listener.heard]
    assert words[0] in ("queued", "waiting")
    assert words[-2:] == ["running", "completed"]
    assert listener.statuses == [200, 204]
    assert listener.heard[-2].data["agent_id"] == "a"
    (late,) = Client(api.url).tasks.events(task_id)
    assert (late.name, late.data["task_id"]) == ("completed", task_id)
    before = Client(api.url).events(listener.heard[-2].event_id)
    assert next(before).event_id == listener.heard[-1].event_id
    before.close()
    listener.end()


def test_a_slow_reader_is_cut_off_and_the_others_hear_on(cluster: Cluster) -> None:
    api = cluster.api()
    quick = Listener(api.port).start()
    until_listening([quick], wait_for)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", api.port))
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    assert slow.recv(64).startswith(b"HTTP/1.1 200")
    ids: list[str] = []
    for n in range(14):
        ids += put(cluster, 1000, f"{n}-" + "y" * 100)
        all_hear([quick], ids)
    assert quick.statuses == [200]
    slow.settimeout(10)
    got = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := slow.recv(1 << 20):  # to its end: no time-out
            got += len(piece)
    assert 0 < got < 14_000 * 150
    slow.close()
    quick.end()


@pytest.fixture
def small(cluster: Cluster) -> Api:
    return cluster.api(AITBC_HELD_REQUESTS="2", AITBC_KEEP_EVENTS="1000")


def test_bounds_resets_and_refusals(cluster: Cluster, small: Api) -> None:
    ids = put(cluster, 2500)
    ledger = cluster.ledger
    ledger.redis.xtrim("tasks:events", maxlen=1000, approximate=False)
    ledger.close()
    lost, kept = Listener(small.port, last_id=ids[0]).start(), Listener(small.port, last_id=ids[-3]).start()
    wait_for(lambda: lost.heard and len(kept.heard) == 2, 10, "a reset, and what was missed")
    assert [(one.event, one.event_id) for one in lost.heard] == [("reset", ids[-1])]
    assert kept.ids == ids[-2:]
    more = put(cluster, 1)
    wait_for(lambda: lost.ids[1:] == more and kept.ids[2:] == more, 10, "both to hear on")
    for path in ("/events", "/v1/events"):
        connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
        assert b"AITBC_HELD_REQUESTS" in answer.read()
        connection.close()
    task_id = small.submit()
    assert small.call("GET", f"/tasks/{task_id}?wait=5", timeout=2)[0] == 200  # one bound for both: at once
    for listener in (lost, kept):
        listener.over.set()
    put(cluster, 1)
    cluster.redis.kill()
    assert small.call("GET", "/events")[0] == 503
    cluster.start_redis()
    for bad in ("abc", "1-2-3", "-1", "99999999999999999999999", "1715098015123-x"):
        status, problem = small.call("GET", "/events", **{"Last-Event-ID": bad})
        assert (status, "Last-Event-ID" in problem["detail"]) == (422, True)
    assert small.call("GET", "/tasks/nobody/events")[0] == 404
    lost.end()
    kept.end()
