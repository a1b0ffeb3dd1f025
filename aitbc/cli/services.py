"""`aitbc api`, `aitbc worker`, `aitbc flower`: one service in the foreground. The process becomes the service."""

import os

import click

from aitbc.cli import commands
from aitbc.cli.base import Verb
from aitbc.settings import Settings

_PASS_ON = {"ignore_unknown_options": True}
_more = click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF IT]...")


@click.command(cls=Verb, context_settings=_PASS_ON)
@_more
def api(more: tuple[str, ...]) -> None:
    """Run the API under gunicorn; more options go to gunicorn."""
    Settings.load()  # a wrong setting is told here, in one line
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
    """Run Flower on loopback; more options go to Flower."""
    settings = Settings.load()
    _become([*commands.flower(settings), *more], commands.flower_environment(settings))


def _become(command: list[str], env: dict[str, str]) -> None:
    os.execvpe(command[0], command, {**os.environ, **env})  # noqa: S606 - no shell is wanted
