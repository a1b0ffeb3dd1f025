"""One and two worker processes. On two cores, which Redis, the agents and the bench share, a second one can gain little."""

from bench.lab import FREE, SATURATED, Lab, rates, side_by_side
from bench.rows.chain import one
from bench.table import Plot, Ratios, Result, Table, rate


def run(lab: Lab) -> Result:
    """Slots free and saturated."""
    with lab.redis() as redis:
        found = side_by_side(
            lab.rounds,
            {
                "1, slots free": lambda: one(lab, redis),
                "2, slots free": lambda: one(lab, redis, FREE, processes=2),
                "1, saturated": lambda: one(lab, redis, SATURATED),
                "2, saturated": lambda: one(lab, redis, SATURATED, processes=2),
            },
        )
    base = {name: f"1{name[1:]}" for name in found}
    rows = [(name, rate(rates(drains)), str(Ratios.of(rates(drains), rates(found[base[name]])))) for name, drains in found.items()]
    table = Table("Worker processes", ("processes", "tasks/s", "÷ one process"), rows)
    return Result([table], [], [Plot("processes", "Worker processes", list(found), {"": [rates(d) for d in found.values()]}, bars=True)])
