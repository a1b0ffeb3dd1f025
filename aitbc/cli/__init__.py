"""The command line: one module a noun, imported when its command is used."""

import importlib

import click

from aitbc.cli.base import Root

_MODULES = {
    "up": "up",
    "api": "services",
    "worker": "services",
    "flower": "services",
    "agent": "agent",
    "agents": "agents",
    "tasks": "tasks",
    "queues": "queues",
    "keys": "keys",
    "doctor": "doctor",
}
"""Command -> the module that has it, under the same name, in the order that the help shows."""


class _Commands(Root):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(importlib.import_module(f"aitbc.cli.{_MODULES[cmd_name]}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="aitbc")
def main() -> None:
    """Coordinate agents: run a coordinator, write agents, submit tasks.

    Exit codes: 0 ok, 1 the task failed, 2 usage or a wrong field, 3 not found, 4 not allowed, 5 conflict, 69 nobody answers,
    70 the coordinator failed, 75 try later, 124 the wait timed out, 130 interrupted.
    """
