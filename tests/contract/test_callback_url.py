"""callback_url of a submit: what is refused, and what is shown."""

import pytest

REFUSED = [
    "",
    "hook",
    "ftp://example.com/",
    "http://user:pw@example.com/",
    "http://example.com/#x",
    "http://example.com:99999/",
    "http://10.0.0.1/",
    "http://192.168.1.1:80/x",
    "http://169.254.169.254/latest/meta-data",
    "http://[fd00:ec2::254]/",
    "http://[::ffff:10.0.0.1]/",
    "http://0x0a000001/",
    "http://10.1/",
    "http://example.com/" + "x" * 2048,
    7,
    ["http://example.com/"],
]


@pytest.mark.parametrize("url", REFUSED, ids=[str(url)[:40] for url in REFUSED])
def test_refused_without_a_trace(client, shaped, keys, url):
    before = keys()
    shaped(client.post("/tasks/submit", json={"task_data": {}, "callback_url": url}), 422)
    (result,) = client.post("/tasks/submit/batch", json={"tasks": [{"task_data": {}, "callback_url": url}]}).json["results"]
    assert result["status"] == 422
    assert keys() == before


@pytest.mark.parametrize("url", ["https://hooks.example.com/a?b=c", "http://127.0.0.1:9/x", "http://no-such-name.example/"])
def test_shown_with_what_became_of_it(client, submit, url):
    task_id = submit(callback_url=url)
    assert client.get(f"/tasks/{task_id}").json["task"]["callback"] == {"url": url, "state": "waiting", "tries": 0, "error": None}
    client.post(f"/tasks/{task_id}/cancel")
    assert client.get(f"/tasks/{task_id}").json["task"]["callback"]["state"] == "due"
    assert client.get("/tasks/queues/stats").json["callbacks"] == {"due": 1, "delivered": 0, "given_up": 0}
    assert client.get(f"/tasks/{submit()}").json["task"]["callback"] is None


def test_an_address_that_is_listed_with_its_port_is_taken_at_that_port(with_settings, shaped):
    client = with_settings(allow_agent_hosts="10.1.2.3:8000")
    assert client.post("/tasks/submit", json={"task_data": {}, "callback_url": "http://10.1.2.3:8000/x"}).status_code == 200
    shaped(client.post("/tasks/submit", json={"task_data": {}, "callback_url": "http://10.1.2.3:8001/x"}), 422)
