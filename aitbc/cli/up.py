"""`aitbc up`: everything on one machine, until Ctrl-C."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from aitbc.cli.base import Verb, wants_json
from aitbc.cli.output import plain, without_password

if TYPE_CHECKING:
    from aitbc.cli.plan import Plan

_REMIND = 10
"""Seconds between two words about what is not ready yet."""


@click.command(cls=Verb)
@click.option("--demo", is_flag=True, help="Also three agents (demo-1 to demo-3 on ports 9002 to 9004) and one task through them.")
@click.option("--verbose", "-v", is_flag=True, help="Show all output of the services, not just warnings and above.")
def up(demo: bool, verbose: bool) -> None:
    """Run a coordinator on this machine: Redis, the API, a worker and Flower, until Ctrl-C.

    Redis is the one that REDIS_URL names, else one that answers at its default address, else an embedded one with its data under
    AITBC_VAR. What dies is started again. A second Ctrl-C ends everything at once.
    """
    from aitbc.cli.plan import make
    from aitbc.cli.supervisor import Supervisor

    speaker = _Speaker(wants_json())
    plan = make(demo)
    supervisor = Supervisor(plan.services, speaker.say, speaker.output, verbose=verbose, within=plan.within)
    before = {number: signal.signal(number, lambda *_: supervisor.stop()) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    speaker.say(f"starting, with Redis at {without_password(plan.settings.redis_url)} ({plan.redis_note})")
    reporter = threading.Thread(target=_report, args=(plan, demo, supervisor.stopping, speaker), daemon=True)
    reporter.start()
    try:
        supervisor.run()
        reporter.join(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if plan.redis:
            plan.redis.release()
    speaker.say("everything has ended")


class _Speaker:
    """Where lines go: results to stdout, messages to stderr, services' output where it came from (with --json all of it to stderr)."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json

    def say(self, text: str) -> None:
        _print(f"{'aitbc':<7}| {text}", sys.stderr)

    def output(self, line: str, stream: IO[str]) -> None:
        _print(line, sys.stderr if self._json else stream)

    def result(self, answer: Mapping[str, Any], text: str) -> None:
        _print(json.dumps(answer, ensure_ascii=False) if self._json else text, sys.stdout)


def _print(line: str, stream: IO[str]) -> None:
    """At once and in one piece; a terminal that has gone is no reason to end."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        return


def _report(plan: "Plan", demo: bool, stopping: threading.Event, speaker: _Speaker) -> None:
    """Once everything is ready, say where it is; then the demo. Runs beside the supervisor."""
    from aitbc.cli.plan import DEMO_AGENTS
    from aitbc.errors import AitbcError

    begin = time.monotonic()
    if not _wait_ready(plan.url, stopping, speaker):
        return
    places = _places(plan, DEMO_AGENTS if demo else {})
    lines = [f"  {name:<10}{place}" for name, place in places.items()]
    head = f"aitbc is up after {time.monotonic() - begin:.1f} s; Ctrl-C ends it"
    speaker.result({"status": "up", **{name.lower(): place for name, place in places.items()}}, "\n".join([head, *lines]))
    if demo:
        try:
            _demo(plan, list(DEMO_AGENTS), stopping, speaker)
        except AitbcError as exc:
            speaker.say(f"the demo did not work: {exc}")


def _wait_ready(url: str, stopping: threading.Event, speaker: _Speaker) -> bool:
    """True once /ready says so, False when stopped before; tells now and then what is missing."""
    from aitbc.client import Client
    from aitbc.errors import AitbcError

    client, remind = Client(url, timeout=5), time.monotonic() + _REMIND
    while not stopping.wait(0.1):
        try:
            client.ready()
        except AitbcError as exc:
            if time.monotonic() > remind:
                speaker.say(f"not ready yet: {exc}")
                remind = time.monotonic() + _REMIND
        else:
            return True
    return False


def _places(plan: "Plan", agents: Mapping[str, int]) -> dict[str, str]:
    from aitbc.cli.plan import ADMIN_KEY_FILE

    settings = plan.settings
    places = {
        "API": plan.url,
        "Flower": f"http://127.0.0.1:{settings.flower_port}",
        "Redis": f"{without_password(settings.redis_url)} ({plan.redis_note})",
        "Data": str(Path(settings.var).absolute()),
    }
    if settings.admin_key:
        places["Key"] = "that of AITBC_ADMIN_KEY" if "AITBC_ADMIN_KEY" in os.environ else str(Path(settings.var, ADMIN_KEY_FILE).absolute())
    if agents:
        places["Agents"] = ", ".join(f"{name} http://127.0.0.1:{port}" for name, port in agents.items())
    return places


def _demo(plan: "Plan", agents: list[str], stopping: threading.Event, speaker: _Speaker) -> None:
    """One task through the agents; what is printed is what the API tells of it."""
    from aitbc.cli.demo import run_task

    task = run_task(plan.url, agents, stopping, plan.api_key)
    if task:
        told = f"result {plain(task.get('result'), limit=None)}" if task["state"] == "completed" else f"error {plain(task.get('error'))}"
        speaker.result(task, f"Demo: task {task['task_id']} is {task['state']} by {task.get('agent_id')}: {told}")
