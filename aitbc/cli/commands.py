"""The command lines of the three services, the same for `aitbc up` and for `aitbc api`, `worker`, `flower`."""

import sys
from urllib.parse import urlsplit

from aitbc.settings import Settings

_FLOWER_COLUMNS = "name,uuid,state,args,kwargs,result,runtime,worker"


def api() -> list[str]:
    """The API under gunicorn; aitbc/web/gunicorn_conf.py has its options, read from the settings."""
    return [sys.executable, "-m", "gunicorn", "-c", "python:aitbc.web.gunicorn_conf", "aitbc.web:create_app()"]


def worker() -> list[str]:
    """A Celery worker; celeryconfig.py has the rest. Mingle would cost a second at each start: the ledger has what it would tell."""
    quick = ["--without-mingle", "--without-gossip"]
    return [sys.executable, "-m", "celery", "-A", "aitbc.tasks", "worker", "--loglevel", "INFO", "-n", "aitbc@%h", *quick]


def flower(settings: Settings) -> list[str]:
    """Flower on loopback, its broker in `flower_environment`."""
    return [
        *(sys.executable, "-m", "celery", "-A", "aitbc.tasks", "flower"),
        *("--address=127.0.0.1", f"--port={settings.flower_port}", f"--tasks_columns={_FLOWER_COLUMNS}", "--persistent=False"),
    ]


def flower_environment(settings: Settings) -> dict[str, str]:
    """The plain broker URL, as Celery's `--broker` reads it: not on the command line, where all of the machine could read its password.

    Flower's broker page knows stock schemes only; with Sentinel, celeryconfig.py decides.
    """
    url = settings.effective_broker_url
    return {} if urlsplit(url).scheme == "sentinel" else {"BROKER_URL": url}
