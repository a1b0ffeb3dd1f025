"""What `aitbc up` decides before anything starts; ports are really bound here, on loopback."""

import base64
import stat

import pytest

from aitbc.cli import plan as planning
from aitbc.embedded import free_port
from aitbc.errors import Misconfigured

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def environ(tmp_path):
    return {"AITBC_VAR": str(tmp_path / "var"), "AITBC_PORT": "0", "AITBC_FLOWER_PORT": "0"}


@pytest.fixture
def make(environ, monkeypatch):
    monkeypatch.setattr(planning, "ask", lambda *_: "")
    made = []

    def make_plan(demo=False, **env):
        made.append(planning.make(demo, {**environ, **env}))
        return made[-1]

    yield make_plan
    for plan in made:
        if plan.redis:
            plan.redis.release()


def test_everything_embedded(make, tmp_path):
    plan = make()
    assert [service.name for service in plan.services] == ["redis", "api", "worker", "flower"]
    assert plan.redis is not None
    assert plan.settings.redis_url == plan.redis.url
    env = plan.services[1].env
    assert env["REDIS_URL"] == plan.redis.url
    assert env["AITBC_SHUTDOWN_TIMEOUT"] == "5"
    assert env["AITBC_PORT"] == str(plan.settings.port) != "0"
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_what_ends_when(make, monkeypatch):
    monkeypatch.setattr(planning, "DEMO_AGENTS", {"demo-1": free_port()})
    services = sorted(make(demo=True).services, key=lambda service: service.ends)
    assert [service.name for service in services] == ["worker", "demo-1", "api", "flower", "redis"]


def test_redis_url_wins(make):
    plan = make(REDIS_URL="redis://elsewhere:1/1")
    assert plan.redis is None
    assert plan.settings.redis_url == "redis://elsewhere:1/1"
    assert plan.services[0].name == "api"


@pytest.mark.parametrize("said", ["PONG", "LOADING"])
def test_a_redis_that_runs_already_is_used(make, monkeypatch, said):
    monkeypatch.setattr(planning, "ask", lambda host, port: said if (host, port) == ("localhost", 6379) else "")
    plan = make()
    assert plan.redis is None
    assert plan.settings.redis_url == "redis://localhost:6379/1"
    assert "runs already" in plan.redis_note


def test_one_that_wants_a_password_is_not_ours(make, monkeypatch):
    monkeypatch.setattr(planning, "ask", lambda *_: "NOAUTH")
    assert make().redis is not None


def test_the_secret_key_is_made_once_for_us_alone(make, tmp_path):
    first = make(REDIS_URL="redis://h/1").settings.secret_key
    path = tmp_path / "var" / "secret.key"
    assert len(base64.b64decode(first)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert make(REDIS_URL="redis://h/1").settings.secret_key == first
    assert make(REDIS_URL="redis://h/1", AITBC_SECRET_KEY="mine").settings.secret_key == "mine"


@pytest.mark.parametrize(("setting", "who"), [("AITBC_PORT", "the API"), ("AITBC_FLOWER_PORT", "Flower")])
def test_a_port_that_is_taken_names_its_setting(make, setting, who):
    with planning.socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=rf"port {port}, which {who} needs, is taken: .*{setting}"):
            make(**{setting: str(port)})


def test_a_demo_port_that_is_taken(make, monkeypatch):
    with planning.socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(planning, "DEMO_AGENTS", {"demo-1": taken.getsockname()[1]})
        with pytest.raises(Misconfigured, match=r"agent demo-1 needs, is taken: .*--demo"):
            make(demo=True)


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.2", "http://127.0.0.2:"), ("localhost", "http://localhost:")]
)
def test_the_url_of_the_api_from_here(make, host, url):
    plan = make(AITBC_HOST=host, REDIS_URL="redis://h/1")
    assert plan.url == f"{url}{plan.settings.port}"


def test_a_longer_shutdown_is_kept_when_asked_for(make):
    plan = make(AITBC_SHUTDOWN_TIMEOUT="20", REDIS_URL="redis://h/1")
    assert (plan.services[1].grace, plan.within) == (20.5, 25)
    assert make(REDIS_URL="redis://h/1").within == 10
