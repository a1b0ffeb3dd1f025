"""API keys: when they are needed, what a bad one is told, how long a process believes in one, what a rotation leaves good."""

import json
import random
import threading
import time

import pytest

from aitbc.ledger import access
from aitbc.model.access import key_digest, new_key_text
from aitbc.web import keyring
from tests.contract.keyholders import ADMIN_KEY, Holder
from tests.harness.processes import wait_for

TASK = {"task_data": {}}


@pytest.fixture
def soon(monkeypatch):
    """What a process remembers of keys, it remembers for a moment only."""
    monkeypatch.setattr(keyring, "CACHE_SECONDS", 0.2)


def ask(client, text, path="/tasks"):
    return client.get(path, headers={"Authorization": f"Bearer {text}"} if text else {})


def test_on_loopback_keys_are_needed_as_soon_as_there_is_one(soon, client, ledger, shaped):
    assert client.get("/tasks").status_code == 200
    reader = Holder(ledger, "read")
    wait_for(lambda: client.get("/tasks").status_code == 401, 5, "the first key to be noticed")
    assert ask(client, reader.text).status_code == 200
    ledger.run(access.revoke_key(reader.key, "test"))
    wait_for(lambda: ask(client, reader.text).status_code == 401, 5, "the revocation to be noticed")
    assert "scope read" in shaped(client.get("/tasks"), 401)["detail"], "the last key is gone, and the API does not open again"


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::"])
def test_off_loopback_keys_are_needed_even_when_there_are_none(ledger, with_settings, shaped, host):
    closed = with_settings(host=host)
    shaped(closed.get("/tasks"), 401)
    assert closed.get("/health").status_code == 200
    assert with_settings(host=host, auth="off").get("/tasks").status_code == 200


EVIL = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1.evil.example:9001"},
    {"Origin": "http://10.1.2.3"},
    {"Host": "evil.example:9001"},
    {"Host": "localhost.evil.example"},
    {"Host": "["},
    {"Host": "[fd00::1]:9001"},
]


@pytest.mark.parametrize("sent", EVIL, ids=str)
def test_web_pages_do_not_come_in_through_a_browser_on_loopback(client, ledger, keys, shaped, sent):
    """A page may POST a form or text/plain anywhere; a name of its own may lead to 127.0.0.1."""
    agent = {"agent_id": "thief", "agent_type": "worker", "endpoints": {"http": "http://127.0.0.1:9002"}}
    told = client.post("/agents/register", data=json.dumps(agent), headers={"Content-Type": "text/plain", **sent})
    assert f"the {next(iter(sent))} header" in shaped(told, 403)["detail"]
    shaped(client.get("/v1/tasks", headers=sent), 403)
    assert keys() == []
    assert client.get("/health", headers=sent).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [{"Host": host} for host in ("localhost:9001", "127.0.0.1:9001", "127.3.2.1", "[::1]:9001", "api.example:80", "coordinator:9001")]
    + [{"Origin": "http://localhost:3000"}, {"Origin": "https://api.example"}],
    ids=str,
)
def test_what_is_of_this_machine_comes_in_on_loopback(with_settings, sent):
    assert with_settings(public_url="https://api.example/x").get("/tasks", headers=sent).status_code == 200


def test_a_revoked_key_hears_no_more_of_a_stream_that_is_open(soon, client, ledger):
    admin, other = Holder(ledger, "admin"), Holder(ledger, "admin")
    streams = [client.get("/events", headers=holder.headers) for holder in (admin, other)]
    pieces = [stream.iter_encoded() for stream in streams]
    for each in pieces:
        assert next(each).startswith(b"retry:")
    other.task("before", cancelled=True)
    assert all(b"before" in next(each) for each in pieces)
    ledger.run(access.revoke_key(admin.key, "test"))
    time.sleep(0.3)
    other.task("after", cancelled=True)
    assert b"after" in next(pieces[1])
    assert next(pieces[0], b"") == b""
    for stream in streams:
        stream.close()


def test_who_waits_with_a_key_that_ends_is_told_nothing(soon, client, ledger, shaped):
    mine = Holder(ledger, "read")
    mine.task("t1", delay=60)
    threading.Timer(0.3, ledger.run, (access.revoke_key(mine.key, "test"),)).start()
    shaped(client.get("/tasks/t1?wait=1", headers=mine.headers), 401)


