"""Tasks and agents belong to the key that made them, ids and idempotency keys too; work goes across owners; the lists stay flat."""

import base64

import pytest

from aitbc.ledger import sweep, tasks
from aitbc.ledger.doctor import violations
from aitbc.ledger.snapshot import Snapshot
from aitbc.model.requirements import Requirements
from aitbc.settings import Settings
from aitbc.web import create_app, keyring
from tests.contract.keyholders import Holder

AGENT = {"agent_id": "a1", "agent_type": "worker", "endpoints": {"http": "http://127.0.0.1:9002"}}
TASK = {"task_data": {"n": 1}}


@pytest.fixture
def sealing(ledger):
    """A client of an API that can keep agents' secrets."""
    settings = Settings(redis_url=ledger.settings.redis_url, secret_key=base64.b64encode(bytes(32)).decode())
    return create_app(settings, ledger).test_client()


@pytest.fixture
def sound(ledger):
    """Afterwards the lists say what the records say."""
    yield
    assert violations(Snapshot(ledger), swept=False) == []


def test_the_owner_is_shown_to_itself_and_to_an_admin(sound, client, ledger):
    mine, admin = Holder(ledger, "submit", "read", "agent"), Holder(ledger, "admin")
    client.post("/agents/register", json=AGENT, headers=mine.headers)
    task_id = client.post("/tasks/submit", json=TASK, headers=mine.headers).json["task_id"]
    for holder in (mine, admin):
        assert client.get("/agents/a1", headers=holder.headers).json["agent"]["owner"] == mine.key_id
        assert client.get(f"/tasks/{task_id}", headers=holder.headers).json["task"]["owner"] == mine.key_id


def test_what_was_there_before_the_keys_is_the_admins(sound, client, ledger, register, submit):
    register("old")
    submit("old")
    holder, admin = Holder(ledger, "submit", "read", "agent"), Holder(ledger, "admin")
    client = create_app(ledger.settings, ledger).test_client()
    for path in ("/tasks/old", "/agents/old"):
        assert client.get(path, headers=holder.headers).status_code == 404
        assert client.get(path, headers=admin.headers).status_code == 200
    assert client.post("/agents/register", json={**AGENT, "agent_id": "old"}, headers=holder.headers).status_code == 200
    assert client.get("/agents/old", headers=holder.headers).json["agent"]["owner"] == holder.key_id, "it was nobody's"


def test_work_goes_across_owners(sound, client, ledger, begin):
    client_, fleet = Holder(ledger, "submit", "read"), Holder(ledger, "agent", "read")
    fleet.agent("theirs")
    task_id = client.post("/tasks/submit", json=TASK, headers=client_.headers).json["task_id"]
    attempt, token = begin(task_id)
    assert attempt.agent_id == "theirs"
    done = client.post(f"/tasks/{task_id}/complete", json={"result": 7}, headers={"Authorization": f"Bearer {token}"})
    assert done.status_code == 200, "the attempt's token is enough"
    task = client.get(f"/tasks/{task_id}", headers=client_.headers).json["task"]
    assert (task["state"], task["result"], task["agent_id"]) == ("completed", 7, "theirs")
    assert client.get("/agents/theirs", headers=client_.headers).status_code == 404
    assert client.get(f"/tasks/{task_id}", headers=fleet.headers).status_code == 404


@pytest.mark.parametrize("header", [{"Idempotency-Key": "k"}, {}])
def test_two_keys_may_say_the_same_and_mean_two_tasks(sound, client, ledger, header):
    one, two = Holder(ledger, "submit", "read"), Holder(ledger, "submit", "read")
    first = client.post("/tasks/submit", json=TASK, headers={**one.headers, **header}).json["task_id"]
    assert client.post("/tasks/submit", json=TASK, headers={**two.headers, **header}).json["task_id"] != first
    if header:
        assert client.post("/tasks/submit", json=TASK, headers={**one.headers, **header}).json["task_id"] == first


def test_an_id_that_another_key_uses_is_taken_even_for_the_same_body(sound, client, ledger, shaped):
    one, two = Holder(ledger, "submit"), Holder(ledger, "submit")
    body = {**TASK, "task_id": "t1"}
    assert [client.post("/tasks/submit", json=body, headers=one.headers).status_code for _ in range(2)] == [200, 200]
    assert "another API key" in shaped(client.post("/tasks/submit", json=body, headers=two.headers), 409)["detail"]
    results = client.post("/tasks/submit/batch", json={"tasks": [body, TASK]}, headers=two.headers).json["results"]
    assert [result["status"] for result in results] == [409, "success"]


