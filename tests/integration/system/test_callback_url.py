"""A task's callback_url by real processes: told of its end at least once, signed, eight times at most, and by nobody held up."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.harness.agents import Agents, HttpAgent, hang, status
from tests.harness.cluster import Api, Cluster
from tests.harness.processes import wait_for

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


class Node:
    """One API and one worker, and receivers that are like agents."""

    def __init__(self, folder: Path) -> None:
        self.cluster, self.receivers = Cluster(folder, AITBC_CALLBACK_SECRET=SECRET), Agents()
        self.api: Api = self.cluster.api()

    def receiver(self, name: str, answer: Any) -> tuple[HttpAgent, str]:
        agent = self.receivers.start(name, answer)
        return agent, f"{agent.url}/tasks/execute"

    def ended(self, url: str) -> str:
        """A task that has ended: cancelled, which needs no agent."""
        task_id = self.api.submit(callback_url=url)
        self.api.ok("POST", f"/tasks/{task_id}/cancel")
        return task_id

    def record(self, task_id: str) -> tuple[str, int]:
        found = self.api.task(task_id)["callback"]
        return found["state"], found["tries"]

    def now(self, task_id: str) -> None:
        """Its pause is over."""
        ledger = self.cluster.ledger
        ledger.redis.zadd("callbacks:due", {task_id: 1}, xx=True)
        ledger.close()

    def close(self) -> None:
        self.cluster.close()
        self.receivers.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"))
    node.cluster.worker()
    yield node
    node.cluster.healthy()
    node.close()


def test_told_once_and_signed(node: Node) -> None:
    raw: list[bytes] = []

    async def take(_: HttpAgent, request: web.Request, __: Any) -> web.StreamResponse:
        raw.append(await request.read())
        return web.Response(status=204)

    receiver, url = node.receiver("ok", take)
    task_id = node.ended(url)
    wait_for(lambda: node.record(task_id) == ("delivered", 1), 10, "the delivery")
    (body,), (headers,) = receiver.received, receiver.headers
    assert (body["type"], body["data"]["task_id"], body["data"]["state"]) == ("task.cancelled", task_id, "cancelled")
    assert body["timestamp"] == body["data"]["ended_at"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw[0]
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert (headers["webhook-id"], headers["webhook-signature"]) == (task_id, f"v1,{expected}")
    other = node.ended(url)
    wait_for(lambda: node.record(other) == ("delivered", 1), 10, "the next one")
    assert [one["data"]["task_id"] for one in receiver.received] == [task_id, other]


def test_eight_tries_then_given_up_and_no_redirect_is_followed(node: Node) -> None:
    target, target_url = node.receiver("target", status(200))
    receiver, url = node.receiver("redirects", status(307, Location=target_url))
    task_id = node.ended(url)
    for tries in range(1, 9):
        wait_for(lambda: node.record(task_id)[1] == tries, 10, f"try {tries}")  # noqa: B023 - called at once
        node.now(task_id)
    assert node.record(task_id) == ("given_up", 8)
    assert node.api.task(task_id)["callback"]["error"] == "the receiver answered 307"
    assert (len(receiver.received), len(target.received)) == (8, 0)
    assert len({headers["webhook-id"] for headers in receiver.headers}) == 1
    assert node.api.ok("GET", "/tasks/queues/stats")["callbacks"]["given_up"] >= 1
    assert f"task {task_id}: its callback_url was not told" in node.cluster.processes[-1].log.read_text()


def test_410_is_never_asked_again(node: Node) -> None:
    receiver, url = node.receiver("gone", status(410))
    task_id = node.ended(url)
    wait_for(lambda: node.record(task_id) == ("given_up", 1), 10, "the end of it")
    assert len(receiver.received) == 1


def test_a_receiver_that_hangs_holds_up_nobody(node: Node) -> None:
    slow, slow_url = node.receiver("hangs", hang)
    quick, quick_url = node.receiver("quick", status(200))
    stuck = [node.ended(slow_url) for _ in range(150)]
    wait_for(lambda: slow.working == 16, 10, "as many calls as one receiver gets")
    told = [node.ended(quick_url) for _ in range(20)]
    wait_for(lambda: len(quick.received) == 20, 5, "the quick one to be told")
    assert {node.record(task_id) for task_id in told[:5]} <= {("delivered", 1), ("due", 0)}
    assert slow.peak == 16
    assert node.record(stuck[0])[0] == "due"
    node.receivers.stop(slow)


def test_the_outbox_survives_redis(node: Node) -> None:
    answers = [500]

    async def by_then(_: HttpAgent, __: web.Request, ___: Any) -> web.StreamResponse:
        return web.Response(status=answers[0])

    receiver, url = node.receiver("later", by_then)
    task_id = node.ended(url)
    wait_for(lambda: node.record(task_id) == ("due", 1), 10, "the first try")
    node.cluster.redis.kill()
    node.cluster.start_redis()
    answers[0] = 200
    node.now(task_id)
    wait_for(lambda: node.record(task_id) == ("delivered", 2), 15, "the delivery")
    assert len(receiver.received) == 2


def test_told_again_when_the_worker_dies_before_it_is_written_down(tmp_path: Path) -> None:
    node, stopped = Node(tmp_path), tmp_path / "stopped"
    try:
        receiver, url = node.receiver("ok", status(200))
        worker = node.cluster.worker("victim", AITBC_STOP_AT="callback_url.told", AITBC_STOP_FILE=str(stopped))
        task_id = node.ended(url)
        wait_for(stopped.exists, 10, "the worker to have told")
        worker.kill()
        assert node.record(task_id) == ("due", 0)
        node.now(task_id)  # else after 30 s
        node.cluster.worker("other")
        wait_for(lambda: node.record(task_id) == ("delivered", 1), 10, "the delivery")
        assert [json.dumps(body) for body in receiver.received[1:]] == [json.dumps(receiver.received[0])]
        assert len(receiver.received) == 2
        node.cluster.healthy()
    finally:
        node.close()
