"""What `aitbc up` runs, decided before anything starts: ports, Redis, secret key, services."""

import base64
import errno
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from aitbc.cli import commands
from aitbc.cli.children import Service
from aitbc.embedded import EmbeddedRedis, ask, free_port
from aitbc.errors import Misconfigured
from aitbc.model.access import ADMIN_ID, new_key_text
from aitbc.settings import Settings, client_key

SHUTDOWN_TIMEOUT = 5.0
"""AITBC_SHUTDOWN_TIMEOUT under `up` when it is not given, s."""
REST = 5.0
"""Seconds for everything to end beside the worker's shutdown timeout: ten in all, unless a longer one was asked for."""
DEMO_AGENTS = {"demo-1": 9002, "demo-2": 9003, "demo-3": 9004}
"""Agent -> port."""
ADMIN_KEY_FILE = "admin.key"
"""Under AITBC_VAR: the API key of an `aitbc up` that others reach."""
_HUSH_REDIS = (
    r"# (oO0O|Redis version=|Configuration loaded|Server initialized|WARNING Memory overcommit|User requested|Redis is now ready to exit)"
)
"""What Redis says at its highest level whenever it starts and ends."""
_HUSH_WORKER = r"SecurityWarning: You're running the worker with superuser privileges"
"""In a container root is the rule."""
_HUSH_FLOWER = r"inspector:\d+\] Inspect method \w+ failed"
"""While no worker answers yet."""
WORKER, AGENTS, WEB, REDIS = range(4)
"""The order in which services end: who sends work, who does it (and says goodbye to the API), who serves, who keeps it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`settings` as the services see them; `redis`: the embedded one, or None; `redis_note`: which Redis it is, for people.

    `api_key`: what the demo and its agents send; empty for none.
    """

    settings: Settings
    services: list[Service]
    redis: EmbeddedRedis | None
    redis_note: str
    api_key: str = ""

    @property
    def within(self) -> float:
        """Seconds in which all ends."""
        return max(self.settings.shutdown_timeout, SHUTDOWN_TIMEOUT) + REST

    @property
    def url(self) -> str:
        """Where the API is, from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"


def make(demo: bool, environ: Mapping[str, str] | None = None) -> Plan:
    """Decide everything; makes the data directory, the secret key and the lock of the embedded Redis.

    Raises Misconfigured: a wrong setting, a port that is taken, no redis-server, a directory in use.
    """
    given = os.environ if environ is None else environ
    settings = _with_ports(Settings.load(given), demo)
    if "AITBC_SHUTDOWN_TIMEOUT" not in given and settings.shutdown_timeout == Settings().shutdown_timeout:
        settings = replace(settings, shutdown_timeout=SHUTDOWN_TIMEOUT)
    var = Path(settings.var).absolute()
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = replace(settings, secret_key=settings.secret_key or secret_key(var))
    if settings.asks_for_keys and not settings.admin_key:  # others reach it
        settings = replace(settings, admin_key=kept(var / ADMIN_KEY_FILE, new_key_text(ADMIN_ID)))
    url, redis, note = choose_redis(settings, "REDIS_URL" in given)
    settings = replace(settings, redis_url=url)
    plan = Plan(settings, [], redis, note, client_key(given) or settings.admin_key)
    if redis:
        plan.services.append(_redis(redis))
    plan.services.extend(_services(settings))
    if demo:
        plan.services.extend(_demo_agent(plan, name, port) for name, port in DEMO_AGENTS.items())
    return plan


def choose_redis(settings: Settings, given: bool) -> tuple[str, EmbeddedRedis | None, str]:
    """The URL, the embedded Redis if there is to be one, and a few words about it."""
    if given or settings.redis_url != Settings().redis_url:
        return settings.redis_url, None, "REDIS_URL"
    parts = urlsplit(settings.redis_url)
    said = ask(parts.hostname or "localhost", parts.port or 6379)
    if said in {"PONG", "LOADING"}:
        return settings.redis_url, None, "it runs already; REDIS_URL names another"
    redis = EmbeddedRedis(settings.var)
    return redis.url, redis, f"embedded; data in {redis.directory}"


def secret_key(var: Path) -> str:
    """The key in `{var}/secret.key`, made at first: 32 random bytes in base64."""
    return kept(var / "secret.key", base64.b64encode(secrets.token_bytes(32)).decode())


def kept(path: Path, text: str) -> str:
    """What this file holds; made with this text when it is not there, for nobody else to read."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text + "\n")
    return path.read_text(encoding="ascii").strip()


def check_port(host: str, port: int, needed_by: str, remedy: str) -> None:
    """Raise Misconfigured when nobody can listen there; the text says who needs it and what names another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return
    except OSError as exc:
        why = {errno.EADDRINUSE: "is taken", errno.EACCES: "may not be used by this user"}.get(
            exc.errno or 0, f"cannot be used ({exc.strerror})"
        )
        raise Misconfigured(f"{host} port {port}, which {needed_by} needs, {why}: {remedy}") from None


def _with_ports(settings: Settings, demo: bool) -> Settings:
    """Free ports where 0 was asked for; all of them checked."""
    settings = replace(settings, port=settings.port or free_port(), flower_port=settings.flower_port or free_port())
    check_port(settings.host, settings.port, "the API", "AITBC_HOST and AITBC_PORT name another")
    check_port("127.0.0.1", settings.flower_port, "Flower", "AITBC_FLOWER_PORT names another")
    for name, port in DEMO_AGENTS.items() if demo else ():
        check_port("127.0.0.1", port, f"agent {name}", "end what uses it, or leave out --demo")
    return settings


def _environment(settings: Settings) -> dict[str, str]:
    """What was decided here, for the services."""
    return {
        "REDIS_URL": settings.redis_url,
        "AITBC_PORT": str(settings.port),
        "AITBC_FLOWER_PORT": str(settings.flower_port),
        "AITBC_SECRET_KEY": settings.secret_key,
        "AITBC_SHUTDOWN_TIMEOUT": f"{settings.shutdown_timeout:g}",
    }


def _redis(redis: EmbeddedRedis) -> Service:
    def answers() -> bool:
        return ask("127.0.0.1", redis.port) == "PONG"

    return Service("redis", redis.prepare(), grace=2, ends=REDIS, ready=answers, pass_fds=(redis.lock_fd,), hush=_HUSH_REDIS)


def _services(settings: Settings) -> list[Service]:
    env = _environment(settings)
    admin = {"AITBC_ADMIN_KEY": settings.admin_key} if settings.admin_key else {}  # nobody else needs it
    flower_env = {**env, **commands.flower_environment(settings, os.environ)}
    return [
        Service("api", commands.api(), {**env, **admin}, grace=4, ends=WEB),
        Service("worker", commands.worker(), env, grace=settings.shutdown_timeout + 0.5, ends=WORKER, hush=_HUSH_WORKER),
        Service("flower", commands.flower(settings), flower_env, grace=1, ends=WEB, hush=_HUSH_FLOWER),
    ]


def _demo_agent(plan: Plan, name: str, port: int) -> Service:
    argv = [sys.executable, "-m", "aitbc.cli.demo", name, str(port), plan.url]
    return Service(name, argv, {"AITBC_API_KEY": plan.api_key}, grace=1, ends=AGENTS)
