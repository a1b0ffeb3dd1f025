"""The service itself: what it is, whether it lives, whether it can work; the registry in numbers."""

from dataclasses import asdict

from flask import current_app
from flask_openapi3.blueprint import APIBlueprint

from aitbc import __version__
from aitbc.errors import LedgerAway, TryLater
from aitbc.ledger import agents, workers
from aitbc.ledger.redis_state import RedisState, look
from aitbc.model.agent import AgentStatus, AgentType
from aitbc.tasks import enqueue
from aitbc.telemetry.metrics import MOST_AGENTS
from aitbc.web import answers, openapi
from aitbc.web.answers import Answer
from aitbc.web.parts import parts, run
from aitbc.web.requests import path_of

blueprint = APIBlueprint("service", __name__)

SERVICE = "agent-coordinator"


@blueprint.get("/")
def index() -> Answer:
    """What this is and which calls it has."""
    return {
        "service": SERVICE,
        "description": "Routes tasks to the least-loaded agent that fits and loses nothing it accepted",
        "version": __version__,
        "endpoints": calls(),
    }


@blueprint.get("/health")
def health() -> Answer:
    """The process lives; asks nobody."""
    return {"status": "healthy", "service": SERVICE, "timestamp": answers.now(), "version": __version__}


@blueprint.get("/ready")
def ready() -> Answer:
    """Tasks can be accepted and will be worked on. 503 says what is missing."""
    redis = _redis()
    alive = 0 if redis.problems else run(workers.count())
    missing = [*redis.problems, *_missing(broker=enqueue.broker_alive(), workers_alive=alive, asked=not redis.problems)]
    if missing:
        raise TryLater("not ready: " + "; ".join(missing), retry_after=2)
    full = run(workers.full(MOST_AGENTS))
    warnings = [*redis.warnings, *([full] if full else [])]
    return {"status": "ready", "service": SERVICE, "workers": alive, "warnings": warnings, "timestamp": answers.now()}


@blueprint.get("/registry/stats")
def registry() -> Answer:
    """Agents counted by status and type."""
    found = run(agents.stats([status.value for status in AgentStatus], [kind.value for kind in AgentType]))
    return answers.success(stats=asdict(found))


def calls() -> list[str]:
    """Every call as `METHOD /path`, `/v1` left out."""
    found = [(path_of(rule.rule), method) for rule, method in openapi.routes(current_app)]
    return [f"{method} {path}" for path, method in sorted(found)]


def _redis() -> RedisState:
    """How Redis is; away is one more problem."""
    try:
        mine = parts()
        mine.ledger.ping()
        return look(mine.ledger)
    except LedgerAway as exc:
        return RedisState("", [str(exc)], [], 0.0)


def _missing(*, broker: bool, workers_alive: int, asked: bool) -> list[str]:
    found = [] if broker else ["the broker does not answer (CELERY_BROKER_URL or REDIS_URL)"]
    return found + (["no worker takes jobs: start one with `aitbc worker`"] if asked and not workers_alive else [])
