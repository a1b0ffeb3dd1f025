"""An agent for real: over HTTP, registered at a stand-in of the coordinator."""

import base64
import http.client
import json
import logging
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aitbc.agent import Agent, WorkFailed, current
from aitbc.dispatch.signing import sign
from aitbc.errors import Misconfigured

REGISTERED = (200, {"status": "success", "message": "ok"})


@pytest.fixture
def known(coordinator):
    """A coordinator that takes everybody."""
    coordinator.on("POST", "/agents/register", REGISTERED)
    coordinator.on("POST", "/agents/[^/]+/heartbeat", (200, {"status": "success", "drain": False, "cancel": [], "unknown": []}))
    coordinator.on("DELETE", "/agents/[^/]+", (200, {"status": "success"}))
    return coordinator


@pytest.fixture
def start(known):
    """Start an agent with this handler."""
    agents = []

    def start_agent(handler, agent_id="a1", **about):
        agent = Agent(agent_id, known.url, handler, **about)
        agents.append(agent)
        agent.start(wait=10)
        return agent

    yield start_agent
    for agent in agents:
        agent.stop(grace=0.5)


def post(agent, task_data=None, *, connection=None, path="/tasks/execute", raw=None, **headers):
    """POST a task as the coordinator does: status, body, headers."""
    own = connection or http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    body = raw if raw is not None else json.dumps({"task_id": "t1", "attempt": 1, "priority": "high", "task_data": task_data})
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        own.request("POST", path, body, sent)
        answer = own.getresponse()
        text = answer.read()
    finally:
        if not connection:
            own.close()
    return answer.status, json.loads(text), answer.headers


def test_registers_works_and_leaves(known, start):
    agent = start(lambda data: {"sum": data["a"] + data["b"]}, capabilities=["sums"], services=["s"], max_concurrency=3)
    assert agent.registered
    [(_, _, body)] = [call for call in known.calls if call[1] == "/agents/register"]
    assert body["endpoints"] == {"http": f"http://127.0.0.1:{agent.port}"}
    assert (body["capabilities"], body["services"], body["max_concurrency"]) == (["sums"], ["s"], 3)
    assert body["instance_id"]
    assert post(agent, {"a": 1, "b": 2})[:2] == (200, {"sum": 3})
    agent.stop()
    assert known.count("DELETE", "/agents/a1") == 1
    with pytest.raises(ConnectionRefusedError):
        post(agent, {})


def test_the_connection_is_kept(start):
    agent = start(lambda data: data)
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    connection.connect()
    first = connection.sock
    for n in range(3):
        assert post(agent, n, connection=connection)[:2] == (200, n)
    assert connection.sock is first
    connection.close()


def test_the_handler_knows_its_attempt(start):
    seen = []
    agent = start(lambda _: seen.append(current()))
    post(agent, {}, X_Task_Timeout="2.5", X_Task_Attempt="3")
    [execution] = seen
    assert (execution.task_id, execution.attempt, execution.timeout, execution.priority) == ("t1", 3, 2.5, "high")


def _fail(_):
    raise WorkFailed("no paper", retryable=True)


def test_a_failure_is_424(start):
    agent = start(_fail)
    assert post(agent, {})[:2] == (424, {"status": "failed", "error": "no paper", "retryable": True})


@pytest.mark.parametrize(
    ("case", "status"),
    [({"raw": "{"}, 400), ({"raw": "[]"}, 400), ({"raw": "{}"}, 400), ({"path": "/other"}, 404), ({"raw": b"x" * (5 << 20)}, 413)],
)
def test_what_is_no_task(start, case, status):
    agent = start(lambda data: data)
    try:
        assert post(agent, **case)[0] == status
    except (BrokenPipeError, ConnectionResetError):  # it hung up on the large body, as it may
        assert status == 413
    assert post(agent, 1)[0] == 200


def test_a_body_without_length(start):
    agent = start(lambda data: data)
    with socket.create_connection(("127.0.0.1", agent.port), 5) as raw:
        raw.sendall(b"POST /tasks/execute HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 411 ")


def test_with_a_secret_only_the_coordinator_is_heard(known, start):
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    agent = start(lambda data: data, secret=secret)
    assert known.calls[0][2]["secret"] == secret
    raw, now = json.dumps({"task_data": 1}), int(time.time())

    def signed(at=now, key=secret, body=raw):
        signature = f"v1,other {sign(key, 't1', at, body.encode())}"
        return {"raw": raw, "webhook_id": "t1", "webhook_timestamp": str(at), "webhook_signature": signature}

    assert post(agent, **signed())[:2] == (200, 1)
    assert post(agent, raw=raw)[0] == 401
    for wrong in (signed(at=now - 400), signed(key="other"), signed(body=raw + " "), {**signed(), "webhook_timestamp": "x"}):
        assert post(agent, **wrong)[0] == 401


def test_a_secret_that_is_none():
    with pytest.raises(Misconfigured, match="goes on in base64"):
        Agent("a", secret="whsec_§")


