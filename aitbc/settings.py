"""Every setting: name, default, unit, meaning. docs/settings.md and .env.example are generated from this file (`make docs`).

Settings come from the environment, then from the file that AITBC_ENV_FILE names (the environment wins).  A new one is one field here.
"""

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aitbc.errors import Misconfigured
from aitbc.model.access import ADMIN_ID, key_id_of

UNSET = "\0"
"""Default of a setting for which `not given` and `given but empty` differ."""
LOOPBACK = ("127.0.0.0/8", "::1/128")
CHOICES = {"AITBC_BROKER_TRANSPORT": ("batch", "stock"), "AITBC_AUTH": ("keys", "off"), "AITBC_LOG_FORMAT": ("", "json", "plain")}


def _setting(env: str, default: object, meaning: str, *, least: float | None = None, most: float | None = None) -> Any:
    return field(default=default, metadata={"env": env, "meaning": meaning, "least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Settings:
    """The coordinator's settings; `Settings.load()` reads them. Durations are seconds, sizes bytes."""

    redis_url: str = _setting(
        "REDIS_URL", "redis://localhost:6379/1", "The ledger, and the broker too. Also sentinel://h1:p,h2:p/MASTER/1."
    )
    broker_url: str = _setting("CELERY_BROKER_URL", "", "Moves the broker elsewhere (RabbitMQ: amqp://...); empty: REDIS_URL.")
    broker_transport: str = _setting(
        "AITBC_BROKER_TRANSPORT", "batch", "How workers read a Redis broker: batch, or stock (kombu's way, three round trips a job)."
    )
    host: str = _setting("AITBC_HOST", "127.0.0.1", "Address that the API listens on.")
    port: int = _setting("AITBC_PORT", 9001, "Port of the API.", least=0, most=65535)
    public_url: str = _setting("AITBC_PUBLIC_URL", "", "How agents reach the API (callback urls); empty: http://127.0.0.1:PORT.")
    auth: str = _setting(
        "AITBC_AUTH",
        "keys",
        "keys: the API asks for keys as soon as there are any, and off loopback it does not start without; off: it asks nobody.",
    )
    admin_key: str = _setting(
        "AITBC_ADMIN_KEY",
        "",
        "An API key with every scope, kept here and not in Redis, the same on all nodes: aitbc_admin_ and 43 to 128 of A-Z a-z 0-9 _ -.",
    )
    trusted_proxies: int = _setting(
        "AITBC_TRUSTED_PROXIES",
        0,
        "Proxies before the API: the caller's address is so many places from the end of X-Forwarded-For; 0: whoever connects.",
        least=0,
        most=8,
    )
    rate_limit: int = _setting(
        "AITBC_RATE_LIMIT",
        0,
        "Requests a minute of one API key (without keys: of one address), beyond: 429; 0: no limit. It costs each request a trip to Redis.",
        least=0,
    )
    rate_limit_agents: int = _setting(
        "AITBC_RATE_LIMIT_AGENTS",
        0,
        "The same for heartbeats and for callbacks, which count apart from all else; 0: no limit.",
        least=0,
    )
    api_workers: int = _setting("AITBC_API_WORKERS", 2, "Processes of the API under gunicorn (gevent).", least=1, most=64)
    allow_agent_cidrs: str = _setting(
        "AITBC_ALLOW_AGENT_CIDRS",
        UNSET,
        "Private, loopback and link-local ranges where agents may be, comma-separated. Not given: 127.0.0.0/8,::1/128 while the API "
        "listens on loopback, else none; given but empty: none. Public addresses are always allowed.",
    )
    allow_agent_hosts: str = _setting(
        "AITBC_ALLOW_AGENT_HOSTS",
        "",
        "Hosts where agents may be whatever their addresses: agent.example or *.agents.example, with or without :port, comma-separated. "
        "With its port, also one of the coordinator's own.",
    )
    deny_agent_cidrs: str = _setting(
        "AITBC_DENY_AGENT_CIDRS", "", "Ranges where nothing is ever called, public or allowed otherwise, comma-separated."
    )
    secret_key: str = _setting("AITBC_SECRET_KEY", "", "32 bytes in base64, the same on all nodes: encrypts agents' secrets.")
    callback_secret: str = _setting(
        "AITBC_CALLBACK_SECRET",
        "",
        "Signs what a task's `callback_url` is told (Standard Webhooks); base64 after whsec_. Empty: not signed.",
    )
    worker_concurrency: int = _setting("AITBC_WORKER_CONCURRENCY", 1000, "Calls in flight in one worker process.", least=1, most=100_000)
    shutdown_timeout: float = _setting(
        "AITBC_SHUTDOWN_TIMEOUT", 30.0, "How long a stopping worker lets calls run, s.", least=0, most=86_400
    )
    ledger_replicas: int = _setting(
        "AITBC_LEDGER_REPLICAS",
        0,
        "Replicas of Redis that must have a submit within 1 s (fewer: 503, safe to repeat) and should have each attempt's begin and end.",
        least=0,
        most=16,
    )
    max_ledger_bytes: int = _setting(
        "AITBC_MAX_LEDGER_BYTES", 0, "Redis memory at 80 % of which submits are refused; 0: its maxmemory.", least=0
    )
    max_request_bytes: int = _setting("AITBC_MAX_REQUEST_BYTES", 1 << 20, "Largest request body.", least=1024)
    max_response_bytes: int = _setting("AITBC_MAX_RESPONSE_BYTES", 1 << 20, "Largest answer of an agent, decoded.", least=1024)
    max_live_tasks: int = _setting("AITBC_MAX_LIVE_TASKS", 1_000_000, "Tasks that have not ended; beyond: 429.", least=1)
    max_agents: int = _setting("AITBC_MAX_AGENTS", 200_000, "Registered agents; beyond: 429.", least=1)
    max_signatures: int = _setting("AITBC_MAX_SIGNATURES", 256, "Different requirements in use; beyond: 429.", least=1, most=4096)
    max_dispatches: int = _setting("AITBC_MAX_DISPATCHES", 100, "Attempts of a task since its last retry by hand.", least=1)
    max_task_age: float = _setting(
        "AITBC_MAX_TASK_AGE", 7 * 86_400.0, "A task that nobody could take fails as `expired` after this, s.", least=1
    )
    keep_tasks: float = _setting("AITBC_KEEP_TASKS", 86_400.0, "How long an ended task is kept, s.", least=1)
    keep_dead: int = _setting("AITBC_KEEP_DEAD", 100_000, "Failed tasks kept; beyond: oldest first.", least=0)
    keep_bytes: int = _setting("AITBC_KEEP_BYTES", 1 << 30, "Bytes that ended tasks may take, about; beyond: oldest first.", least=0)
    keep_events: int = _setting("AITBC_KEEP_EVENTS", 100_000, "Entries of the event stream, about; beyond: oldest first.", least=1000)
    keep_audit: int = _setting(
        "AITBC_KEEP_AUDIT", 100_000, "Changing calls of API keys in the audit stream, about; beyond: oldest first.", least=1000
    )
    keep_inactive_agents: float = _setting("AITBC_KEEP_INACTIVE_AGENTS", 86_400.0, "An inactive agent is removed after this, s.", least=60)
    held_requests: int = _setting("AITBC_HELD_REQUESTS", 1000, "Requests that one API process holds open (`wait`, `events`).", least=1)
    ageing: float = _setting("AITBC_AGEING", 0.0, "Seconds of waiting that outweigh one priority; 0: never.", least=0)
    flower_port: int = _setting("AITBC_FLOWER_PORT", 5555, "Port of Flower (`aitbc up`, `aitbc flower`), on loopback.", least=0, most=65535)
    var: str = _setting("AITBC_VAR", "var", "Where `aitbc up` keeps its Redis data and keys, and Flower its rows.")
    log_level: str = _setting("AITBC_LOG_LEVEL", "info", "debug, info, warning or error.")
    log_format: str = _setting(
        "AITBC_LOG_FORMAT",
        "",
        "json: each line of API and worker is a JSON object; plain: for people; empty: the API's json, the worker's plain.",
    )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings.

        Raises Misconfigured, naming the setting and what is allowed.
        """
        source = os.environ if environ is None else environ
        texts = {**_read_env_file(source.get("AITBC_ENV_FILE")), **source}
        return cls(**{f.name: _parse(f, texts[f.metadata["env"]]) for f in fields(cls) if f.metadata["env"] in texts})

    @property
    def effective_broker_url(self) -> str:
        """The broker that is used: CELERY_BROKER_URL, else REDIS_URL."""
        return self.broker_url or self.redis_url

    @property
    def callback_base(self) -> str:
        """What callback urls begin with, no slash at the end."""
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def on_loopback(self) -> bool:
        """The API can be reached from this machine only."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    @property
    def asks_for_keys(self) -> bool:
        """Without a look at the ledger: an API key is needed whatever keys there are."""
        return self.auth == "keys" and bool(self.admin_key or not self.on_loopback)

    @property
    def agent_cidrs(self) -> tuple[str, ...]:
        """Non-public ranges in which agents may be."""
        if self.allow_agent_cidrs == UNSET:
            return LOOPBACK if self.on_loopback else ()
        return _listed(self.allow_agent_cidrs)

    @property
    def agent_hosts(self) -> tuple[str, ...]:
        """Hosts where agents may be, whatever their addresses."""
        return _listed(self.allow_agent_hosts)

    @property
    def denied_agent_cidrs(self) -> tuple[str, ...]:
        """Ranges in which nothing is called."""
        return _listed(self.deny_agent_cidrs)


def catalogue() -> list[tuple[str, str, str]]:
    """Every setting as (environment variable, default, meaning), for docs/settings.md and .env.example.

    A default that depends is shown as it is on loopback: given but empty would mean something else.
    """
    shown = [(f.metadata, ",".join(LOOPBACK) if f.default == UNSET else str(f.default)) for f in fields(Settings)]
    return [(about["env"], default, about["meaning"]) for about, default in shown]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _read_env_file(path: str | None) -> dict[str, str]:
    """`NAME=value` lines; blank lines and `#` comments are skipped, quotes around a value are dropped."""
    if not path:
        return {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise Misconfigured(f"AITBC_ENV_FILE={path} cannot be read: {exc.strerror}") from exc
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _parse(setting: "Field[Any]", text: str) -> Any:
    env, least, most = (setting.metadata[key] for key in ("env", "least", "most"))
    if env in CHOICES and text not in CHOICES[env]:
        raise Misconfigured(f"{env}={text!r}: allowed is {' or '.join(choice or 'empty' for choice in CHOICES[env])}")
    if setting.type is str or setting.type == "str":
        return _checked(env, text)
    kind = int if isinstance(setting.default, int) else float
    try:
        value = kind(text)
    except ValueError:
        raise Misconfigured(f"{env}={text!r}: a {'whole number' if kind is int else 'number'} is needed") from None
    if (least is not None and value < least) or (most is not None and value > most) or value != value:  # noqa: PLR0124 - NaN
        raise Misconfigured(f"{env}={text}: allowed is {least:g}" + (f" to {most:g}" if most is not None else " and more"))
    return value


def _checked(env: str, text: str) -> str:
    if env == "AITBC_ADMIN_KEY" and text and key_id_of(text) != ADMIN_ID:  # the text itself is not told: it goes to a log
        raise Misconfigured(f"{env}: a key is needed that is aitbc_{ADMIN_ID}_ and 43 to 128 of A-Z a-z 0-9 _ -, from 32 random bytes")
    return _checked_url(env, text) if env in {"REDIS_URL", "AITBC_PUBLIC_URL"} else text


def _checked_url(env: str, text: str) -> str:
    schemes = {"REDIS_URL": ("redis", "rediss", "sentinel"), "AITBC_PUBLIC_URL": ("http", "https")}[env]
    if text and urlsplit(text).scheme not in schemes:
        raise Misconfigured(f"{env}={text!r}: a URL is needed that begins with {' or '.join(s + '://' for s in schemes)}")
    return text


def client_key(environ: Mapping[str, str] | None = None) -> str:
    """The API key that clients and agents send: AITBC_API_KEY, or what the file AITBC_API_KEY_FILE holds; empty when neither is given.

    Raises Misconfigured for a file that cannot be read.
    """
    source = os.environ if environ is None else environ
    path = source.get("AITBC_API_KEY_FILE")
    if source.get("AITBC_API_KEY") or not path:
        return source.get("AITBC_API_KEY", "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise Misconfigured(f"AITBC_API_KEY_FILE={path} cannot be read: {exc}") from exc
