"""The HTTP API: `app.py` puts it together, one module a resource holds its views, `schemas/` says what bodies and queries may hold.

A view reads top-down: what is validated comes in, one step runs, jobs are published, the answer goes out.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from aitbc.ledger.client import Ledger
    from aitbc.settings import Settings


def create_app(settings: "Settings | None" = None, ledger: "Ledger | None" = None) -> "Flask":
    """Make the application; gunicorn calls it in each worker. Raises Misconfigured.

    The parts are imported here: gunicorn's first process reads `gunicorn_conf` of this package and must not load what gevent patches.
    """
    from aitbc.web.app import build

    return build(settings, ledger)
