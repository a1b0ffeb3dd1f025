"""The invariants of agents, signatures and scores. Each check yields violations, numbered as in docs/invariants.md."""

from collections import Counter
from collections.abc import Iterator

from aitbc.ledger.step import MICRO
from aitbc.ledger.view import View
from aitbc.model.agent import AgentStatus, Breaker
from aitbc.model.task import TERMINAL

SEALED = "v1:"
"""How a sealed secret begins (aitbc/dispatch/signing.py seals)."""


def slots(v: View) -> Iterator[str]:
    """3: the leases of an agent are those that name it."""
    for agent, members in v.sets("leases:agent:").items():
        for lease in members:
            if agent not in v.agents or v.leases.get(lease, {}).get("agent") != agent:
                yield f"3 agent {agent} does not hold {lease}"


def working(v: View) -> Iterator[str]:
    """4: agents:active is who may get work, and nobody silent is."""
    active, deadlines = v.members("agents:active"), v.scores("agents:deadlines")
    for agent, record in v.agents.items():
        if v.works(agent) != (agent in active):
            yield f"4 agents:active is wrong of {agent} ({record['status']}, {record.get('breaker')})"
        timeout = int(record["_timeout"])
        if record["status"] == AgentStatus.ACTIVE and timeout and v.late(deadlines.get(agent, 0), timeout):
            yield f"4 agent {agent} is active but silent"


def health(v: View) -> Iterator[str]:
    """4: the tenth by which floors judge an agent follows its health."""
    drift = v.scores("agents:drift")
    for agent, record in v.agents.items():
        if v.tenth(agent) != int(record["_tenth"]) and v.late(drift.get(agent, 0)):
            yield f"4 agent {agent}'s health has moved"
        if int(record["_tenth"]) < 10 and agent not in drift:
            yield f"4 agent {agent}'s health would never rise"


def response_times(v: View) -> Iterator[str]:
    """4: a mean of response times, and nothing else, waits to be forgotten."""
    stale = v.scores("agents:stale")
    for agent in {agent for agent, record in v.agents.items() if record.get("_rt")} ^ set(stale):
        yield f"4 agent {agent} has a mean response time or waits to forget it, not both"
    for agent, at in stale.items():
        if v.late(at):
            yield f"4 agent {agent}'s response time is overdue to be forgotten"


def breakers(v: View) -> Iterator[str]:
    """4: an open breaker, and nothing else, waits for its probe; an inactive agent for its removal."""
    opened = {agent for agent, record in v.agents.items() if record.get("breaker") == Breaker.OPEN}
    for agent in opened ^ v.members("agents:cooldown"):
        yield f"4 agent {agent} has an open breaker or waits for a probe, not both"
    half = {agent for agent, record in v.agents.items() if record.get("breaker") == Breaker.HALF_OPEN}
    for agent in half ^ v.members("agents:half_open"):
        yield f"4 agent {agent} has a half open breaker or is listed so, not both"
    inactive = {agent for agent, record in v.agents.items() if record["status"] == AgentStatus.INACTIVE}
    for agent in inactive ^ v.members("agents:inactive"):
        yield f"4 agent {agent} is inactive or listed so, not both"


def indexes(v: View) -> Iterator[str]:
    """4: every index of the registry says what the records say."""
    expected = {(term, agent) for agent, record in v.agents.items() for term in {*v.terms(agent), f"status:{record['status']}"}}
    found = {(term, agent) for term, members in v.sets("agents:with:").items() for agent in members}
    for term, agent in expected ^ found:
        yield f"4 agent {agent} is {term} or indexed so, not both"
    for kind in ("svc", "cap"):
        used = {term for term, _ in expected if term.startswith(f"{kind}:")}
        if used != v.members(f"agents:terms:{kind}"):
            yield f"4 agents:terms:{kind} is {v.members(f'agents:terms:{kind}')}, not {used}"
    if v.members("agents:all") != set(v.agents):
        yield "4 agents:all is not the agents there are"
    for key in ("agents:deadlines", "agents:drift", "agents:stale", "agents:unsettled", "agents:restarted", "agents:weighted"):
        for agent in v.members(key) - set(v.agents):
            yield f"4 unknown agent {agent} in {key}"


def memberships(v: View) -> Iterator[str]:
    """5: the signatures of an agent are the live ones that it satisfies."""
    building = {name for name, sig in v.sigs.items() if "building" in sig}
    for agent, mine in v.sets("agents:sigs:").items():
        fits = v.satisfied(agent) if agent in v.agents else set()
        for sig in mine - fits:
            yield f"5 agent {agent} is listed for {sig} and does not satisfy it"
    for agent in v.agents:
        for sig in v.satisfied(agent) - v.members(f"agents:sigs:{agent}") - building:
            yield f"5 agent {agent} satisfies {sig} and is not listed"


