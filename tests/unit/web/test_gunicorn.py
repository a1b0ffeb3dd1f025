"""gunicorn's side: its configuration and the refusals that it makes."""

import json
import logging
import time
from types import SimpleNamespace

import pytest
from gunicorn.http import errors

from aitbc.web import gunicorn_conf, gunicorn_errors


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (errors.InvalidRequestLine("x"), 400),
        (errors.LimitRequestLine(9, 8), 414),
        (errors.LimitRequestHeaders("x"), 431),
        (errors.UnsupportedTransferCoding("x"), 501),
        (errors.InvalidResponseHeader("x"), 500),
        (RuntimeError("inside"), 500),
    ],
)
def test_a_refusal_is_a_whole_answer(exc, status):
    head, _, body = gunicorn_errors.refusal(exc).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == status
    assert b"inside" not in body


def test_a_refusal_is_sent_and_a_client_that_is_gone_is_no_trouble(caplog):
    class Gone:
        def settimeout(self, _seconds):
            raise OSError("gone")

    gunicorn_errors.handle(None, Gone(), None, errors.InvalidRequestLine("x"))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    gunicorn_errors.handle(None, Gone(), None, RuntimeError("ours"))
    assert "ours" in caplog.text


def test_a_new_process_refuses_in_our_shape_and_lets_go_when_it_stops():
    closed = []
    feed = SimpleNamespace(close=lambda: closed.append(True))
    wsgi = SimpleNamespace(extensions={"aitbc": SimpleNamespace(feed=feed)})
    worker = SimpleNamespace(alive=True, wsgi=wsgi, handle_error=None)
    gunicorn_conf.post_fork(None, worker)
    assert worker.handle_error is gunicorn_errors.handle
    gunicorn_conf.post_worker_init(worker)
    worker.alive = False
    for _ in range(40):
        if closed:
            break
        time.sleep(0.05)
    assert closed == [True]


def test_gunicorns_own_lines_go_where_all_others_go(monkeypatch):
    configured = []
    monkeypatch.setattr(gunicorn_conf.logs, "configure", lambda level, json: configured.append(level))  # noqa: ARG005
    own = logging.getLogger("gunicorn.error")
    own.addHandler(logging.NullHandler())
    gunicorn_conf.on_starting(None)
    assert configured == ["info"]
    assert own.handlers == []
    assert own.propagate


def test_held_requests_leave_connections_for_others():
    assert gunicorn_conf.worker_connections >= 2000 + 1000
