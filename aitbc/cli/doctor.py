"""`aitbc doctor`: is everything as it must be, and if not, what to do."""

from contextlib import closing
from dataclasses import asdict, dataclass

import click

from aitbc.cli.base import TASK_FAILED, UNREACHABLE, Verb, client, node_settings
from aitbc.cli.output import plain, show, without_password
from aitbc.errors import AitbcError
from aitbc.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `state` is ok, warning or failed."""

    subject: str
    state: str
    text: str


@click.command(cls=Verb)
@click.option("--ledger", is_flag=True, help="Also look for broken invariants in the ledger (reads all of it; a few seconds).")
def doctor(ledger: bool) -> None:
    """Check the settings, Redis, the API and the workers; exit 1 when something is wrong, 69 when the API does not answer."""
    findings = [*_api(), *_redis(ledger)]
    lines = [f"{finding.state:<7}  {finding.subject:<9}  {plain(finding.text, limit=None)}" for finding in findings]
    failed = [finding.subject for finding in findings if finding.state == "failed"]
    show({"status": "failed" if failed else "ok", "findings": [asdict(finding) for finding in findings]}, "\n".join(lines))
    if failed:
        click.get_current_context().exit(UNREACHABLE if "api" in failed else TASK_FAILED)


def _api() -> list[Finding]:
    """What /health and /ready say."""
    speaker = client()
    try:
        health = speaker.health()
    except AitbcError as exc:
        return [Finding("api", "failed", f"{exc}; `aitbc up` or `aitbc api` starts one")]
    found = [Finding("api", "ok", f"{speaker.url} answers, version {health.get('version')}")]
    try:
        ready = speaker.ready()
    except AitbcError as exc:
        return [*found, Finding("ready", "failed", str(exc))]
    warnings = [Finding("ready", "warning", str(text)) for text in ready.get("warnings") or ()]
    return [*found, Finding("ready", "ok", "Redis, the broker and a worker are there"), *warnings]


def _redis(thorough: bool) -> list[Finding]:
    """What the ledger says of its Redis and, if asked, of itself."""
    try:
        settings = node_settings()
        found = [Finding("redis", "warning", text) for text in redis_warnings(settings)]
        found = found or [Finding("redis", "ok", f"{without_password(settings.redis_url)} is as it must be")]
        if thorough:
            broken = [Finding("ledger", "failed", text) for text in ledger_violations(settings)]
            found += broken or [Finding("ledger", "ok", "every invariant holds")]
    except AitbcError as exc:
        return [Finding("redis", "failed", str(exc))]
    return found


def redis_warnings(settings: Settings) -> list[str]:
    """What a Redis lacks for the laws to hold. Raises LedgerAway, Misconfigured."""
    from aitbc.ledger.client import Ledger
    from aitbc.ledger.doctor import warnings

    with closing(Ledger(settings)) as ledger:
        return warnings(ledger)


def ledger_violations(settings: Settings) -> list[str]:
    """Broken invariants, those that a second look still shows. Raises LedgerAway."""
    from aitbc.ledger.client import Ledger
    from aitbc.ledger.doctor import examine

    with closing(Ledger(settings)) as ledger:
        return examine(ledger)
