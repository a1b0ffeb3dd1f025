"""Cuts that take their time: pytest tests/faults/slow_*.py."""

import time

from tests.harness.load import Load
from tests.harness.matrix import Row
from tests.harness.processes import wait_for
from tests.harness.proxy import Proxy


def test_one_worker_is_cut_off_from_redis_for_30_s(world: Row) -> None:
    """Its work is done by the other within seconds; healed, it hears that it was declared dead and goes on under a new id."""
    api = world.node()
    cut = Proxy(world.cluster.redis_port)
    try:
        one, other = world.worker(REDIS_URL=cut.url), world.worker()
        agent = world.agent(api, delay=1, max_concurrency=40)
        load = Load(lambda: api, pause=0.05)
        load.start()
        wait_for(lambda: agent.working >= 10, 15, "calls in flight")
        cut.silent = True
        world.struck = time.monotonic()
        while time.monotonic() < world.struck + 30:
            before = len(world.agents.sends)
            time.sleep(5)
            assert len(world.agents.sends) > before, "the other worker stands still"
        cut.silent = False
        wait_for(lambda: "declared dead" in one.log.read_text(), 25, "the cut worker to hear of it")
        healed = sum(agent.sends.values())
        other.stop()
        wait_for(lambda: sum(agent.sends.values()) > healed + 20, 20, "calls by the healed worker alone")
        world.accepted += load.end()
        assert set(load.answers) == {200}
        world.settle(api, faults=2)
        assert one.alive
    finally:
        cut.close()
