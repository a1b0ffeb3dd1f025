"""`aitbc tasks`: submit tasks and see what becomes of them."""

import json
import math
import sys
from typing import Any, TextIO

import click

from aitbc.cli.base import TASK_FAILED, Noun, client, wants_json
from aitbc.cli.output import plain, say, show, show_list, show_object
from aitbc.model.priority import PRIORITIES
from aitbc.model.task import TERMINAL, TaskState

_COLUMNS = {
    "task": "task_id",
    "state": "state",
    "priority": "priority",
    "agent": "agent_id",
    "submitted": "submitted_at",
    "error": "error.code",
}
_FOR_EVER = math.inf
BATCH = 1000
"""Tasks that the API takes in one call."""
_PRIORITY = click.Choice([str(p) for p in PRIORITIES], case_sensitive=False)


@click.group(cls=Noun)
def tasks() -> None:
    """Submit tasks and see what becomes of them."""


@tasks.command("list")
@click.option("--state", type=click.Choice([str(s) for s in TaskState]))
@click.option("--priority", type=_PRIORITY)
@click.option("--agent", "agent_id", help="Only those of this agent.")
@click.option("--limit", type=click.IntRange(1, 200), help="Tasks a page.")
@click.option("--cursor", help="Where the page before ended.")
def list_tasks(**query: Any) -> None:
    """List tasks, newest first."""
    show_list(client().tasks.list(**query), "tasks", _COLUMNS)


@tasks.command("show")
@click.argument("task_id")
def show_task(task_id: str) -> None:
    """Show one task, its result or error, and its attempts."""
    show_object(client().tasks.show(task_id))


@tasks.command()
@click.argument("task_data", metavar="JSON|-")
@click.option("--priority", type=_PRIORITY, default="normal", show_default=True)
@click.option("--capability", "capabilities", multiple=True, help="What the agent must have; may be repeated.")
@click.option("--service", "services", multiple=True, help="What the agent must offer; may be repeated.")
@click.option("--agent-type", help="What the agent must be.")
@click.option("--task-id", help="An id of your own: the same submit again makes no second task.")
@click.option("--max-attempts", type=click.IntRange(1, 50), help="Attempts that may fail (3); 1: at most once.")
@click.option("--run-timeout", type=click.FloatRange(min=0, min_open=True, max=86_400), help="Seconds an attempt may take (300).")
@click.option("--delay", type=click.FloatRange(min=0), help="Seconds before it may start.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=_FOR_EVER,
    metavar="[SECONDS]",
    help="Wait until it has ended (--wait=5: at most 5 s); exit 1 when it failed.",
)
def submit(
    task_data: str,
    priority: str,
    capabilities: tuple[str, ...],
    services: tuple[str, ...],
    agent_type: str | None,
    wait: float | None,
    **options: Any,
) -> None:
    """Submit a task: JSON is its task_data, an object; - reads it from stdin."""
    asked = {"agent_type": agent_type, "capabilities": list(capabilities), "services": list(services)}
    requirements = {name: value for name, value in asked.items() if value}
    speaker = client()
    answer = speaker.tasks.submit(_object(task_data), priority, requirements=requirements or None, **options)
    task_id = str(answer["task_id"])
    if wait is None:
        show(answer, task_id)
        return
    say(f"task {task_id} is submitted")
    _show_end(speaker.tasks.wait(task_id, None if wait == _FOR_EVER else wait))


@tasks.command("submit-batch")
@click.argument("lines", metavar="FILE|-", type=click.File(encoding="utf-8"))
def submit_batch(lines: TextIO) -> None:
    """Submit a task a line, each a JSON object as POST /tasks/submit takes it. Exit 1 when one was refused; the others are accepted."""
    bodies = [_object(line) for line in lines if line.strip()]
    speaker, results = client(), []
    for at in range(0, len(bodies), BATCH):
        results += speaker.tasks.submit_batch(bodies[at : at + BATCH])["results"]
    show_list({"results": results, "count": len(results)}, "results", {"task": "task_id", "status": "status", "error": "detail"})
    if any(result["status"] != "success" for result in results):
        click.get_current_context().exit(TASK_FAILED)


@tasks.command()
@click.argument("task_id")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds; without it, for ever. Exit 124 when they are over.")
def wait(task_id: str, timeout: float | None) -> None:
    """Wait until a task has ended; exit 1 when it failed or was cancelled."""
    _show_end(client().tasks.wait(task_id, timeout))


@tasks.command()
@click.argument("task_id", required=False)
def watch(task_id: str | None) -> None:
    """Print what becomes of a task until it has ended (exit 1 when it failed), or without TASK_ID the ends of all tasks, for ever."""
    speaker = client()
    for event in speaker.tasks.events(task_id) if task_id else speaker.events():
        told = event.data.get("progress") or {}
        words = [event.data.get("at") or "", event.data.get("task_id") or "", event.name, event.data.get("agent_id") or ""]
        words += [plain(told)] if told else []
        line = {"id": event.event_id, "event": event.name, **event.data}
        click.echo(json.dumps(line, ensure_ascii=False) if wants_json() else "  ".join(filter(None, words)))
        if task_id and event.name in TERMINAL and event.name != TaskState.COMPLETED:
            click.get_current_context().exit(TASK_FAILED)


@tasks.command()
@click.argument("task_id")
def cancel(task_id: str) -> None:
    """Cancel a task; again is no error."""
    show(client().tasks.cancel(task_id), f"Task {task_id} is cancelled")


@tasks.command()
@click.argument("task_id")
def retry(task_id: str) -> None:
    """Run a failed or cancelled task again."""
    show(client().tasks.retry(task_id), f"Task {task_id} runs again")


def _object(text: str) -> dict[str, Any]:
    """The object that a JSON text holds; `-` stands for stdin."""
    try:
        data = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as exc:
        raise click.BadParameter(f"this is no JSON: {exc}", param_hint="JSON") from None
    if not isinstance(data, dict):
        raise click.BadParameter('a JSON object is needed, such as \'{"text": "hello"}\'', param_hint="JSON")
    return data


def _show_end(task: dict[str, Any]) -> None:
    """Print a task that has ended: its result, or why there is none."""
    show(task, plain(task.get("result"), limit=None) if task["state"] == TaskState.COMPLETED else str(task["state"]))
    if task["state"] != TaskState.COMPLETED:
        error = task.get("error") or {}
        say(f"aitbc: task {task['task_id']} {task['state']}: {plain(error.get('message') or error.get('code'), limit=None)}")
        click.get_current_context().exit(TASK_FAILED)