def test_another_keys_agent_is_registered_over_with_its_secret_alone(sound, sealing, ledger, shaped):
    one, two, admin = Holder(ledger, "agent", "read"), Holder(ledger, "agent", "read"), Holder(ledger, "admin")

    def register(holder, **more):
        return sealing.post("/agents/register", json={**AGENT, **more}, headers=holder.headers)

    def owner():
        return sealing.get("/agents/a1", headers=admin.headers).json["agent"]["owner"]

    assert register(one, secret="s3cret-s3cret-s3").status_code == 200
    version = sealing.get("/agents/a1", headers=one.headers).json["agent"]["version"]
    for wrong in ({}, {"secret": "guess-guess-guess"}, {"secret": "s3cret-s3cret-s3cr"}):
        assert "another API key" in shaped(register(two, **wrong), 409)["detail"]
    assert sealing.get("/agents/a1", headers=one.headers).json["agent"]["version"] == version, "a refusal changes nothing"
    assert register(one).status_code == 200, "its own key needs no secret"
    assert register(two, secret="s3cret-s3cret-s3").status_code == 409, "it has none any more"
    assert register(one, secret="n3w-n3w-n3w-n3w-").status_code == register(two, secret="n3w-n3w-n3w-n3w-").status_code == 200
    assert owner() == two.key_id
    assert sealing.post("/agents/a1/heartbeat", headers=one.headers).status_code == 404
    assert sealing.get("/agents", headers=one.headers).json["count"] == 0
    assert register(admin, secret="n3w-n3w-n3w-n3w-").status_code == 200
    assert owner() == two.key_id, "an admin's registration leaves the owner"


def test_an_agent_that_goes_leaves_its_owners_list(sound, client, ledger):
    holder = Holder(ledger, "agent", "read")
    client.post("/agents/register", json=AGENT, headers=holder.headers)
    assert client.get("/agents", headers=holder.headers).json["count"] == 1
    client.delete("/agents/a1", headers=holder.headers)
    assert client.get("/agents", headers=holder.headers).json["count"] == 0
    assert not ledger.redis.keys("owner:*")


def test_a_task_that_is_trimmed_leaves_its_owners_list(sound, client, ledger, monkeypatch):
    holder = Holder(ledger, "submit", "read")
    task_id = client.post("/tasks/submit", json=TASK, headers={**holder.headers, "Idempotency-Key": "k"}).json["task_id"]
    client.post(f"/tasks/{task_id}/cancel", headers=holder.headers)
    ledger.redis.zadd("tasks:cancelled", {task_id: 1})  # it ended long ago
    for step in sweep.steps():
        ledger.run(step)
    assert client.get("/tasks", headers=holder.headers).json["count"] == 0
    assert not [*ledger.redis.keys("owner:*"), *ledger.redis.keys("idempotency:*"), *ledger.redis.keys("task:*")]


def test_pages_and_filters_are_of_ones_own_tasks(sound, client, ledger):
    mine, stranger = Holder(ledger, "read"), Holder(ledger, "read")
    for n in range(25):
        for holder in (mine, stranger):
            holder.task(f"{holder.key_id}-{n}", cancelled=n % 2 == 0)
    seen, cursor = [], None
    while True:
        query = {"limit": 4, "state": "cancelled", **({"cursor": cursor} if cursor else {})}
        answer = client.get("/tasks", query_string=query, headers=mine.headers).json
        seen += [task["task_id"] for task in answer["tasks"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"{mine.key_id}-{n}" for n in range(24, -1, -2)]


def test_a_list_of_ones_own_costs_what_it_shows_and_not_what_others_have(client, ledger, monkeypatch):
    """L6, by Redis's own count of commands."""
    monkeypatch.setattr(keyring, "CACHE_SECONDS", 600.0)
    mine, stranger = Holder(ledger, "read", "submit"), Holder(ledger, "read")
    mine.task(requirements=Requirements(capabilities=("none has it",))), mine.agent()

    def commands():
        return sum(told["calls"] for name, told in ledger.redis.info("commandstats").items() if name != "cmdstat_info")

    def cost(method, path, **more):
        before = commands()
        answer = client.open(path, method=method, headers=mine.headers, **more)
        assert answer.json["count"] == 1
        return commands() - before

    lists = [("GET", "/tasks"), ("GET", "/tasks?state=queued"), ("GET", "/agents"), ("GET", "/agents/capability/c")]
    before = [cost(*call) for call in [*lists, *lists]][len(lists) :]
    for _ in range(300):
        stranger.task(), stranger.agent()
    assert [cost(*call) for call in lists] == before


def test_a_submit_without_a_key_writes_nothing_for_owners(client, ledger, submit):
    before = ledger.run(tasks.stats())
    assert before.begun == 0
    submit("t1")
    assert not ledger.redis.hexists("task:t1", "owner")
    assert not [*ledger.redis.keys("owner:*"), *ledger.redis.keys("audit:*"), *ledger.redis.keys("limit:*")]


def test_weights_of_others_agents_are_not_told(client, ledger):
    fleet = Holder(ledger, "agent", "read")
    client.post("/agents/register", json={**AGENT, "weight": 2.0}, headers=fleet.headers)
    for path, pick in (("/load-balancer/stats", lambda s: s), ("/tasks/status", lambda s: s["load_balancer_stats"])):
        told = [client.get(path, headers=holder.headers).json["stats"] for holder in (Holder(ledger, "read"), Holder(ledger, "admin"))]
        assert [pick(stats)["agent_weights"] for stats in told] == [{}, {"a1": 2.0}]
