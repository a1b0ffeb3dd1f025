"""What an agent's answer does to its task and to the agent: the table of docs/agents.md, each row through the whole system.

Each row has a first agent that answers so and a second one that works.  The task goes to the first (equal load, first in order).
"""

import asyncio
import itertools
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.harness.agents import Agents, Answer, HttpAgent, accept, status, succeed
from tests.harness.cluster import Api, Cluster
from tests.harness.processes import wait_for

FINAL, ELSEWHERE, DONE = "final", "elsewhere", "done"
names = itertools.count()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    cluster = Cluster(Path(tmp_path_factory.mktemp("answers")))
    api = cluster.api()
    cluster.worker()
    yield api
    cluster.healthy()
    cluster.close()


def pair(api: Api, agents: Agents, first: Answer) -> tuple[HttpAgent, HttpAgent, dict[str, Any]]:
    """A first agent that answers so, a second that works, and requirements that only these two meet."""
    n = next(names)
    one, two = agents.start(f"{n}-first", first), agents.start(f"{n}-second", succeed)
    for agent in (one, two):
        api.register(agent.name, agent.url, capabilities=[f"row-{n}"])
    return one, two, {"capabilities": [f"row-{n}"]}


def raw(body: bytes, code: int = 200, **headers: str) -> Answer:
    async def answer(_: HttpAgent, __: web.Request, ___: Any) -> web.StreamResponse:
        return web.Response(status=code, body=body, headers={"Content-Type": "application/json", **headers})

    return answer


