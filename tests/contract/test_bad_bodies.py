"""Bodies, fields and ids that a submit refuses: never with a 500, and nothing is stored."""

import json

import pytest

TASK = {"task_data": {}}
AGENT = {"agent_id": "a", "agent_type": "worker"}
DEEP = b'{"task_data":' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}"


BYTES = [
    (b"{", 400),
    (b"nul", 400),
    (b'{"task_data":{"a":NaN}}', 400),
    (b'{"task_data":{"a":-Infinity}}', 400),
    (b'{"task_data":{"a":1e400}}', 400),
    (b'{"task_data":{"a":' + b"9" * 5000 + b"}}", 400),
    (b'{"task_data":{"a":"\\ud800"}}', 400),
    (b'{"task_data":{"\\udfff":1}}', 400),
    (b'{"task_data":{"a":"\xed\xa0\x80"}}', 400),
    (b'{"task_data":{"a":"\xff"}}', 400),
    (b'\xef\xbb\xbf{"task_data":{}}', 400),
    ('{"task_data":{}}'.encode("utf-16"), 400),
    (b'{"task_data":{}}{}', 400),
    (DEEP, 400),
    (b'{"task_data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    (b"[" * 100_000, 400),
    (b"", 422),
    (b"null", 422),
    (b"[]", 422),
    (b'"{\\"task_data\\":{}}"', 422),
    (b"7", 422),
    (b"true", 422),
]


@pytest.mark.parametrize(("raw", "status"), BYTES, ids=[repr(raw[:24]) for raw, _ in BYTES])
def test_bytes_that_are_no_body(shaped, client, keys, raw, status):
    before = keys()
    shaped(client.post("/tasks/submit", data=raw, content_type="application/json"), status)
    assert keys() == before


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", None]
)
def test_the_bytes_decide_not_the_content_type(client, content_type):
    answer = client.post("/tasks/submit", data='{"task_data":{"a":"ä"}}'.encode(), content_type=content_type)
    assert answer.status_code == 200


def test_whole_surrogate_pairs_and_sixty_four_levels_pass(client):
    assert client.post("/tasks/submit", data=b'{"task_data":{"a":"\\ud83d\\ude00"}}').status_code == 200
    assert client.post("/tasks/submit", data=DEEP.replace(b'{"a":', b"", 1).replace(b"}", b"", 1)).status_code == 200


FIELDS = [
    ({}, "/task_data"),
    ({"task_data": None}, "/task_data"),
    ({"task_data": []}, "/task_data"),
    ({"task_data": "x"}, "/task_data"),
    ({**TASK, "priority": 3}, "/priority"),
    ({**TASK, "priority": ["high"]}, "/priority"),
    ({**TASK, "requirements": []}, "/requirements"),
    ({**TASK, "requirements": {"agent_type": "wizard"}}, "/requirements/agent_type"),
    ({**TASK, "requirements": {"capabilities": "x"}}, "/requirements/capabilities"),
    ({**TASK, "requirements": {"capabilities": ["a\nb"]}}, "/requirements/capabilities/0"),
    ({**TASK, "requirements": {"capabilities": ["x" * 65]}}, "/requirements/capabilities/0"),
    ({**TASK, "requirements": {"tags": [""]}}, "/requirements/tags/0"),
    ({**TASK, "requirements": {"tags": [str(n) for n in range(17)]}}, "/requirements/tags"),
    ({**TASK, "requirements": {"tags": [str(n) for n in range(16)], "agent_type": "worker"}}, "/requirements"),
    ({**TASK, "requirements": {"min_health_score": 1.1}}, "/requirements/min_health_score"),
    ({**TASK, "max_attempts": 0}, "/max_attempts"),
    ({**TASK, "max_attempts": 51}, "/max_attempts"),
    ({**TASK, "max_attempts": 2**63}, "/max_attempts"),
    ({**TASK, "max_attempts": "3"}, "/max_attempts"),
    ({**TASK, "max_attempts": True}, "/max_attempts"),
    ({**TASK, "run_timeout": 0}, "/run_timeout"),
    ({**TASK, "run_timeout": -1}, "/run_timeout"),
    ({**TASK, "run_timeout": 86_401}, "/run_timeout"),
    ({**TASK, "run_timeout": "30s"}, "/run_timeout"),
    ({**TASK, "run_timeout": 10**400}, "/run_timeout"),
    ({**TASK, "queue_timeout": 0}, "/queue_timeout"),
    ({**TASK, "delay": -1}, "/delay"),
    ({**TASK, "delay": 1e300}, "/delay"),
    ({**TASK, "run_at": "2099-01-01T00:00:00"}, "/run_at"),
    ({**TASK, "run_at": "0000-01-01T00:00:00Z"}, "/run_at"),
    ({**TASK, "run_at": "0001-01-01T00:00:00+14:00"}, "/run_at"),
    ({**TASK, "run_at": "9999-12-31T23:59:59-14:00"}, "/run_at"),
    ({**TASK, "run_at": -1}, "/run_at"),
    ({**TASK, "run_at": True}, "/run_at"),
    ({**TASK, "run_at": 1, "delay": 1}, ""),
    ({**TASK, "idempotent": "yes"}, "/idempotent"),
    ({"task_data": {"task_id": "a"}, "task_id": "b"}, ""),
    ({"task_data": {"task_id": "a b"}}, ""),
]


@pytest.mark.parametrize(("body", "pointer"), FIELDS, ids=[json.dumps(body)[:60] for body, _ in FIELDS])
def test_wrong_fields_are_named(shaped, client, keys, body, pointer):
    before = keys()
    problem = shaped(client.post("/tasks/submit", json=body), 422)
    assert problem["errors"][0]["pointer"] == pointer
    assert keys() == before


IDS = [
    "",
    "x" * 129,
    "a b",
    "a/b",
    "../x",
    "a:1",
    "a\r\nb",
    "a\0b",
    "\u202egpj",
    "a\u200b",
    "agent:*",
    "ä",
    "<b>",
    "\x1b[31m",
    *("status", "dead", ".", ".."),
]


@pytest.mark.parametrize("name", IDS, ids=ascii)
def test_ids_of_another_form(shaped, client, keys, name):
    before = keys()
    shaped(client.post("/tasks/submit", json={**TASK, "task_id": name}), 422)
    shaped(client.post("/tasks/submit", json={"task_data": {"task_id": name}}), 422)
    shaped(client.post("/agents/register", json={**AGENT, "agent_id": name}), 422)
    assert keys() == before


@pytest.mark.parametrize("name", ["x" * 128, "__proto__", "A.b_c~d-9", "0"])
def test_ids_of_the_form_pass(client, name):
    assert client.post("/tasks/submit", json={**TASK, "task_id": name}).json["task_id"] == name
    assert client.post("/agents/register", json={**AGENT, "agent_id": name}).json["agent_id"] == name


@pytest.mark.parametrize("name", ["x" * 5000, "a%0d%0ab", "a%00b", "%ff", "agent:*", "a%20b", "%2e%2e", "*", "%E2%80%AE"])
@pytest.mark.parametrize("path", ["/tasks/{}", "/agents/{}", "/tasks/{}/cancel", "/tasks/{}/complete", "/agents/{}/drain"])
def test_paths_with_impossible_ids_are_not_found(shaped, client, name, path):
    method = client.post if path.count("/") == 3 else client.get
    problem = shaped(method(path.format(name)), 404)
    assert "not found" in problem["message"]
