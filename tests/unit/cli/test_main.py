"""The command line without a coordinator: help, usage, exit codes, where --json and --url may stand."""

import json
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from aitbc.cli import main
from aitbc.cli.base import Noun, Root, exit_code, url, wants_json
from aitbc.client import ApiError, Unreachable, WaitTimedOut
from aitbc.errors import AitbcError, BadRequest, Invalid, LedgerAway, Misconfigured, NotFound
from aitbc.web.schemas.tasks import TaskPageQuery

COMMANDS = ["up", "api", "worker", "flower", "agent", "agents", "tasks", "queues", "keys", "doctor"]


def run(*args, **kwargs):
    return CliRunner().invoke(main, args, **kwargs)


def test_help_lists_the_commands_in_order():
    result = run("--help")
    assert result.exit_code == 0
    found = [line.split()[0] for line in result.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert found == COMMANDS


def test_a_page_of_tasks_is_as_large_as_the_api_allows():
    """More would be refused by the API, after a round trip."""
    most = next(part.le for part in TaskPageQuery.model_fields["limit"].metadata if hasattr(part, "le"))
    result = run("tasks", "list", "--limit", str(most + 1))
    assert (result.exit_code, f"1<=x<={most}" in result.stderr) == (2, True)
    assert run("--url", "http://127.0.0.1:1", "tasks", "list", "--limit", str(most)).exit_code == 69  # nobody answers there


def _verbs(command, path=()):
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from _verbs(command.get_command(click.Context(command), name), (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in _verbs(main)], ids=" ".join)
def test_every_command_has_help_and_takes_json_and_url(path):
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "--url" in result.stdout


def test_help_is_fast_and_imports_no_service():
    code = "import sys; from aitbc.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(sorted(sys.modules))"
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - begin < 3  # 0.1 s on a quiet machine
    loaded = done.stdout.splitlines()[-1]
    assert not [name for name in ("flask", "celery", "redis", "http.client", "aitbc.client") if f"'{name}'" in loaded]


@pytest.mark.parametrize(
    "args", [["nonsense"], ["tasks", "submit"], ["tasks", "submit", "{"], ["tasks", "submit", "[1]"], ["queues", "pause", "x"]]
)
def test_usage_errors_exit_2(args):
    result = run(*args)
    assert result.exit_code == 2
    assert not result.stdout


def test_a_url_that_is_none():
    result = run("--url", "nonsense", "agents", "list")
    assert result.exit_code == 2
    assert "'nonsense' is no coordinator's URL" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiError(400, "x"), 2),
        (ApiError(422, "x"), 2),
        (ApiError(401, "x"), 4),
        (ApiError(403, "x"), 4),
        (ApiError(404, "x"), 3),
        (ApiError(409, "x"), 5),
        (ApiError(429, "x"), 75),
        (ApiError(503, "x"), 75),
        (ApiError(500, "x"), 70),
        (Unreachable("x"), 69),
        (LedgerAway("x"), 69),
        (WaitTimedOut({}, 1), 124),
        (NotFound("Task", "x"), 3),
        (BadRequest("x"), 2),
        (Invalid("x"), 2),
        (Misconfigured("x"), 2),
        (AitbcError("x"), 70),
    ],
)
def test_exit_codes(error, code):
    assert exit_code(error) == code


@click.group(cls=Root)
def root():
    pass


@root.group(cls=Noun)
def noun():
    pass


@noun.command()
def verb():
    click.echo(json.dumps([url(), wants_json()]))


@noun.command()
def interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["noun", "verb"], ["http://127.0.0.1:9001", False]),
        (["--json", "--url", "http://a", "noun", "verb"], ["http://a", True]),
        (["noun", "--json", "--url", "http://a", "verb"], ["http://a", True]),
        (["noun", "verb", "--json", "--url", "http://a"], ["http://a", True]),
        (["--url", "http://a", "noun", "verb", "--url", "http://b"], ["http://b", False]),
    ],
)
def test_shared_options_anywhere(args, expected):
    assert json.loads(CliRunner().invoke(root, args).stdout) == expected


def test_url_from_the_environment():
    result = CliRunner(env={"AITBC_URL": "http://e"}).invoke(root, ["noun", "verb"])
    assert json.loads(result.stdout)[0] == "http://e"


def test_interrupted_exits_130():
    assert CliRunner().invoke(root, ["noun", "interrupted"]).exit_code == 130
