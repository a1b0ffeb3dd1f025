"""Endpoint kinds: how an agent of each is asked and how its answer is read.

A new one is a module and a line here (docs/adding-an-adapter.md).
"""

from aitbc.dispatch.adapter import Adapter
from aitbc.dispatch.adapters import a2a, ollama, openai
from aitbc.dispatch.request import build_http
from aitbc.errors import AddressRefused

ADAPTERS: dict[str, Adapter] = {"http": Adapter(build_http), "a2a": a2a.ADAPTER, "openai": openai.ADAPTER, "ollama": ollama.ADAPTER}
"""By kind, in the order of `aitbc.model.agent.ENDPOINT_KINDS`."""


def adapter_of(kind: str) -> Adapter:
    """Raises AddressRefused for a kind that this version cannot call."""
    adapter = ADAPTERS.get(kind)
    if adapter is None:
        raise AddressRefused(f"endpoints of kind {kind[:40]!r} cannot be called; known are: {', '.join(ADAPTERS)}")
    return adapter
