"""`aitbc agents`: the registered agents."""

from typing import Any

import click

from aitbc.cli.base import Noun, client
from aitbc.cli.output import show, show_list, show_object
from aitbc.model.agent import AgentStatus, AgentType

_COLUMNS = {
    "agent": "agent_id",
    "type": "agent_type",
    "status": "status",
    "breaker": "breaker",
    "active": "active",
    "slots": "max_concurrency",
    "health": "health_score",
    "capabilities": "capabilities",
    "endpoint": "endpoints.http",
}


@click.group(cls=Noun)
def agents() -> None:
    """See and steer the registered agents."""


@agents.command("list")
@click.option("--status", type=click.Choice([str(s) for s in AgentStatus]), help="Only those with this status.")
@click.option("--type", "agent_type", type=click.Choice([str(t) for t in AgentType]), help="Only those of this type.")
@click.option("--capability", "capabilities", multiple=True, help="Only those that have it; may be repeated.")
@click.option("--limit", type=click.IntRange(1, 1000), help="Agents a page.")
@click.option("--cursor", help="Where the page before ended; not together with a filter.")
def list_agents(status: str | None, agent_type: str | None, capabilities: tuple[str, ...], limit: int | None, cursor: str | None) -> None:
    """List agents; with a filter, healthiest first."""
    found: dict[str, Any] = {"status": status, "agent_type": agent_type, "capabilities": list(capabilities) or None}
    if not any(found.values()):
        answer = client().agents.list(limit=limit, cursor=cursor)
    elif cursor:
        raise click.UsageError("--cursor does not go together with a filter")
    else:
        answer = client().agents.discover(**found, limit=limit)
    show_list(answer, "agents", _COLUMNS)


@agents.command("show")
@click.argument("agent_id")
def show_agent(agent_id: str) -> None:
    """Show one agent."""
    show_object(client().agents.show(agent_id))


@agents.command()
@click.argument("agent_id")
@click.argument("endpoint", metavar="URL")
@click.option("--type", "agent_type", type=click.Choice([str(t) for t in AgentType]), default="worker", show_default=True)
@click.option("--capability", "capabilities", multiple=True, help="May be repeated.")
@click.option("--service", "services", multiple=True, help="May be repeated.")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option("--max-concurrency", type=click.IntRange(1, 10_000), help="Tasks at once (10).")
@click.option("--weight", type=click.FloatRange(min=0, min_open=True), help="Its share for strategies that weigh (1.0).")
@click.option(
    "--heartbeat-timeout",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Seconds of silence after which it counts as dead; 0: it sends no heartbeats, failed calls alone tell.",
)
def register(agent_id: str, endpoint: str, **fields: Any) -> None:
    """Register the HTTP service at URL as an agent, or replace its record."""
    answer = client().agents.register(agent_id, fields.pop("agent_type"), endpoints={"http": endpoint}, **fields)
    show(answer, str(answer.get("message")))


@agents.command()
@click.argument("agent_id")
def drain(agent_id: str) -> None:
    """Give an agent no new work; running work ends."""
    show(client().agents.drain(agent_id), f"Agent {agent_id} gets no new work")


@agents.command()
@click.argument("agent_id")
def resume(agent_id: str) -> None:
    """Let a drained agent work again."""
    show(client().agents.resume(agent_id), f"Agent {agent_id} works again")


@agents.command()
@click.argument("agent_id")
def remove(agent_id: str) -> None:
    """Drain an agent and forget it with its last task."""
    show(client().agents.remove(agent_id), f"Agent {agent_id} goes with its last task")
