"""The balancer: its strategy and what it came to; the counters of GET /tasks/status."""

from flask_openapi3.blueprint import APIBlueprint

from aitbc.ledger import queues, tasks
from aitbc.ledger.tasks import TaskStats
from aitbc.web import access, answers
from aitbc.web.answers import Answer
from aitbc.web.parts import run
from aitbc.web.schemas.tasks import StrategyQuery

blueprint = APIBlueprint("balancer", __name__)

MAX_WEIGHTS = 100


@blueprint.put("/load-balancer/strategy")
def set_strategy(query: StrategyQuery) -> Answer:
    """Score agents by another strategy; the old one decides until every agent has its new score."""
    access.about(query.strategy)
    name = run(queues.set_strategy(query.strategy))
    return answers.success(message=f"Load balancing strategy set to {query.strategy}", strategy=name)


@blueprint.get("/load-balancer/stats")
def stats() -> Answer:
    """Strategy, load and success."""
    return answers.success(stats=balancer_stats(run(tasks.stats()), all_agents=access.caller().admin))


@blueprint.get("/tasks/status")
def status() -> Answer:
    """Counters since the ledger's first day, and what is queued."""
    found = run(tasks.stats())
    counts = {
        "tasks_distributed": found.begun,
        "tasks_completed": found.completed,
        "tasks_failed": found.failed,
        "avg_distribution_time": round(found.distribution_seconds, 6),
        "load_balancer_stats": balancer_stats(found, all_agents=access.caller().admin),
        "queue_sizes": found.queue_sizes,
    }
    return answers.success(stats=counts)


def balancer_stats(found: TaskStats, *, all_agents: bool = True) -> Answer:
    """`load_balancer_stats`; an assignment is an attempt that was begun. Weights name agents: only who sees `all_agents` gets them."""
    return {
        "strategy": found.strategy,
        "active_agents": found.active_agents,
        "total_assignments": found.begun,
        "avg_agent_load": round(found.live_leases / found.active_agents, 4) if found.active_agents else 0,
        "successful_assignments": found.succeeded_attempts,
        "failed_assignments": found.failed_attempts,
        "success_rate": round(found.success_rate, 4),
        "agent_weights": dict(list(found.weights.items())[:MAX_WEIGHTS]) if all_agents else {},
    }
