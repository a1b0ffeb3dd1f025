"""The command lines of the services."""

import sys

import pytest
from click.testing import CliRunner

from aitbc.cli import commands, main
from aitbc.settings import Settings


def test_no_secret_on_a_command_line():
    settings = Settings(redis_url="redis://:hunter2@h/1", secret_key="hunter2")
    lines = [*commands.api(), *commands.worker(), *commands.flower(settings)]
    assert not [word for word in lines if "hunter2" in word]
    assert commands.flower_environment(settings) == {"BROKER_URL": "redis://:hunter2@h/1"}


def test_flower_leaves_sentinel_to_celeryconfig():
    assert commands.flower_environment(Settings(redis_url="sentinel://a:1,b:2/m/1")) == {}
    assert commands.flower_environment(Settings(broker_url="amqp://h//")) == {"BROKER_URL": "amqp://h//"}


@pytest.mark.parametrize(
    ("args", "last"),
    [
        (["api", "--reload"], ["--reload", "aitbc.web:create_app()"]),
        (["worker", "-Q", "urgent"], ["-Q", "urgent"]),
        (["flower", "--read_only=True"], ["--persistent=False", "--read_only=True"]),
    ],
)
def test_a_service_takes_the_place_of_the_command(args, last, monkeypatch):
    became = []
    monkeypatch.setattr("os.execvpe", lambda program, argv, env: became.append((program, argv, env)))
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    [(program, argv, env)] = became
    assert program == argv[0] == sys.executable
    assert argv[-2:] == last
    assert "PATH" in env


def test_a_wrong_setting_is_one_line():
    result = CliRunner(env={"AITBC_PORT": "x"}).invoke(main, ["api"])
    assert result.exit_code == 2
    assert result.stderr == "aitbc: AITBC_PORT='x': a whole number is needed\n"
