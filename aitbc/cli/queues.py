"""`aitbc queues`: the five priorities."""

import sys

import click

from aitbc.cli.base import Noun, client
from aitbc.cli.output import show, table
from aitbc.model.priority import PRIORITIES

_PRIORITY = click.argument("priority", type=click.Choice([str(p) for p in PRIORITIES], case_sensitive=False))


@click.group(cls=Noun)
def queues() -> None:
    """See, pause and clear the five priorities."""


@queues.command("list")
def list_queues() -> None:
    """How many tasks are queued or wait at each priority."""
    answer = client().queues.stats()
    sizes, paused = answer.get("queue_sizes") or {}, set(answer.get("paused") or ())
    rows = [[str(p), str(sizes.get(p, 0)), "paused" if p in paused else ""] for p in PRIORITIES]
    show(answer, table(["priority", "tasks", ""], rows))


@queues.command()
@_PRIORITY
def pause(priority: str) -> None:
    """Start no more tasks of a priority; running ones go on."""
    show(client().queues.pause(priority), f"Priority {priority} is paused")


@queues.command()
@_PRIORITY
def resume(priority: str) -> None:
    """Start tasks of a paused priority again."""
    show(client().queues.resume(priority), f"Priority {priority} is served again")


@queues.command()
@_PRIORITY
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def clear(priority: str, yes: bool) -> None:
    """Cancel every task of a priority that has not started."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this cancels every {priority} task that has not started: --yes says that you mean it")
        click.confirm(f"Cancel every {priority} task that has not started?", abort=True, err=True)
    speaker, cleared, answer = client(), 0, {"more": True}
    while answer.get("more"):  # one call clears for a bounded time
        answer = speaker.queues.clear(priority)
        cleared += answer.get("cleared_count", 0)
    show({**answer, "cleared_count": cleared}, f"{cleared} tasks were cancelled")
