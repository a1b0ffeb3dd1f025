"""The command lines of the services."""

import sys

import pytest
from click.testing import CliRunner

from aitbc.cli import commands, main
from aitbc.errors import Misconfigured
from aitbc.settings import Settings


def test_no_secret_on_a_command_line(tmp_path):
    settings = Settings(redis_url="redis://:hunter2@h/1", secret_key="hunter2", var=str(tmp_path))
    lines = [*commands.api(), *commands.worker(), *commands.flower(settings)]
    assert not [word for word in lines if "hunter2" in word]
    assert commands.flower_environment(settings, {})["BROKER_URL"] == "redis://:hunter2@h/1"


def test_flower_leaves_sentinel_to_celeryconfig(tmp_path):
    sentinel = Settings(redis_url="sentinel://a:1,b:2/m/1", var=str(tmp_path))
    assert "BROKER_URL" not in commands.flower_environment(sentinel, {})
    rabbit = Settings(broker_url="amqp://h//", var=str(tmp_path))
    assert commands.flower_environment(rabbit, {})["BROKER_URL"] == "amqp://h//"


def test_flower_is_read_only_and_keeps_its_rows_unless_told_otherwise(tmp_path):
    settings = Settings(var=str(tmp_path / "var"))
    ours = commands.flower_environment(settings, {})
    assert (ours["FLOWER_READ_ONLY"], ours["FLOWER_PERSISTENT"], ours["FLOWER_DB"]) == ("True", "True", f"{tmp_path}/var/flower/rows")
    assert [folder.stat().st_mode & 0o777 for folder in (tmp_path / "var", tmp_path / "var/flower")] == [0o700] * 2
    told = commands.flower_environment(settings, {"FLOWER_READ_ONLY": "False", "FLOWER_PERSISTENT": "False"})
    assert not {"FLOWER_READ_ONLY", "FLOWER_PERSISTENT", "FLOWER_DB"} & set(told)


def test_flower_says_what_it_lacks_to_keep_its_rows(tmp_path):
    (tmp_path / "var").write_text("no folder")
    with pytest.raises(Misconfigured, match=r"AITBC_VAR=.*cannot be made \(File exists\); FLOWER_PERSISTENT=False does without"):
        commands.flower_environment(Settings(var=str(tmp_path / "var")), {})


@pytest.mark.parametrize(
    ("args", "last"),
    [
        (["api", "--reload"], ["--reload", "aitbc.web:create_app()"]),
        (["worker", "-Q", "urgent"], ["-Q", "urgent"]),
        (["flower", "--read_only=True"], ["--port=5555", "--read_only=True"]),
    ],
)
def test_a_service_takes_the_place_of_the_command(args, last, monkeypatch, tmp_path):
    became = []
    monkeypatch.setenv("AITBC_VAR", str(tmp_path))
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
