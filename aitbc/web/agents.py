"""Agents: they register, tell that they live, are found, drained and removed."""

import hmac
from dataclasses import replace

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from aitbc.dispatch.adapter import bearer
from aitbc.dispatch.signing import SETTING, key_of, open_secret
from aitbc.errors import AddressRefused, Conflict, Invalid, Misconfigured
from aitbc.ledger import agents as steps
from aitbc.ledger.step import Step
from aitbc.model.agent import AgentQuery, Registration
from aitbc.telemetry.steps import reached
from aitbc.web import access, answers, jobs
from aitbc.web.answers import Answer, if_match
from aitbc.web.parts import parts, run
from aitbc.web.schemas.agents import AgentPageQuery, CapabilityPath, Discover, Heartbeat, Register, ServicePath, Status
from aitbc.web.schemas.base import AgentPath

blueprint = APIBlueprint("agents", __name__)


@blueprint.post("/agents/register")
def register(body: Register) -> Answer:
    """Add an agent, or replace what it said of itself."""
    for kind, url in body.called.items():
        _check(kind, url)
    access.about(body.agent_id)
    reached("register")
    done = _registered(body.as_registration(_sealed(body), access.caller().key_id, "any" if access.caller().admin else ""), body)
    reached("register.stored")
    jobs.dispatch(done.grants)
    return {
        "status": "success",
        "message": f"Agent {body.agent_id} registered successfully",
        "agent_id": body.agent_id,
        "registered_at": done.registered_at,
    }


@blueprint.post("/agents/discover")
def discover(body: Discover) -> Answer:
    """Agents that satisfy every given field, best health first."""
    return answers.agents(run(steps.discover(body.as_query(access.owner()))), query=body.model_dump(exclude_unset=True))


@blueprint.get("/agents")
def page(query: AgentPageQuery) -> Answer:
    """All agents by id, a page at a time."""
    found = run(steps.page(query.limit, query.cursor, access.owner()))
    return {**answers.agents(found.agents), "next_cursor": found.next_cursor}


@blueprint.get("/agents/<agent_id>")
def read(path: AgentPath) -> Response:
    """One agent."""
    agent = run(steps.read(path.agent_id))
    access.refuse_foreign("agent", path.agent_id, agent.owner)
    return answers.tagged("agent", agent, str(agent.version))


@blueprint.put("/agents/<agent_id>/status")
def set_status(path: AgentPath, body: Status) -> Answer:
    """Set the status by hand; `active` also ends a drain, undoes a delete and closes the breaker."""
    done = _changed(path.agent_id, steps.set_status(path.agent_id, body.status, body.load_metrics, if_match()))
    del done["timestamp"]
    return done


@blueprint.post("/agents/<agent_id>/heartbeat")
def heartbeat(path: AgentPath, body: Heartbeat) -> Answer:
    """A sign of life; the answer says what the agent should stop."""
    access.own("agent", path.agent_id)
    heard = run(steps.heartbeat(path.agent_id, body.load_metrics, body.leases))
    jobs.dispatch(heard.grants)
    return {
        "status": "success",
        "message": f"Heartbeat of agent {path.agent_id} received",
        "agent_id": path.agent_id,
        "heartbeat_at": heard.heartbeat_at,
        "drain": heard.drain,
        "cancel": heard.cancel,
        "unknown": heard.unknown,
    }


@blueprint.post("/agents/<agent_id>/drain")
def drain(path: AgentPath) -> Answer:
    """No new work; running work ends."""
    return _changed(path.agent_id, steps.drain(path.agent_id, if_match()))


@blueprint.post("/agents/<agent_id>/resume")
def resume(path: AgentPath) -> Answer:
    """Back to work."""
    return _changed(path.agent_id, steps.resume(path.agent_id, if_match()))


@blueprint.delete("/agents/<agent_id>")
def remove(path: AgentPath) -> Answer:
    """Drain; gone with its last lease."""
    return _changed(path.agent_id, steps.remove(path.agent_id, if_match()))


@blueprint.get("/agents/service/<service>")
def by_service(path: ServicePath) -> Answer:
    """Agents that offer a service."""
    return answers.agents(run(steps.discover(AgentQuery(services=(path.service,), owner=access.owner()))), service=path.service)


@blueprint.get("/agents/capability/<capability>")
def by_capability(path: CapabilityPath) -> Answer:
    """Agents that have a capability."""
    return answers.agents(
        run(steps.discover(AgentQuery(capabilities=(path.capability,), owner=access.owner()))), capability=path.capability
    )


def _registered(agent: Registration, body: Register) -> steps.Registered:
    """Register; who knows the secret of another key's agent takes it over. Raises Conflict, Full."""
    try:
        return run(steps.register(agent))
    except Conflict:
        kept = run(steps.sealed_secret(agent.agent_id))
        if not (kept and body.secret and _opens(kept, agent.agent_id, body.secret)):
            raise
        return run(steps.register(replace(agent, may=kept)))


def _opens(sealed: str, agent_id: str, secret: str) -> bool:
    try:
        return hmac.compare_digest(open_secret(parts().secrets, sealed, agent_id).encode(), secret.encode())
    except Misconfigured:  # it was sealed under another node's key
        return False


def _check(kind: str, url: str) -> None:
    """Raises AddressRefused."""
    try:
        parts().guard.check_url(url)
    except AddressRefused as exc:
        raise AddressRefused(f"endpoints.{kind}: {exc}") from None


def _sealed(body: Register) -> str:
    """The agent's secret as the ledger may hold it; empty when it has none. Raises Invalid."""
    if not body.secret:
        return ""
    if body.called.keys() - {"http"}:
        bearer(body.secret)
    key_of(body.secret)
    box = parts().secrets
    if box is None:
        raise Invalid(
            f"secret: this coordinator has no key to store it under; set {SETTING} (32 random bytes in base64, the same on all nodes)"
        )
    return box.seal(body.secret, body.agent_id)


def _changed(agent_id: str, step: Step[steps.StatusChanged]) -> Answer:
    """Run a change of status and say what it came to."""
    access.own("agent", agent_id)
    done = run(step)
    jobs.dispatch(done.grants)
    return answers.success(
        message=f"Agent {agent_id} is {done.status}", agent_id=agent_id, new_status=done.status, updated_at=done.updated_at
    )
