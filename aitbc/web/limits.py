"""Rate limits: requests a minute of one API key, or else of one address, counted in Redis for all nodes. Off unless set.

Fixed windows: a caller's minute begins with its first request, so callers' minutes do not end together.  RateLimit headers follow
draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from flask import Response

from aitbc.errors import Full
from aitbc.ledger.access import Standing, count_request
from aitbc.settings import Settings
from aitbc.web.parts import Parts, run
from aitbc.web.requests import ApiRequest, asked, plain

AGENTS = frozenset({"agents.heartbeat", "callbacks.complete", "callbacks.fail", "callbacks.progress"})
"""Calls with a budget of their own: a client that asks too much must not make agents look dead."""
WINDOW = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What is counted together: `default`, or `agents` for heartbeats and callbacks."""

    name: str
    quota: int
    setting: str


def budget_of(settings: Settings, call: str) -> Budget:
    """The budget of a call (an endpoint's name); quota 0: no limit."""
    if call in AGENTS:
        return Budget("agents", settings.rate_limit_agents, "AITBC_RATE_LIMIT_AGENTS")
    return Budget("default", settings.rate_limit, "AITBC_RATE_LIMIT")


def any_of(settings: Settings) -> bool:
    """Whether there is a limit at all."""
    return bool(settings.rate_limit or settings.rate_limit_agents)


def count(request: ApiRequest, mine: Parts, key_id: str) -> None:
    """Count this request. Raises Full when it is beyond the quota, LedgerAway."""
    if not any_of(mine.settings):
        return
    budget = budget_of(mine.settings, plain(request.endpoint or ""))
    if not budget.quota:
        return
    who = f"{budget.name}:{'key' if key_id else 'from'}:{key_id or network_of(request.remote_addr or '')}"
    refused = mine.refused.left(who)
    standing = Standing(-1, refused) if refused else run(count_request(who, budget.quota, WINDOW))
    left, resets_in = max(0, standing.left), math.ceil(standing.resets_in)
    request.limit = f'"{budget.name}";q={budget.quota};w={WINDOW:.0f}', f'"{budget.name}";r={left};t={resets_in}'
    if standing.left < 0:
        mine.refused.add(who, standing.resets_in)
        whose = "API key" if key_id else "address"
        raise Full(f"more than {budget.quota} requests in a minute by this {whose}; {budget.setting} sets the limit", retry_after=resets_in)


def tell(response: Response) -> Response:
    """The RateLimit headers, where a limit was counted."""
    if told := asked().limit:
        response.headers["RateLimit-Policy"], response.headers["RateLimit"] = told
    return response


def network_of(address: str) -> str:
    """An address as it is counted: of IPv6 the /64, which is one customer's."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or f"{IPv6Address(int(parsed) >> 64 << 64)}/64")