async def cut(_: HttpAgent, request: web.Request, __: Any) -> web.StreamResponse:
    """Promise more than is sent."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b'{"half":')
    assert request.transport is not None
    request.transport.abort()
    return response


async def reset(_: HttpAgent, request: web.Request, __: Any) -> web.StreamResponse:
    """Read the request, then break the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def drip(header: bool) -> Answer:
    async def answer(_: HttpAgent, request: web.Request, __: Any) -> web.StreamResponse:
        assert request.transport is not None
        write = request.transport.write
        write(b"HTTP/1.1 200 OK\r\n" if header else b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            await asyncio.sleep(0.2)
            write(b"X-A: b\r\n" if header else b" ")
        raise AssertionError("the coordinator waited for a dripping agent")

    return answer


NO, YES = {"X-Task-No-Retry": "true"}, {"X-Task-Retry": "true"}
TABLE: list[tuple[str, Answer, str, str]] = [
    # name, the first agent's answer, what becomes of the task, result or error code
    ("200 with JSON", raw(b'{"x": [1, 2]}'), DONE, '{"x": [1, 2]}'),
    ("200 whatever the content type", raw(b"[]", **{"Content-Type": "text/plain"}), DONE, "[]"),
    ("201 with JSON", raw(b'"made"', 201), DONE, '"made"'),
    ("204", raw(b"", 204), DONE, "null"),
    ("empty 200", raw(b""), DONE, "null"),
    ("another 2xx", raw(b'{"y": 1}', 206), DONE, '{"y": 1}'),
    ("200 that says failed", status(200, {"status": "failed", "error": "no model"}), FINAL, "agent_failed"),
    ("200 that says failed, retryable", status(200, {"status": "failed", "retryable": True}), ELSEWHERE, ""),
    ("424", status(424, {"error": "no model"}), FINAL, "agent_failed"),
    ("424, retryable", status(424, {"retryable": True}), ELSEWHERE, ""),
    *[(str(code), status(code), ELSEWHERE, "") for code in (408, 425, 429, 500, 502, 503, 504, 409, 599)],
    ("503 with Retry-After", status(503, Retry_After="2"), ELSEWHERE, ""),
    ("connection reset", reset, ELSEWHERE, ""),
    *[(str(code), status(code, {"detail": "no"}), FINAL, "agent_refused") for code in (400, 404, 405, 413, 415, 422, 501, 418)],
    ("401", status(401), ELSEWHERE, ""),
    ("403", status(403), ELSEWHERE, ""),
    ("410", status(410), ELSEWHERE, ""),
    ("redirect", status(307, Location="http://127.0.0.1:1/"), FINAL, "redirect_refused"),
    ("not JSON", raw(b"<html>"), FINAL, "invalid_response"),
    ("too big", raw(b'"' + b"x" * (1 << 20) + b'"'), FINAL, "response_too_large"),
    ("cut off", cut, FINAL, "invalid_response"),
    ("500, told not to retry", status(500, None, **NO), FINAL, ""),
    ("400, told to retry", status(400, None, **YES), ELSEWHERE, ""),
    ("both: no retry", status(500, None, **NO, **YES), FINAL, ""),
]


@pytest.mark.parametrize(("answer", "becomes", "what"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_answer(api: Api, agents: Agents, answer: Answer, becomes: str, what: str) -> None:
    one, two, requirements = pair(api, agents, answer)
    task = api.task(api.submit(requirements=requirements), wait=10)
    assert len(one.received) == 1
    if becomes == DONE:
        assert (task["state"], task["result"]) == ("completed", json.loads(what))
    elif becomes == FINAL:
        assert task["state"] == "failed"
        assert task["error"]["agent_id"] == one.name
        assert not what or task["error"]["code"] == what
    else:
        assert (task["state"], task["agent_id"]) == ("completed", two.name)
    assert len(two.received) == (becomes == ELSEWHERE)


@pytest.mark.parametrize("code", [401, 403, 410])
def test_what_the_answer_does_to_the_agent(api: Api, agents: Agents, code: int) -> None:
    one, _, requirements = pair(api, agents, status(code))
    api.task(api.submit(requirements=requirements), wait=10)
    assert api.ok("GET", f"/agents/{one.name}")["agent"]["status"] == ("draining" if code == 410 else "error")


def test_retry_after_delays_that_agent_alone(api: Api, agents: Agents) -> None:
    one, two, requirements = pair(api, agents, status(429, Retry_After="2"))
    api.task(api.submit(requirements=requirements), wait=10)
    assert api.ok("GET", f"/agents/{one.name}")["agent"]["breaker"] == "open"
    for _ in range(5):
        assert api.task(api.submit(requirements=requirements), wait=10)["agent_id"] == two.name
    assert len(one.received) == 1


@pytest.mark.parametrize("header", [True, False], ids=["headers", "body"])
def test_a_dripping_agent_is_cut_off_on_time(api: Api, agents: Agents, header: bool) -> None:
    _, _, requirements = pair(api, agents, drip(header))
    task = api.task(api.submit(requirements=requirements, run_timeout=1.5, max_attempts=1), wait=10)
    assert (task["state"], task["error"]["code"]) == ("failed", "run_timeout")
    began, ended = (_seconds(task["attempts"][0][k]) for k in ("began_at", "ended_at"))
    assert 1.4 < ended - began < 2.0


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def call_back(url: str, token: str, body: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, json.load(answer)


def started(api: Api, agents: Agents) -> tuple[str, dict[str, Any], HttpAgent]:
    """A task that an agent has accepted with 202, and its callback."""
    one, _, requirements = pair(api, agents, accept)
    task_id = api.submit(requirements=requirements)
    wait_for(lambda: one.received, 5)
    return task_id, one.received[0]["callback"], one


def test_202_completes_by_callback(api: Api, agents: Agents) -> None:
    task_id, callback, one = started(api, agents)
    assert api.task(task_id)["state"] == "running"
    code, answer = call_back(callback["progress"], callback["token"], {"percent": 40, "message": "half way"})
    assert (code, answer["cancel"]) == (200, False)
    assert api.task(task_id)["progress"]["percent"] == 40
    assert call_back(callback["complete"], callback["token"], {"result": {"a": 1}})[0] == 200
    task = api.task(task_id)
    assert (task["state"], task["result"], task["agent_id"]) == ("completed", {"a": 1}, one.name)
    # The same again: no change. A different one: conflict.
    assert call_back(callback["complete"], callback["token"], {"result": {"a": 1}})[0] == 200
    assert call_back(callback["complete"], callback["token"], {"result": {"a": 2}})[0] == 409
    assert call_back(callback["fail"], callback["token"], {"error": "late"})[0] == 409
    assert api.task(task_id)["result"] == {"a": 1}
    assert api.ok("GET", f"/agents/{one.name}")["agent"]["active"] == 0


def test_202_fails_by_callback(api: Api, agents: Agents) -> None:
    task_id, callback, _ = started(api, agents)
    assert call_back(callback["fail"], callback["token"], {"error": "no memory"})[0] == 200
    task = api.task(task_id)
    assert (task["state"], task["error"]["code"], task["error"]["message"]) == ("failed", "agent_failed", "no memory")


def test_202_retryable_failure_goes_to_another_agent(api: Api, agents: Agents) -> None:
    task_id, callback, one = started(api, agents)
    assert call_back(callback["fail"], callback["token"], {"error": "busy", "retryable": True})[0] == 200
    task = api.task(task_id, wait=10)
    assert (task["state"], task["agent_id"]) == ("completed", one.name.replace("first", "second"))
    assert call_back(callback["complete"], callback["token"], {"result": 1})[0] in (409, 410)
    assert call_back(callback["progress"], callback["token"], {"percent": 1})[0] == 410


def test_wrong_token_and_unknown_task_look_alike(api: Api, agents: Agents) -> None:
    task_id, callback, _ = started(api, agents)
    wrong = call_back(callback["complete"], "nonsense", {"result": 1})
    unknown = call_back(callback["complete"].replace(task_id, "no-such-task"), callback["token"], {"result": 1})
    assert (wrong[0], unknown[0]) == (404, 404)
    assert wrong[1]["detail"].replace(task_id, "") == unknown[1]["detail"].replace("no-such-task", "")
    assert call_back(callback["complete"], callback["token"], {"result": 1})[0] == 200


def test_the_agent_hears_of_a_cancel(api: Api, agents: Agents) -> None:
    task_id, callback, one = started(api, agents)
    assert api.ok("POST", f"/tasks/{task_id}/cancel")["state"] == "cancelled"
    lease = one.received[0]["lease_id"]
    assert api.ok("POST", f"/agents/{one.name}/heartbeat", {"leases": [lease]})["cancel"] == [lease]
    assert call_back(callback["progress"], callback["token"], {"percent": 50})[1]["cancel"] is True
    assert api.ok("GET", f"/agents/{one.name}")["agent"]["active"] == 1  # counted until it ends
    assert call_back(callback["complete"], callback["token"], {"result": 1})[0] == 200
    assert api.task(task_id)["state"] == "cancelled"
    assert api.ok("GET", f"/agents/{one.name}")["agent"]["active"] == 0


def test_a_callback_may_overtake_its_202(api: Api, agents: Agents) -> None:
    async def hasty(_: HttpAgent, __: web.Request, body: Any) -> web.StreamResponse:
        callback = body["callback"]
        loop = asyncio.get_running_loop()
        code, _answer = await loop.run_in_executor(None, call_back, callback["complete"], callback["token"], {"result": "early"})
        assert code == 200
        return web.json_response({}, status=202)

    _, _, requirements = pair(api, agents, hasty)
    task = api.task(api.submit(requirements=requirements), wait=10)
    assert (task["state"], task["result"]) == ("completed", "early")


def test_a_cancelled_call_is_closed_at_once(api: Api, agents: Agents) -> None:
    async def slow(agent: HttpAgent, _: web.Request, __: Any) -> web.StreamResponse:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            agent.delay = -1  # the coordinator closed the socket
            raise
        return web.Response()

    one, _, requirements = pair(api, agents, slow)
    task_id = api.submit(requirements=requirements)
    wait_for(lambda: one.working, 5)
    api.ok("POST", f"/tasks/{task_id}/cancel")
    wait_for(lambda: one.delay == -1, 2, "the socket to be closed")
    wait_for(lambda: api.ok("GET", f"/agents/{one.name}")["agent"]["active"] == 0, 2)
    assert api.task(task_id)["state"] == "cancelled"
    # By hand again: a new stamp, the same task, one more attempt.
    one.answer = succeed
    one.delay = 0
    api.ok("POST", f"/tasks/{task_id}/retry")
    task = api.task(task_id, wait=10)
    assert task["state"] == "completed"
    assert one.headers[-1]["Idempotency-Key"] == f"{task_id}.r1" or task["agent_id"] != one.name
    assert [a["attempt"] for a in task["attempts"]] == [1, 2]
