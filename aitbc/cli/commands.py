"""The command lines of the three services, the same for `aitbc up` and for `aitbc api`, `worker`, `flower`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from aitbc.errors import Misconfigured
from aitbc.settings import Settings

_FLOWER = {
    # The task, its priority (in kwargs), the agent and attempt (in what it ended with), why it failed, how long it took; newest first.
    "FLOWER_TASKS_COLUMNS": "uuid,state,kwargs,runtime,result,exception,worker,received",
    "FLOWER_READ_ONLY": "True",
}
_FLOWER_SAVES = 60_000
"""Milliseconds between two writes of its rows to disk; it writes them when it ends, too."""


def api() -> list[str]:
    """The API under gunicorn; aitbc/web/gunicorn_conf.py has its options, read from the settings."""
    return [sys.executable, "-m", "gunicorn", "-c", "python:aitbc.web.gunicorn_conf", "aitbc.web:create_app()"]


def worker() -> list[str]:
    """A Celery worker; celeryconfig.py has the rest. Mingle would cost a second at each start: the ledger has what it would tell."""
    quick = ["--without-mingle", "--without-gossip"]
    return [sys.executable, "-m", "celery", "-A", "aitbc.tasks", "worker", "--loglevel", "INFO", "-n", "aitbc@%h", *quick]


def flower(settings: Settings) -> list[str]:
    """Flower on loopback; the rest is in `flower_environment`."""
    return [*(sys.executable, "-m", "celery", "-A", "aitbc.tasks", "flower"), "--address=127.0.0.1", f"--port={settings.flower_port}"]


def flower_environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """What Flower reads from its environment, beside what is `given` there: any FLOWER_ variable of a user wins over ours.

    The plain broker URL, as Celery's `--broker` reads it, is here and not on the command line, where all of the machine could read its
    password. Flower's broker page knows stock schemes only; with Sentinel, celeryconfig.py decides.
    Makes the folder that rows are kept in. Raises Misconfigured.
    """
    ours = dict(_FLOWER)
    if not {"FLOWER_PERSISTENT", "FLOWER_DB"} & set(given):
        rows = _flower_folder(settings) / "rows"
        ours |= {"FLOWER_PERSISTENT": "True", "FLOWER_DB": str(rows), "FLOWER_STATE_SAVE_INTERVAL": str(_FLOWER_SAVES)}
    url = settings.effective_broker_url
    broker = {} if urlsplit(url).scheme == "sentinel" else {"BROKER_URL": url}
    return {name: value for name, value in ours.items() if name not in given} | broker


def _flower_folder(settings: Settings) -> Path:
    """For nobody else to read: rows are pickles."""
    folder = Path(settings.var).absolute() / "flower"
    try:
        for made in (folder.parent, folder):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise Misconfigured(
            f"AITBC_VAR={settings.var}: {folder}, where Flower keeps its rows, cannot be made ({exc.strerror}); "
            "FLOWER_PERSISTENT=False does without"
        ) from exc
    return folder
