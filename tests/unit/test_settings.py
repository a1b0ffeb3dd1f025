"""Settings: from the environment, then from a file; each error names the setting and what is allowed."""

import re
from dataclasses import replace

import pytest

from aitbc.errors import Misconfigured
from aitbc.settings import Settings, catalogue
from bench.sizes import ROOT


def test_defaults_need_no_environment():
    settings = Settings.load({})
    assert settings == Settings()
    assert (settings.redis_url, settings.port, settings.effective_broker_url) == ("redis://localhost:6379/1", 9001, settings.redis_url)


def test_the_environment_wins_over_the_file(tmp_path):
    file = tmp_path / "env"
    file.write_text("# a comment\n\nAITBC_PORT=1\nexport AITBC_HOST='::1'\n AITBC_VAR = \"x y\" \nAITBC_LOG_LEVEL=a=b\nOTHER=1\n")
    settings = Settings.load({"AITBC_ENV_FILE": str(file), "AITBC_PORT": "2"})
    assert (settings.port, settings.host, settings.var, settings.log_level) == (2, "::1", "x y", "a=b")


def test_urls():
    settings = Settings.load({"REDIS_URL": "sentinel://h:1/m/0", "AITBC_PUBLIC_URL": "https://x"})
    assert (settings.redis_url, settings.public_url) == ("sentinel://h:1/m/0", "https://x")


def test_the_real_environment_is_read(monkeypatch):
    monkeypatch.setenv("AITBC_PORT", "77")
    assert Settings.load().port == 77


def test_a_missing_file():
    with pytest.raises(Misconfigured, match=r"AITBC_ENV_FILE=/nowhere cannot be read: No such file"):
        Settings.load({"AITBC_ENV_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("AITBC_PORT", "x", "AITBC_PORT='x': a whole number is needed"),
        ("AITBC_PORT", "1.5", "a whole number is needed"),
        ("AITBC_PORT", "70000", "AITBC_PORT=70000: allowed is 0 to 65535"),
        ("AITBC_MAX_AGENTS", "0", "AITBC_MAX_AGENTS=0: allowed is 1 and more"),
        ("AITBC_AGEING", "-1", "allowed is 0 and more"),
        ("AITBC_AGEING", "nan", "allowed is 0 and more"),
        ("AITBC_AGEING", "soon", "AITBC_AGEING='soon': a number is needed"),
        ("REDIS_URL", "localhost:6379", "a URL is needed that begins with redis:// or rediss:// or sentinel://"),
        ("AITBC_PUBLIC_URL", "ftp://x", "begins with http:// or https://"),
    ],
)
def test_wrong_values(name, text, message):
    with pytest.raises(Misconfigured) as caught:
        Settings.load({name: text})
    assert name in str(caught.value)
    assert message in str(caught.value)


def test_what_follows_from_them():
    assert Settings(broker_url="amqp://x").effective_broker_url == "amqp://x"
    assert Settings(port=5).callback_base == "http://127.0.0.1:5"
    assert Settings(public_url="https://x/").callback_base == "https://x"
    assert Settings().agent_cidrs == ("127.0.0.0/8", "::1/128")
    assert Settings(host="0.0.0.0").agent_cidrs == ()
    assert Settings(allow_agent_cidrs=" 10.0.0.0/8, ,fd00::/8").agent_cidrs == ("10.0.0.0/8", "fd00::/8")
    assert Settings(allow_agent_cidrs="").agent_cidrs == ()


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("10.1.1.1", False)]
)
def test_loopback(host, local):
    assert Settings(host=host).on_loopback is local


def test_the_catalogue_is_complete():
    names = [name for name, _, _ in catalogue()]
    assert len(names) == len(set(names)) == len(Settings.__slots__)
    assert all(meaning.endswith(".") for _, _, meaning in catalogue())
    assert all(name.startswith("AITBC_") or name in {"REDIS_URL", "CELERY_BROKER_URL"} for name in names)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_example_with_every_sign_taken_off_is_the_defaults(tmp_path, host):
    """On loopback; what is not given and what stands in the file mean the same there."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    file = tmp_path / ".env"
    file.write_text(re.sub(r"^#(?=[A-Z_]+=)", "", example, flags=re.MULTILINE))
    read, usual = Settings.load({"AITBC_ENV_FILE": str(file), "AITBC_HOST": host}), Settings(host=host)
    assert read.agent_cidrs == usual.agent_cidrs == ("127.0.0.0/8", "::1/128")
    assert replace(read, allow_agent_cidrs=usual.allow_agent_cidrs) == usual
    assert Settings.load({"AITBC_ALLOW_AGENT_CIDRS": ""}).agent_cidrs == ()