def test_health(start):
    agent = start(lambda data: data, max_concurrency=4)
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=5)
    for path, status in (("/health", 200), ("/other", 404)):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == status
        assert status != 200 or body == {"status": "healthy", "agent_id": "a1", "running": 0, "max_concurrency": 4}
    connection.close()


def test_repeats_and_slots(start, eventually):
    go, runs = threading.Event(), []

    def work(data):
        runs.append(data)
        go.wait(10)
        return len(runs)

    agent = start(work, max_concurrency=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, agent, 1, Idempotency_Key="k")
        eventually(lambda: runs)
        assert post(agent, 1, Idempotency_Key="k")[0] == 409
        status, _, headers = post(agent, 2, Idempotency_Key="k2")
        assert (status, headers["Retry-After"]) == (503, "1")
        go.set()
        assert first.result()[:2] == (200, 1)
    assert post(agent, 1, Idempotency_Key="k")[:2] == (200, 1)
    assert runs == [1]


def test_the_slot_is_free_once_the_answer_is_there(start):
    """Given one slot, a coordinator that sends the next task the moment it has the answer is never refused."""
    agent = start(lambda data: data, max_concurrency=1)
    connections = [http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10) for _ in range(2)]
    assert [post(agent, n, connection=connections[n % 2])[0] for n in range(300)] == [200] * 300
    for connection in connections:
        connection.close()


