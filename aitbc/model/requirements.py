"""What a task asks of an agent, and its canonical form, the signature, shared by all tasks that ask the same."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

ANY = "any"
"""The signature of no requirements, and the index term that every agent has."""


@dataclass(frozen=True, slots=True)
class Signature:
    """`id`: 12 hex digits or `any`; `terms`: sorted index terms, one a line; `floor`: least health in tenths, 0 to 10."""

    id: str
    terms: str
    floor: int


@dataclass(frozen=True, slots=True)
class Requirements:
    """An agent satisfies them when it has the type, every capability, service and tag, and at least this health (0.0 to 1.0)."""

    agent_type: str | None = None
    capabilities: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    min_health_score: float = 0.0

    @property
    def signature(self) -> Signature:
        """The canonical form; health floors are compared in rounded tenths."""
        terms = sorted(index_terms(self.agent_type, self.capabilities, self.services, self.tags))
        tenths = round(self.min_health_score * 10)
        lines = "\n".join(terms)
        name = hashlib.sha256(f"{lines}\n{tenths}".encode()).hexdigest()[:12] if terms or tenths else ANY
        return Signature(name, lines, tenths)

    def as_json(self) -> dict[str, object]:
        """As a task object shows it: only what was asked for."""
        fields: dict[str, object] = {
            "agent_type": self.agent_type,
            "capabilities": list(self.capabilities),
            "services": list(self.services),
            "tags": list(self.tags),
            "min_health_score": self.min_health_score,
        }
        return {name: value for name, value in fields.items() if value}

    @classmethod
    def from_json(cls, text: str) -> "Requirements":
        """The reverse of `as_json`, from JSON text; empty text is no requirements."""
        fields = json.loads(text or "{}")
        lists = {name: tuple(fields.get(name, ())) for name in ("capabilities", "services", "tags")}
        return cls(fields.get("agent_type"), min_health_score=fields.get("min_health_score", 0.0), **lists)


def index_terms(agent_type: str | None, capabilities: Iterable[str], services: Iterable[str], tags: Iterable[str]) -> set[str]:
    """The index terms of an agent or of requirements: `type:x`, `cap:x`, `svc:x`, `tag:x`."""
    terms = {f"type:{agent_type}"} if agent_type else set()
    return terms | {f"cap:{x}" for x in capabilities} | {f"svc:{x}" for x in services} | {f"tag:{x}" for x in tags}
