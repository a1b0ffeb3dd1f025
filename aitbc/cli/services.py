"""`aitbc api`, `aitbc worker`, `aitbc flower`: one service in the foreground. The process becomes the service."""

import os
from contextlib import closing

import click

from aitbc.cli import commands
from aitbc.cli.base import Verb
from aitbc.errors import LedgerAway, Misconfigured
from aitbc.settings import Settings

_PASS_ON = {"ignore_unknown_options": True}
_more = click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF IT]...")


@click.command(cls=Verb, context_settings=_PASS_ON)
@_more
def api(more: tuple[str, ...]) -> None:
    """Run the API under gunicorn; more options go to gunicorn."""
    _refuse_without_keys(Settings.load())  # a wrong setting is told here, in one line
    *command, app = commands.api()
    _become([*command, *more, app], {})


@click.command(cls=Verb, context_settings=_PASS_ON)
@_more
def worker(more: tuple[str, ...]) -> None:
    """Run a Celery worker; more options go to Celery."""
    Settings.load()
    _become([*commands.worker(), *more], {})


@click.command(cls=Verb, context_settings=_PASS_ON)
@_more
def flower(more: tuple[str, ...]) -> None:
    """Run Flower on loopback, read-only; more options go to Flower. Its rows are kept under AITBC_VAR."""
    settings = Settings.load()
    _become([*commands.flower(settings), *more], commands.flower_environment(settings, os.environ))


def _refuse_without_keys(settings: Settings) -> None:
    """Others reach the API and nobody has a key: that is a mistake. Raises Misconfigured."""
    from aitbc.ledger import access
    from aitbc.ledger.client import Ledger

    if settings.auth == "off" or settings.on_loopback or settings.admin_key:
        return
    try:
        with closing(Ledger(settings, connections=2)) as ledger:
            _, found = ledger.run(access.list_keys())
    except LedgerAway:  # unknown: it may start, and lets nobody in without a key
        return
    if not found:
        raise Misconfigured(
            f"AITBC_HOST={settings.host} is reached by others, and there is no API key: `aitbc keys create NAME --scope admin` makes one, "
            "AITBC_ADMIN_KEY gives one; AITBC_AUTH=off lets everybody in"
        )


def _become(command: list[str], env: dict[str, str]) -> None:
    os.execvpe(command[0], command, {**os.environ, **env})  # noqa: S606 - no shell is wanted
