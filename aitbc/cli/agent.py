"""`aitbc agent --exec CMD`: an agent that runs a command for each task."""

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from typing import IO, Any

import click

from aitbc.cli.base import Verb, api_key, url
from aitbc.errors import Misconfigured
from aitbc.model.agent import AgentType

_GLANCE = 0.25
"""Seconds between two looks at whether anybody still waits for the result."""
_TAIL = 2000
"""Characters of stderr that are told when the command fails."""
MAX_OUTPUT = 1 << 20
"""Bytes that a command may print; the coordinator takes no more."""


@click.command(cls=Verb)
@click.option("--exec", "command", required=True, metavar="CMD", help="The command; `sh -c '...'` for a pipe.")
@click.option("--id", "agent_id", help="The agent's id; exec-HOST-PID when not given.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port to listen on; 0, the default, takes a free one.")
@click.option("--public-url", default="", help="How the coordinator reaches it; http://HOST:PORT when not given.")
@click.option("--type", "agent_type", type=click.Choice([str(t) for t in AgentType]), default="worker", show_default=True)
@click.option("--capability", "capabilities", multiple=True, help="What it can do; may be repeated.")
@click.option("--service", "services", multiple=True, help="What it offers; may be repeated.")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option("--max-concurrency", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Commands at once.")
@click.option(
    "--heartbeat-timeout", type=click.FloatRange(min=1), default=120, show_default=True, help="Seconds of silence that mean death."
)
@click.option(
    "--secret",
    envvar="AITBC_AGENT_SECRET",
    show_envvar=True,
    default="",
    help="16 characters or more: signs its requests, and others are refused.",
)
@click.option("--verbose", "-v", is_flag=True, help="Say more.")
def agent(command: str, agent_id: str | None, verbose: bool, **about: Any) -> None:
    """Register an agent that runs CMD for each task, until Ctrl-C.

    CMD gets the task_data as JSON on stdin and prints the result as JSON (nothing: null). An exit code other than 0 means that the work
    failed, with the end of its stderr as the error. AITBC_TASK_ID, AITBC_ATTEMPT and AITBC_TASK_TIMEOUT (s) are in its environment. When
    the time is up or the task is cancelled its whole process group is killed.
    """
    import logging
    import platform

    from aitbc.agent import Agent

    words = split_command(command)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(levelname)s %(message)s")
    name = agent_id or f"exec-{platform.node()}-{os.getpid()}"
    Agent(name, url(), lambda task_data: run_command(words, task_data), api_key=api_key(), **about).run()


def split_command(command: str) -> list[str]:
    """The words of a command line. Raises Misconfigured when there are none or a quote is open."""
    try:
        words = shlex.split(command)
    except ValueError as exc:
        raise Misconfigured(f"--exec {command!r} cannot be read: {exc}") from None
    if not words:
        raise Misconfigured("--exec needs a command")
    return words


def run_command(words: list[str], task_data: Any) -> Any:
    """Run the command for the current task; its result. Raises WorkFailed."""
    from aitbc.agent import WorkFailed, current

    execution = current()
    env = {"AITBC_TASK_ID": execution.task_id, "AITBC_ATTEMPT": str(execution.attempt), "AITBC_TASK_TIMEOUT": f"{execution.timeout or 0:g}"}
    # Files, not pipes: nothing blocks, however much the command prints, and what it leaves running cannot hold an answer back.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(json.dumps(task_data).encode())
        stdin.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - running this command is what the agent is for
                words, stdin=stdin, stdout=stdout, stderr=stderr, env={**os.environ, **env}, start_new_session=True
            )
        except OSError as exc:
            raise WorkFailed(f"{words[0]} cannot be started: {exc.strerror}") from exc
        _watch(process, stdout, stderr)
        if process.returncode:
            raise WorkFailed(f"{_how(process.returncode)}{_tail(stderr)}")
        return _result(stdout)


def _watch(process: "subprocess.Popen[bytes]", *outputs: IO[bytes]) -> None:
    """Wait for the command. Kills its group and raises WorkFailed when its time is up, nobody waits any more, or it prints too much."""
    from aitbc.agent import WorkFailed, current

    execution, begin = current(), time.monotonic()
    why = ""
    while not why:
        left = (execution.timeout or float("inf")) - (time.monotonic() - begin)
        try:
            process.wait(max(0, min(_GLANCE, left)))
        except subprocess.TimeoutExpired:
            if left <= 0:
                why = f"it ran for longer than {execution.timeout:g} s"
            elif execution.abandoned():
                why = "it was cancelled, or the agent ended"
            elif any(os.fstat(output.fileno()).st_size > MAX_OUTPUT for output in outputs):
                why = f"it printed more than {MAX_OUTPUT} bytes"
        else:
            return
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    raise WorkFailed(f"the command was killed: {why}", retryable=True)


def _result(stdout: IO[bytes]) -> Any:
    """What the command printed, as JSON; nothing is null. Raises WorkFailed."""
    from aitbc.agent import WorkFailed

    stdout.seek(0)
    text = stdout.read(MAX_OUTPUT + 1)
    if len(text) > MAX_OUTPUT:
        raise WorkFailed(f"the command printed more than {MAX_OUTPUT} bytes")
    try:
        return json.loads(text) if text.strip() else None
    except ValueError as exc:
        raise WorkFailed(f"the command printed no JSON: {exc}") from None


def _tail(stderr: IO[bytes]) -> str:
    stderr.seek(max(0, os.fstat(stderr.fileno()).st_size - 4 * _TAIL))
    text = stderr.read().decode("utf-8", "replace").strip()[-_TAIL:]
    return f": {text}" if text else ""


def _how(code: int) -> str:
    return f"the command was ended by signal {-code}" if code < 0 else f"the command ended with exit code {code}"
