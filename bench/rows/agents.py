"""From 10 agents to 100,000: a choice costs the logarithm of their number."""

from contextlib import ExitStack

from bench.lab import Lab, rates, side_by_side
from bench.table import Bar, Plot, Ratios, Result, Table, rate

COUNTS = (10, 1_000, 100_000)
SLOTS = 200


def run(lab: Lab) -> Result:
    """Each number of agents has a Redis of its own, which is filled again each round."""
    with ExitStack() as stack:
        worlds = {n: lab.coordinator(stack.enter_context(lab.redis()), n, SLOTS) for n in COUNTS}

        def measure(agents: int) -> object:
            coordinator = worlds[agents]
            coordinator.refill(lab.tasks)
            return lab.chain(coordinator, lab.tasks)

        found = side_by_side(lab.rounds, {f"{n:,}": lambda n=n: measure(n) for n in COUNTS})
    by = {name: rates(drains) for name, drains in found.items()}
    few = by[f"{COUNTS[0]:,}"]
    rows = [(name, rate(values), str(Ratios.of(values, few))) for name, values in by.items()]
    bar = Bar.least("100,000 agents ÷ 10", 0.67, Ratios.of(by["100,000"], few))
    return Result(
        [Table("Agents", ("agents", "tasks/s", "÷ 10 agents"), rows)],
        [bar],
        [Plot("agents", "Agents registered", list(by), {"full chain": list(by.values())})],
    )
