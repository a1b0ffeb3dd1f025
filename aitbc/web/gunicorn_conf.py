"""gunicorn's configuration: `gunicorn -c python:aitbc.web.gunicorn_conf "aitbc.web:create_app()"`.

gevent workers: a held request costs a greenlet, and with `appendfsync always` they take twice the submits of threads.  Nothing here may
import what gevent patches later (the ledger's client, Celery): the first process reads this file, and its workers are forks of it.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Any

from aitbc.settings import Settings
from aitbc.telemetry import logs
from aitbc.web import gunicorn_errors

_settings = Settings.load()
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory for gunicorn's own sign of life, which a slow disk must not delay

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.api_workers
worker_class = "aitbc.web.gunicorn_worker.Worker"
worker_connections = _settings.held_requests + 2000  # so that held requests never keep a heartbeat out
worker_tmp_dir = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
keepalive = 30
timeout = 60
graceful_timeout = 5
control_socket_disable = True

# One header may be long (a proxy's cookie); all of them together are bounded by the application: app.MAX_HEADER_BYTES.
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190

accesslog = None  # the application writes a line a request, at debug
errorlog = "-"
loglevel = "warning"


def on_starting(_server: object) -> None:
    """Send gunicorn's own lines where all others go."""
    logs.configure(_settings.log_level, json=_settings.log_format != "plain")
    own = logging.getLogger("gunicorn.error")
    own.handlers.clear()
    own.propagate = True
    if _settings.auth == "off":
        own.warning("AITBC_AUTH=off: whoever reaches %s may do everything", bind)


def post_fork(_server: object, worker: Any) -> None:
    """Refuse malformed HTTP in the shape of all other errors."""
    worker.handle_error = gunicorn_errors.handle


def post_worker_init(worker: Any) -> None:
    """Prepare what the first submit would wait for. Answer held requests when the process is told to stop: it need not be cut off."""
    from aitbc.tasks import enqueue

    enqueue.prepare(_settings.redis_url)
    threading.Thread(target=_let_go, args=(worker,), name="let-go", daemon=True).start()


def _let_go(worker: Any) -> None:
    while worker.alive:
        time.sleep(0.2)
    worker.wsgi.extensions["aitbc"].feed.close()