def placed(v: View) -> Iterator[str]:
    """4: in the score sets of their signatures stand the agents that are free, by the strategy's formula."""
    expected = {
        (sig, agent): v.score(agent, v.epochs[v.epoch]) for agent in v.agents if v.free(agent) for sig in v.members(f"agents:sigs:{agent}")
    }
    scores: dict[str, dict[str, float]] = v.snapshot.under(f"agents:score:{v.epoch}:")
    found = {(sig, agent): score for sig, members in scores.items() for agent, score in members.items()}
    for sig, agent in set(expected) ^ set(found):
        yield f"4 agent {agent} is free for {sig} or in its scores, not both"
    for (sig, agent), score in found.items():
        if abs(score - expected.get((sig, agent), score)) > 0:  # an unknown strategy's is NaN: no verdict
            yield f"4 agent {agent} has a wrong score for {sig}"


def epochs(v: View) -> Iterator[str]:
    """4: no score sets but of the deciding strategy and the next, of live signatures and free agents."""
    for key, members in v.sets("agents:score:").items():
        epoch, _, sig = key.partition(":")
        if epoch not in v.epochs or sig not in v.sigs or not all(agent in v.agents and v.free(agent) for agent in members):
            yield f"4 score set {key} is of nothing"


def heads(v: View) -> Iterator[str]:
    """5: heads are the oldest of each signature and rank."""
    for key, members in v.waiting.items():
        sig, rank = key.rsplit(":", 1)
        if v.heads[int(rank)].get(sig) != min(members.values()):
            yield f"5 the head of {key} is {v.heads[int(rank)].get(sig)}, its oldest {min(members.values())}"
    for number, oldest in v.heads.items():
        for sig in oldest:
            if f"{sig}:{number}" not in v.waiting:
                yield f"5 head {sig} of rank {number} has no tasks"


def signatures(v: View) -> Iterator[str]:
    """5: signatures count their live tasks; their listings are complete."""
    live = Counter(task["sig"] for task in v.tasks.values() if task["state"] not in TERMINAL)
    for name, sig in v.sigs.items():
        if int(sig["live"]) != live[name]:
            yield f"5 signature {name} counts {sig['live']} live tasks, there are {live[name]}"
    brought = Counter(sig["by"] for sig in v.sigs.values() if sig.get("by"))
    if (counted := {key: int(n) for key, n in v.snapshot.at("sigs:brought").items()}) != brought:
        yield f"5 API keys are counted as having brought {counted} signatures, there are {dict(brought)}"
    listings = {
        "sigs": set(v.sigs),
        "sigs:floors": {name for name, sig in v.sigs.items() if int(sig["floor"])},
        "sigs:building": {name for name, sig in v.sigs.items() if "building" in sig},
    }
    for key, names in listings.items():
        for name in names ^ v.members(key):
            yield f"5 signature {name} is half there ({key})"


def work(v: View) -> Iterator[str]:
    """6 (L4): no runnable head beside a free agent, but for one whose job is under way."""
    under_way = {task for task, since in v.snapshot.at("heads:seen").items() if v.now - int(since) < 2 * MICRO}
    for rank, oldest in v.heads.items():
        for sig in oldest:
            tasks = v.waiting.get(f"{sig}:{rank}", {})
            first = min(tasks, key=tasks.__getitem__, default="")
            looked = (v.swept and first not in under_way) or any(
                v.tasks[t]["state"] == "waiting" for t in v.waiting.get(f"{sig}:{rank}", ()) if t in v.tasks
            )
            if looked and str(rank) not in v.ledger and v.members(f"agents:score:{v.epoch}:{sig}"):
                yield f"6 signature {sig} of rank {rank} waits beside a free agent"


def caps(v: View) -> Iterator[str]:
    """5, 10: sizes are under their caps; no secret stands in clear."""
    settings = v.snapshot.settings
    if len(v.sigs) > settings.max_signatures:
        yield f"5 {len(v.sigs)} signatures are over AITBC_MAX_SIGNATURES"
    if len(v.agents) > settings.max_agents:
        yield f"10 {len(v.agents)} agents are over AITBC_MAX_AGENTS"
    for agent, record in v.agents.items():
        if record.get("_secret") and not record["_secret"].startswith(SEALED):
            yield f"10 agent {agent}'s secret is not sealed"


CHECKS = (slots, working, health, response_times, breakers, indexes, memberships, placed, epochs, heads, signatures, work, caps)
