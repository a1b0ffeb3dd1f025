"""The ledger's desk: strategies are its Lua."""

from tests.integration.ledger.conftest import desk, redis_server, sound

__all__ = ["desk", "redis_server", "sound"]
