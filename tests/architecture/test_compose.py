"""docker-compose.yml as it is written: every service may do as little as it can, published on loopback at most. tests/docker runs it."""

import base64
import re
import subprocess

import pytest
import yaml

from aitbc.model.access import key_id_of
from aitbc.settings import Settings, catalogue
from bench.sizes import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
STAND_INS = yaml.safe_load((ROOT / "tests/docker/compose.stand-ins.yml").read_text())["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_closed(name):
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert service["image"] == "aitbc:local" or service["user"] not in ("root", "0")  # ours has a user: see the Dockerfile
    assert not service.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "healthcheck" in service or name == "keys"
    assert all(after["condition"] != "service_started" for after in service.get("depends_on", {}).values())


def test_only_redis_and_those_who_need_it_share_its_network():
    assert COMPOSE["networks"]["ledger"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if "ledger" in service.get("networks", [])} == {"redis", "api", "worker", "flower"}
    assert SERVICES["redis"]["networks"] == ["ledger"]
    assert "ports" not in SERVICES["redis"]


def test_the_worker_has_the_time_that_its_calls_have():
    assert SERVICES["worker"]["stop_grace_period"] == f"{Settings().shutdown_timeout + 15:g}s"


def test_what_is_set_are_settings():
    known = {env for env, *_ in catalogue()} | {"AITBC_ENV_FILE", "AITBC_API_KEY_FILE"}
    named = set(re.findall(r"\bAITBC_[A-Z_]+\b", (ROOT / "docker-compose.yml").read_text()))
    assert named <= known


def test_every_image_has_a_stand_in():
    assert set(STAND_INS) == set(SERVICES)
    assert {"redis:7-alpine", "aitbc:local"} < {service["image"] for service in SERVICES.values()}


def test_the_image_runs_as_nobody_in_particular_and_from_pinned_packages():
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^(?:ARG BASE|FROM|USER)\b.*", text, re.MULTILINE)[-1] == "USER 10001:10001"
    assert "--require-hashes -r constraints.txt" in text
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}


@pytest.fixture
def keys_of(tmp_path):
    """Runs what the service `keys` runs, its volumes being folders here: file -> text afterwards."""
    *shell, script = SERVICES["keys"]["command"]
    for volume in ("keys", "client"):
        (tmp_path / volume).mkdir()
        script = script.replace(f"/{volume}/", f"{tmp_path}/{volume}/")

    def run():
        subprocess.run([*shell, script.replace("$$", "$")], check=True, capture_output=True)
        return {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    run.folder = tmp_path
    return run


def test_keys_makes_passwords_and_an_api_key_once(keys_of):
    made = keys_of()
    assert set(made) == {"keys/aitbc.env", "keys/redis.conf", "keys/flower.py", "client/api.key"}
    settings = Settings.load({"AITBC_ENV_FILE": str(keys_of.folder / "keys/aitbc.env")})
    assert settings.admin_key == made["client/api.key"].strip()
    assert key_id_of(settings.admin_key) == "admin"
    assert settings.redis_url.split("@")[0].removeprefix("redis://:") == made["keys/redis.conf"].split()[1]
    assert len(base64.b64decode(settings.secret_key)) == 32
    assert keys_of() == made


def test_keys_gives_a_key_to_the_volumes_of_an_earlier_version(keys_of):
    (keys_of.folder / "keys/aitbc.env").write_text("REDIS_URL=redis://:x@redis:6379/1\nAITBC_SECRET_KEY=eA==\n")
    made = keys_of()
    lines = made["keys/aitbc.env"].splitlines()
    assert lines[:2] == ["REDIS_URL=redis://:x@redis:6379/1", "AITBC_SECRET_KEY=eA=="]
    assert lines[2:] == [f"AITBC_ADMIN_KEY={made['client/api.key'].strip()}"]
    (keys_of.folder / "client/api.key").unlink()  # that volume was thrown away: another key, and only one
    assert len(keys_of()["keys/aitbc.env"].splitlines()) == 3
