"""A stand-in for the coordinator: it speaks the shapes of the API, and a test says what it answers."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Coordinator:
    """Answers what `on` was told, else 404; `calls` has what came: (method, path, body)."""

    def __init__(self):
        self.calls, self._answers = [], []
        stand_in = self

        class Call(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(size)
                stand_in.calls.append((self.command, self.path, json.loads(raw) if raw else None))
                status, body, headers = stand_in.find(self.command, self.path, dict(self.headers))
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text)), "Connection": "close", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *args):
                pass

        self._call = Call
        self._server = None
        self.port = 0

    def up(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._call)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def on(self, method, path, *answers):
        """Each answer is (status, body) or (status, body, headers), given one after the other; the last for ever. `path`: a pattern."""
        self._answers.insert(0, (method, re.compile(path), list(answers)))

    def problem(self, status, detail, **headers):
        return (
            status,
            {"type": "about:blank", "title": "T", "status": status, "detail": detail, "message": detail, "request_id": "r1"},
            headers,
        )

    def find(self, method, path, headers):
        self.headers = headers
        for wanted, pattern, answers in self._answers:
            if wanted == method and pattern.fullmatch(path):
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                return (*answer, {}) if len(answer) == 2 else answer
        return self.problem(404, f"{path} not found")

    def count(self, method, path):
        return sum(1 for call in list(self.calls) if call[0] == method and re.fullmatch(path, call[1]))

    def task(self, state, task_id="t1", **fields):
        return 200, {"status": "success", "task": {"task_id": task_id, "state": state, **fields}, "timestamp": "2026-11-25T00:00:00+00:00"}


@pytest.fixture
def coordinator():
    stand_in = Coordinator()
    stand_in.up()
    yield stand_in
    stand_in.down()


@pytest.fixture
def eventually():
    def wait(condition, seconds=10):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it did not come about in time"
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def spawn():
    """Start a process; all are ended by their pid."""
    started = []

    def start(*argv, **env):
        process = subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def python():
    return sys.executable
