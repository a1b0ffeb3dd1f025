"""The embedded Redis for real: what is acknowledged stays over kill -9, one server a directory, clear words when it cannot start."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aitbc import embedded
from aitbc.embedded import EmbeddedRedis, ask, find_server, free_port, running_url, server_version
from aitbc.errors import Misconfigured

VENV_SERVER = str(Path(sys.executable).parent / "redis-server")


@pytest.fixture
def redis(tmp_path):
    server = EmbeddedRedis(tmp_path / "var")
    server.start()
    yield server
    server.stop()


def call(port, *words):
    """One command; the raw reply."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return connection.recv(65_536).decode()


def test_answers_and_is_set_up_to_lose_nothing(redis, tmp_path):
    assert redis.url == f"redis://127.0.0.1:{redis.port}/1"
    assert ask("127.0.0.1", redis.port) == "PONG"
    for name, value in {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "bind": "127.0.0.1",
    }.items():
        assert call(redis.port, "CONFIG", "GET", name).split("\r\n")[4] == value
    assert stat.S_IMODE((tmp_path / "var" / "redis").stat().st_mode) == 0o700
    assert running_url(tmp_path / "var") == redis.url


def test_kill_9_loses_nothing(redis):
    port = redis.port
    for n in range(50):
        assert call(port, "SET", f"k{n}", str(n)) == "+OK\r\n"
    os.kill(redis.pid, signal.SIGKILL)
    redis.stop()
    assert ask("127.0.0.1", port) == ""
    redis.start()
    assert redis.port == port
    assert call(port, "DBSIZE") == ":50\r\n"
    assert call(port, "GET", "k49") == "$2\r\n49\r\n"


def test_stop_keeps_the_data_and_frees_the_directory(redis, tmp_path):
    call(redis.port, "SET", "k", "v")
    redis.stop()
    redis.stop()  # again is no error
    assert running_url(tmp_path / "var") == ""
    with EmbeddedRedis(tmp_path / "var") as again:
        assert call(again.port, "GET", "k") == "$1\r\nv\r\n"


def test_a_frozen_server_is_killed(redis):
    pid = redis.pid
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    redis.stop(timeout=0.3)
    assert time.monotonic() - begin < 3
    assert not Path(f"/proc/{pid}").exists()


def test_one_server_a_directory_even_when_its_starter_is_gone(redis, tmp_path):
    second = EmbeddedRedis(tmp_path / "var")
    with pytest.raises(Misconfigured, match=r"is in use by another Redis: .*AITBC_VAR"):
        second.start()
    # Given the starter let go of the lock (as its death does), then the server that runs still holds it.
    os.close(redis._lock)
    redis._lock = None
    with pytest.raises(Misconfigured, match="is in use"):
        second.start()
    assert second.pid is None


def test_a_server_that_does_not_start_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedRedis(tmp_path / "var", taken.getsockname()[1])
        with pytest.raises(Misconfigured, match=r"ended at once \(exit 1\): .*redis\.log says why"):
            server.start()
    assert "Address already in use" in (tmp_path / "var" / "redis" / "redis.log").read_text()


def test_a_server_that_never_answers_is_told(tmp_path):
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    with pytest.raises(Misconfigured, match=r"does not answer after 0\.2 s"):
        EmbeddedRedis(tmp_path / "var", server=str(program)).start(timeout=0.2)


def test_waits_while_it_loads(tmp_path):
    """Given a server that says LOADING for a while, start returns only at PONG."""
    program = tmp_path / "redis-server"
    program.write_text(
        f"#!{sys.executable}\n"
        "import socket, sys, time\n"
        "port = int(sys.argv[sys.argv.index('--port') + 1])\n"
        "begin = time.monotonic()\n"
        "with socket.create_server(('127.0.0.1', port)) as server:\n"
        "    while True:\n"
        "        c, _ = server.accept()\n"
        "        c.recv(100)\n"
        "        c.sendall(b'+PONG\\r\\n' if time.monotonic() - begin > 0.5 else b'-LOADING Redis is loading\\r\\n')\n"
        "        c.close()\n"
    )
    program.chmod(0o700)
    begin = time.monotonic()
    server = EmbeddedRedis(tmp_path / "var", server=str(program))
    server.start(timeout=10)
    assert time.monotonic() - begin > 0.5
    server.stop()


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (b"+PONG\r\n", "PONG"),
        (b"-LOADING x\r\n", "LOADING"),
        (b"-NOAUTH x\r\n", "NOAUTH"),
        (b"HTTP/1.1 400\r\n", ""),
        (b"", ""),
        (b"+", ""),
    ],
)
def test_ask(reply, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask("127.0.0.1", server.getsockname()[1]) == answer
        thread.join()


def test_ask_nobody():
    assert ask("127.0.0.1", free_port()) == ""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert ask("127.0.0.1", silent.getsockname()[1], timeout=0.1) == ""


def _server_saying(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0 bits=64'\n")
    path.chmod(0o700)


@pytest.mark.parametrize(("on_path", "chosen"), [("7.4.1", True), ("6.2.15", True), ("6.2.3", False), ("6.0.16", False), ("none", False)])
def test_the_newest_server_is_taken(tmp_path, monkeypatch, on_path, chosen):
    _server_saying(tmp_path / "redis-server", on_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded.sys, "executable", str(tmp_path / "venv" / "python"))
    (tmp_path / "venv").mkdir()
    _server_saying(tmp_path / "venv" / "redis-server", "6.2.14")
    assert find_server() == str(tmp_path / ("redis-server" if chosen else "venv/redis-server"))


def test_no_server_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(Misconfigured, match=r"pip install aitbc\[embedded\].*REDIS_URL"):
        find_server()


def test_the_server_of_the_venv():
    assert server_version(VENV_SERVER) >= (6, 2, 14)
    assert server_version(shutil.which("true")) == (0,)
    assert server_version("/no/such/file") == (0,)


def test_not_prepared():
    with pytest.raises(Misconfigured, match="has not been prepared"):
        _ = EmbeddedRedis("var").lock_fd


def test_the_module_needs_no_redis_client():
    code = "import sys, aitbc.embedded; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