def test_what_is_known_of_a_key_is_as_old_as_the_question(ledger):
    holder, ring = Holder(ledger, "read"), keyring.Keyring(ledger.settings)

    def run(step):
        time.sleep(0.3)
        return ledger.run(step)

    asked = time.monotonic()
    assert ring.caller(holder.text, run)
    (known,) = ring._known.values()
    assert known.until < asked + keyring.CACHE_SECONDS + 0.2


def test_with_a_key_and_with_auth_off_any_name_will_do(client, with_settings, ledger):
    sent = {"Host": "evil.example", "Origin": "https://evil.example"}
    assert with_settings(auth="off").get("/tasks", headers=sent).status_code == 200
    assert client.get("/tasks", headers={**sent, **Holder(ledger, "read").headers}).status_code == 200


def test_the_admin_key_of_the_settings_has_no_entry_in_redis(with_settings, ledger, keys):
    ours = with_settings(admin_key=ADMIN_KEY)
    assert ours.get("/tasks").status_code == 401
    switch = ours.put("/load-balancer/strategy?strategy=round_robin", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert (ask(ours, ADMIN_KEY).status_code, switch.status_code) == (200, 200)
    assert ask(ours, ADMIN_KEY[:-1] + "b").status_code == 401
    assert not ledger.redis.exists("apikeys")


def test_auth_off_asks_nobody_even_when_there_are_keys(with_settings, ledger):
    Holder(ledger, "read")
    assert with_settings(auth="off").post("/tasks/submit", json=TASK).status_code == 200


@pytest.mark.parametrize(
    "sent",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x", "Bearer aitbc_0_1", "Bearer \xe4", f"Bearer {ADMIN_KEY}", "Bearer a, Bearer b"],
)
def test_what_is_no_key_is_401(client, ledger, shaped, sent):
    Holder(ledger, "read")
    answer = client.get("/tasks", headers={"Authorization": sent} if sent else {})
    detail = shaped(answer, 401)["detail"]
    assert "scope read" in detail
    with_key = sent.startswith("Bearer ") and sent.strip() != "Bearer"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="aitbc"' + (', error="invalid_token"' if with_key else "")
    assert ("not valid" in detail) is with_key
    assert client.get("/tasks?api_key=" + "x").status_code == 401
    assert client.open("/tasks", method="OPTIONS").status_code == 401
    assert client.get("/no/such/path").status_code == 404


def test_a_key_ends_when_it_expires(soon, client, ledger):
    now = ledger.run(access.read_key("")).now
    short = Holder(ledger, "read", expires=now + 1_500_000)
    assert ask(client, short.text).status_code == 200
    wait_for(lambda: ask(client, short.text).status_code == 401, 5, "its end")
    assert ledger.run(access.read_key("")).now >= now + 1_500_000
    assert Holder(ledger, "read", expires=now - 1).key.expires < now
    assert ask(client, Holder(ledger, "read", expires=now - 1).text).status_code == 401


def test_a_rotation_leaves_the_old_text_good_for_a_while_and_the_owner_the_same(soon, client, ledger):
    holder = Holder(ledger, "read", "submit")
    assert client.post("/tasks/submit", json={**TASK, "task_id": "mine"}, headers=holder.headers).status_code == 200
    old, new = holder.text, new_key_text(holder.key_id)
    now = ledger.run(access.read_key("")).now
    ledger.run(access.rotate_key(holder.key, key_digest(new), now, 1.5, "test"))
    assert [ask(client, text, "/tasks/mine").status_code for text in (old, new)] == [200, 200]
    wait_for(lambda: ask(client, old, "/tasks/mine").status_code == 401, 5, "the end of the overlap")
    assert ask(client, new, "/tasks/mine").status_code == 200
    newest = new_key_text(holder.key_id)
    ledger.run(access.rotate_key(holder.key, key_digest(newest), now, 0, "test"))
    wait_for(lambda: ask(client, new).status_code == 401, 5, "no overlap")
    assert ask(client, newest, "/tasks/mine").status_code == 200


def test_a_change_of_a_key_that_has_changed_is_refused(ledger):
    from aitbc.errors import Conflict

    holder = Holder(ledger, "read")
    before = holder.key
    ledger.run(access.rotate_key(before, key_digest("x"), 1, 0, "test"))
    ledger.run(access.rotate_key(before, key_digest("x"), 1, 0, "test"))  # the same once more: its reply was lost
    with pytest.raises(Conflict, match="changed by somebody else"):
        ledger.run(access.revoke_key(before, "test"))


def test_a_key_that_is_known_costs_no_trip_and_a_submit_is_one(client, ledger, monkeypatch):
    """The note of the audit stream goes in the trip of the submit."""
    monkeypatch.setattr(keyring, "CACHE_SECONDS", 600.0)
    holder = Holder(ledger, "submit")
    client.post("/tasks/submit", json=TASK, headers=holder.headers)
    trips, exchange = [], ledger._convoy._exchange
    monkeypatch.setattr(ledger._convoy, "_exchange", lambda calls: (trips.append(len(calls)), exchange(calls)))
    assert {client.post("/tasks/submit", json=TASK, headers=holder.headers).status_code for _ in range(20)} == {200}
    assert trips == [1] * 20


def test_without_keys_a_submit_is_one_trip_too(client, ledger, monkeypatch):
    monkeypatch.setattr(keyring, "CACHE_SECONDS", 600.0)
    client.post("/tasks/submit", json=TASK)
    trips, exchange = [], ledger._convoy._exchange
    monkeypatch.setattr(ledger._convoy, "_exchange", lambda calls: (trips.append(len(calls)), exchange(calls)))
    assert {client.post("/tasks/submit", json=TASK).status_code for _ in range(20)} == {200}
    assert trips == [1] * 20


def test_what_a_process_remembers_is_bounded(app, client, ledger, monkeypatch):
    known = app.extensions["aitbc"].keyring._known
    monkeypatch.setattr(known, "most", 3)
    for holder in [Holder(ledger, "read") for _ in range(5)]:
        assert ask(client, holder.text).status_code == 200
        assert ask(client, holder.text[:-1] + "!").status_code == ask(client, new_key_text("00")).status_code == 401
    assert len(known) == 3


def test_an_outage_is_503_and_a_known_key_lives_through_it_for_its_seconds(client, ledger, monkeypatch, shaped):
    from aitbc.errors import LedgerAway

    holder = Holder(ledger, "read")
    assert ask(client, holder.text).status_code == 200

    def away(*_args):
        raise LedgerAway("the ledger (Redis) does not answer", retry_after=2)

    monkeypatch.setattr(ledger, "run", away)
    shaped(ask(client, new_key_text("1")), 503)
    shaped(ask(client, holder.text), 503)
    assert client.get("/health").status_code == 200


def test_there_is_an_end_to_the_number_of_keys(ledger):
    from aitbc.errors import Full
    from aitbc.ledger.scripts import MAX_API_KEYS

    ledger.redis.hset("apikeys", mapping={str(n): "{}" for n in range(MAX_API_KEYS)})
    with pytest.raises(Full, match="too many API keys"):
        Holder(ledger, "read")


def outranks(ones, others):
    """How often one of these took longer than one of those: 0.5 when nothing tells them apart, whatever the machine's speed."""
    ranked = sorted([(took, 1) for took in ones] + [(took, 0) for took in others])
    total = sum(place for place, (_, mine) in enumerate(ranked, start=1) if mine)
    return (total - len(ones) * (len(ones) + 1) / 2) / (len(ones) * len(others))


def test_the_time_to_refuse_does_not_tell_a_wrong_key_from_an_unknown_one(client, ledger):
    """By ranks, in random order: 400 each, so chance alone moves the share by 0.02. The same test does see a difference that is there."""
    holder = Holder(ledger, "read")
    assert ask(client, holder.text).status_code == 200
    kinds = {"wrong": lambda: new_key_text(holder.key_id), "unknown": lambda: new_key_text("f" * 12), "lacking": lambda: holder.text}
    took = {kind: [] for kind in kinds}
    order = [kind for kind in kinds for _ in range(400)]
    random.Random(7).shuffle(order)
    for kind in order:
        text = kinds[kind]()
        began = time.perf_counter()
        status = client.post("/tasks/submit", json=TASK, headers={"Authorization": f"Bearer {text}"}).status_code
        took[kind].append(time.perf_counter() - began)
        assert status == (403 if kind == "lacking" else 401)
    share = outranks(took["wrong"], took["unknown"])
    assert 0.4 < share < 0.6, f"a wrong key takes longer than an unknown one in {share:.0%}"
    assert outranks(took["wrong"], took["lacking"]) > 0.6, "the ledger is not asked about a key that is known"
