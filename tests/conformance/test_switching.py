"""Strategies switch round and round under load: no choice is another's, none is missed."""

from typing import Any

import pytest

from aitbc.ledger.strategy import STRATEGIES
from aitbc.settings import Settings
from tests.conformance import switching
from tests.conformance.judge import judged
from tests.conformance.switching import Load
from tests.integration.ledger.desk import RedisServer, of_texts

TURN = 25
"""Choices that each strategy makes before the next is asked for."""


def test_every_choice_is_the_deciding_strategys(redis_server: RedisServer) -> None:
    report = Load(redis_server.url, 1, TURN).run()
    assert report.clean, report
    assert set(report.chosen) == set(STRATEGIES)
    assert min(report.chosen.values()) >= TURN
    assert report.stepwise >= len(STRATEGIES) - 1  # the sets of the next were filled beside the load, not at once


@pytest.mark.parametrize(
    ("strategy", "line", "instead"),
    [
        ("predictive", "call('ZRANGE', score_key(sig), 0, 0)[1]", "call('ZRANGE', score_key(sig), -1, -1)[1]"),
        ("consistent_hash", "if active[i] < math.ceil(1.25 * sum / #found) then return a end", "return found[#found]"),
        ("round_robin", "SCORE .. epoch .. ':' .. sig, score, a)", "SCORE .. epoch .. ':' .. sig, 'NX', score, a)"),
    ],
    ids=["the worst agent", "the farthest on the ring", "scores that stay"],
)
def test_a_wrong_choice_is_noticed(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, strategy: str, line: str, instead: str
) -> None:
    def broken(settings: Settings, constants: dict[str, int]) -> dict[str, Any]:
        found = judged(settings, constants)
        line_as_compiled = line.replace("SCORE", "'agents:score:'")
        assert line_as_compiled in found["route"].text
        return of_texts(
            {name: item.text.replace(line_as_compiled, instead.replace("SCORE", "'agents:score:'")) for name, item in found.items()}
        )

    monkeypatch.setattr(switching, "judged", broken)
    assert Load(redis_server.url, 1, 10, [strategy]).run().wrong
