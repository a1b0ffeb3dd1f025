"""Behind tasks that wait: of all priorities, for a capability whose one agent is busy. 1,000,000 of them hold 1 GB of Redis."""

from contextlib import ExitStack

from bench.fill import Coordinator, waiting
from bench.lab import Lab, rates, side_by_side
from bench.servers import AgentServer
from bench.table import Bar, Plot, Ratios, Result, Table, rate

COUNTS = (0, 100_000, 1_000_000)


def run(lab: Lab) -> Result:
    """Each number has a Redis of its own, which is filled again each round."""
    with ExitStack() as stack:
        slow = stack.enter_context(AgentServer(lab.folder, "--delay", "600"))

        def world(n: int) -> Coordinator:
            made = lab.coordinator(stack.enter_context(lab.redis()))
            made.register(1, 1, slow, capabilities=("rare",))
            made.steps(waiting(n, capability="rare"))
            return made

        worlds = {n: world(n) for n in COUNTS}

        def measure(n: int) -> object:
            worlds[n].refill(lab.tasks)
            return lab.chain(worlds[n], lab.tasks, held=1)

        found = side_by_side(lab.rounds, {f"{n:,}": lambda n=n: measure(n) for n in COUNTS})
    by = {name: rates(drains) for name, drains in found.items()}
    rows = [(name, rate(values), str(Ratios.of(values, by["0"]))) for name, values in by.items()]
    bar = Bar.least("behind 100,000 waiting tasks ÷ none", 0.67, Ratios.of(by["100,000"], by["0"]))
    return Result(
        [Table("Waiting tasks", ("waiting before them", "tasks/s", "÷ none"), rows)],
        [bar],
        [Plot("waiting", "Behind waiting tasks", list(by), {"full chain": list(by.values())})],
    )