def test_a_closed_connection_means_nobody_waits(start, eventually):
    seen = []

    def work(_):
        execution = current()
        seen.append(execution.abandoned())
        while not execution.abandoned():
            time.sleep(0.01)
        seen.append(True)

    agent = start(work)
    with socket.create_connection(("127.0.0.1", agent.port), 5) as raw:
        body = b'{"task_data": {}}'
        raw.sendall(b"POST /tasks/execute HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        eventually(lambda: seen)
    eventually(lambda: seen == [False, True])


def test_stop_waits_for_running_work_then_abandons_it(start, eventually):
    ended = []

    def work(data):
        while not current().abandoned() and time.monotonic() < data["until"]:
            time.sleep(0.01)
        ended.append("abandoned" if current().abandoned() else "done")

    agent = start(work)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(post, agent, {"until": time.monotonic() + 0.5})
        eventually(lambda: agent._desk.running)
        agent.stop(grace=5)
        assert call.result()[0] == 200
    agent.start(wait=5)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(post, agent, {"until": time.monotonic() + 60})
        eventually(lambda: agent._desk.running)
        agent.stop(grace=0.1)
        assert call.exception() is not None or call.result()[0] == 200
    eventually(lambda: ended == ["done", "abandoned"])


def test_heartbeats_and_registers_again_when_forgotten(known, start, eventually):
    heard = (200, {"status": "success"})
    known.on("POST", "/agents/a1/heartbeat", heard, known.problem(404, "Agent a1 not found"), heard)
    start(lambda data: data, heartbeat_timeout=0.15)
    eventually(lambda: known.count("POST", "/agents/register") == 2)
    eventually(lambda: known.count("POST", "/agents/a1/heartbeat") >= 4)
    beat = next(call for call in known.calls if call[1].endswith("heartbeat"))
    assert beat[2] == {"load_metrics": {"queue": 0.0}}


def test_no_heartbeats_when_none_are_wanted(known, start):
    start(lambda data: data, heartbeat_timeout=0)
    time.sleep(0.3)
    assert not known.count("POST", ".*heartbeat")


def test_waits_for_a_coordinator_that_is_not_there_yet(known, start, eventually):
    known.down()
    agent = Agent("late", known.url, lambda data: data)
    agent.start()
    try:
        time.sleep(0.3)
        assert not agent.registered
        known.on("POST", "/agents/register", known.problem(503, "Redis away"), REGISTERED)
        known.up()
        eventually(lambda: agent.registered)
        assert known.count("POST", "/agents/register") == 2
        known.down()
    finally:
        agent.stop()  # one that cannot deregister ends all the same


def test_a_refused_registration_is_told(known):
    known.on("POST", "/agents/register", known.problem(422, "capabilities: at most 64 characters"))
    agent = Agent("odd", known.url, lambda data: data)
    with pytest.raises(Misconfigured, match="The coordinator refuses agent odd: capabilities: at most 64 characters"):
        agent.start(wait=10)
    agent.stop()
    assert not known.count("DELETE", ".*")
    with pytest.raises(Misconfigured, match="refuses agent odd"):
        agent.run()


def test_what_cannot_start(known, start):
    agent = start(lambda data: data)
    with pytest.raises(Misconfigured, match=f"cannot listen on 127.0.0.1 port {agent.port}: Address already in use"):
        start(lambda data: data, port=agent.port)
    with pytest.raises(Misconfigured, match="has no function to call"):
        Agent("idle", known.url).start()
    with pytest.raises(Misconfigured, match="coordinator='nowhere'"):
        start_nowhere()


def start_nowhere():
    agent = Agent("lost", "nowhere", lambda data: data)
    try:
        agent.start()
    finally:
        agent.stop()


TEN_LINES = """
import sys
from aitbc.agent import Agent

agent = Agent("worder", sys.argv[1], port=int(sys.argv[2]))

@agent.task
def count(task_data):
    return {"words": len(task_data["text"].split())}

agent.run()
"""


def test_ten_lines_until_sigterm(known, spawn, python, eventually, tmp_path):
    script = tmp_path / "worder.py"
    script.write_text(TEN_LINES)
    process = spawn(python, str(script), known.url, "0")
    eventually(lambda: known.count("POST", "/agents/register"))
    port = int(known.calls[0][2]["endpoints"]["http"].rpartition(":")[2])
    agent = type("Where", (), {"port": port})
    assert post(agent, {"text": "a b c"})[:2] == (200, {"words": 3})
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert known.count("DELETE", "/agents/worder") == 1


@pytest.fixture
def exec_agent(known, spawn, python, eventually):
    """`aitbc agent --exec` for real: its process and a place to post to."""

    def start_exec(command, *options):
        process = spawn(python, "-m", "aitbc", "agent", "--exec", command, "--id", "exec-1", "--url", known.url, *options)
        eventually(lambda: known.count("POST", "/agents/register"))
        port = int(known.calls[-1][2]["endpoints"]["http"].rpartition(":")[2])
        return process, type("Where", (), {"port": port})

    return start_exec


SCRIPT = """
case "$(cat)" in
  *echo*) printf '{"id": "%s", "attempt": %s}' "$AITBC_TASK_ID" "$AITBC_ATTEMPT" ;;
  *nothing*) ;;
  *fail*) echo "half way" >&2; echo "no paper" >&2; exit 3 ;;
  *prose*) echo hello ;;
  *much*) yes "$(printf %1000s)" | head -c 2000000 ;;
  *signal*) kill -SEGV $$ ;;
  *slow*) sleep 60 & echo $! > "$PIDS"; wait ;;
esac
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "work.sh"
    path.write_text(SCRIPT)
    monkeypatch.setenv("PIDS", str(tmp_path / "pid"))
    return f"sh {path}"


def test_exec(exec_agent, script, known):
    process, where = exec_agent(script, "--capability", "shell", "--max-concurrency", "2")
    body = known.calls[0][2]
    assert (body["agent_id"], body["capabilities"], body["max_concurrency"]) == ("exec-1", ["shell"], 2)
    assert post(where, "echo", X_Task_Attempt="2")[:2] == (200, {"id": "t1", "attempt": 2})
    assert post(where, "nothing")[:2] == (200, None)
    assert post(where, "fail")[:2] == (
        424,
        {"status": "failed", "error": "the command ended with exit code 3: half way\nno paper", "retryable": False},
    )
    assert post(where, "signal")[1]["error"] == "the command was ended by signal 11"
    assert "printed no JSON" in post(where, "prose")[1]["error"]
    assert "printed more than 1048576 bytes" in post(where, "much")[1]["error"]
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 0
    assert known.count("DELETE", "/agents/exec-1") == 1


def _gone(pid_file):
    from pathlib import Path

    pid = pid_file.read_text().strip()
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] == "Z"


def test_exec_kills_the_whole_group_when_time_is_up(exec_agent, script, tmp_path, eventually):
    _, where = exec_agent(script)
    begin = time.monotonic()
    status, body, _ = post(where, "slow", X_Task_Timeout="0.5")
    assert (status, body["retryable"]) == (424, True)
    assert body["error"] == "the command was killed: it ran for longer than 0.5 s"
    assert time.monotonic() - begin < 5
    eventually(lambda: _gone(tmp_path / "pid"))


def test_exec_kills_the_whole_group_on_cancel_and_at_its_end(exec_agent, script, tmp_path, eventually):
    process, where = exec_agent(script)
    body = b'{"task_data": "slow"}'
    with socket.create_connection(("127.0.0.1", where.port), 5) as raw:
        raw.sendall(b"POST /tasks/execute HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    eventually(lambda: _gone(tmp_path / "pid"))
    (tmp_path / "pid").unlink()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(post, where, "slow")
        eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # a second one does not wait for what runs
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert call.exception() is not None or call.result()[0] == 424
    eventually(lambda: _gone(tmp_path / "pid"))


def test_exec_of_what_is_not_there(exec_agent):
    _, where = exec_agent("/no/such/program")
    assert post(where, {})[1]["error"] == "/no/such/program cannot be started: No such file or directory"


@pytest.mark.parametrize(("command", "text"), [("", "needs a command"), ("'x", "cannot be read")])
def test_exec_of_what_is_no_command(spawn, python, command, text):
    process = spawn(python, "-m", "aitbc", "agent", "--exec", command)
    assert process.wait(10) == 2
    assert text in process.stdout.read()


def test_nothing_is_logged_for_a_broken_connection(start, caplog, eventually):
    agent = start(lambda data: data)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", agent.port), 5) as raw:
                raw.sendall(b"POST /tasks/execute HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
        eventually(lambda: not agent._server.connections)
    assert not caplog.records
