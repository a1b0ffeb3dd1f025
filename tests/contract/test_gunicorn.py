"""The API as it is served: gunicorn with gevent workers, over real sockets."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from tests.harness.processes import free_port

HOST = b"Host: x\r\n"


@pytest.fixture(scope="module")
def served(ledger_of_session, redis_url, tmp_path_factory):
    """One gunicorn for the module: its port and its process."""
    ledger_of_session.redis.flushall()  # keys of another module's tests, too
    port = free_port()
    log = (tmp_path_factory.mktemp("gunicorn") / "log").open("w+")
    environ = {**os.environ, "REDIS_URL": redis_url, "AITBC_PORT": str(port), "AITBC_API_WORKERS": "1", "AITBC_LOG_LEVEL": "info"}
    args = [sys.executable, "-m", "gunicorn", "-c", "python:aitbc.web.gunicorn_conf", "aitbc.web:create_app()"]
    process = subprocess.Popen(args, env=environ, stdout=log, stderr=log)
    try:
        for _ in range(300):
            if _alive(port):
                break
            time.sleep(0.05)
        else:
            log.seek(0)
            raise AssertionError(log.read())
        yield port, process
    finally:
        process.kill()
        process.wait()
        log.close()


def _alive(port):
    try:
        return fetch(port, "/health")[0] == 200
    except OSError:
        return False


def fetch(port, path, body=None, timeout=10):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc), exc.headers


def raw(port, request):
    """Send bytes; the status and JSON of the answer."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(request)
        with client.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            headers = {}
            while line := answer.readline().strip():
                name, _, value = line.decode().partition(": ")
                headers[name.lower()] = value
            return status, headers, json.loads(answer.read(int(headers["content-length"])))


BIG = b'{"task_data":{"a":"' + b"x" * (1 << 20) + b'"}}'
SUBMIT = b"POST /tasks/submit HTTP/1.1\r\n" + HOST
CHUNKED = SUBMIT + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSALS = {
    "no http": (b"GARBAGE\r\n\r\n", 400),
    "long line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "many headers": (b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: y\r\n" % n for n in range(80)) + b"\r\n", 431),
    "large headers": (b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 7000) for n in range(10)) + b"\r\n", 431),
    "header injection": (b"GET /health HTTP/1.1\r\n" + HOST + b"X-A: a\0b\r\n\r\n", 400),
    "negative length": (SUBMIT + b"Content-Length: -1\r\n\r\n", 400),
    "too large": (SUBMIT + b"Content-Length: %d\r\n\r\n" % len(BIG) + BIG, 413),
    "too large in chunks": (CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BIG), BIG), 413),
    "broken chunks": (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", 400),
    "two lengths": (SUBMIT + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_on_the_wire_have_the_one_shape(served, name):
    request, wanted = REFUSALS[name]
    status, headers, body = raw(served[0], request)
    assert (status, headers["content-type"], body["status"]) == (wanted, "application/problem+json", wanted)
    assert list(body)[:6] == ["type", "title", "status", "detail", "message", "request_id"]
    assert "." not in headers.get("server", "")


def test_a_chunked_body_is_a_body(served):
    body = b'{"task_data":{"a":1}}'
    status, _, answer = raw(served[0], CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert (status, answer["status"]) == (200, "success")


def test_held_requests_keep_nobody_out_and_are_answered_when_the_process_stops(served):
    """Keep this last of the module: it stops the server."""
    port, process = served
    task_id = fetch(port, "/tasks/submit", {"task_data": {}})[1]["task_id"]
    answers = []
    waiters = [threading.Thread(target=lambda: answers.append(fetch(port, f"/tasks/{task_id}?wait=60", timeout=30))) for _ in range(64)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.5)
    assert fetch(port, "/agents/register", {"agent_id": "a", "agent_type": "worker"})[0] == 200
    assert fetch(port, "/agents/a/heartbeat", {})[0] == 200
    assert answers == []  # all 64 are held still: they kept nobody out
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=8) == 0
    for waiter in waiters:
        waiter.join(timeout=5)
    assert len(answers) == 64
    assert {(status, headers["Retry-After"]) for status, _, headers in answers} == {(200, "1")}
