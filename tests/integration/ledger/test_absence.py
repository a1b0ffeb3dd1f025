"""The coordinator's own absence is nobody's silence, also when it begins in the middle of a sweep."""

import pytest

from aitbc.ledger import sweep, workers
from tests.integration.ledger.desk import DONE


@pytest.mark.parametrize("seconds", [15, 3600, -3600])
def test_redis_stands_still_between_two_scripts_of_a_sweep(sound, seconds):
    """Found by freezing Redis for 15 s: the sweep had looked at the clock before, and its next script took every worker for dead."""
    sound.agent("a", heartbeat_timeout=10)
    sound.run(workers.alive("w1", first=True))
    call = sound.started("t", run_timeout=7200)
    clock, *others = sweep.steps()
    sound.run(clock)
    sound.at(seconds)
    for step in others:
        sound.run(step)
    assert (sound.state("t"), sound.redis.hget("agent:a", "status")) == ("running", b"active")
    sound.sweep()
    assert sound.state("t") == "running"
    assert call.ends(DONE).word == "completed"


def test_silence_counts_again_after_that(sound):
    sound.agent("a", heartbeat_timeout=0)
    sound.run(workers.alive("w1", first=True))
    sound.started("t")
    sound.sweep()
    sound.pass_time(9)
    assert sound.state("t") == "running"
    sound.pass_time(6)
    assert sound.state("t") != "running" or sound.field("t", "attempt") == "1"
