"""What a durable ledger costs: `appendfsync always` beside `everysec`."""

from bench import peers
from bench.lab import Lab, rates, side_by_side
from bench.rows.chain import one
from bench.table import Plot, Ratios, Result, Table, rate


def run(lab: Lab) -> Result:
    """Ours and the no-op on both."""
    with lab.redis("always") as always, lab.redis("everysec") as everysec:
        found = side_by_side(
            lab.rounds,
            {
                "stock no-op, everysec": lambda: peers.noop(lab, everysec),
                "stock no-op, always": lambda: peers.noop(lab, always),
                "full chain, everysec": lambda: one(lab, everysec),
                "full chain, always": lambda: one(lab, always),
            },
        )
    base = {name: name.replace("always", "everysec") for name in found}
    rows = [(name, rate(rates(drains)), str(Ratios.of(rates(drains), rates(found[base[name]])))) for name, drains in found.items()]
    table = Table("Append-only file", ("", "tasks/s", "÷ the same with everysec"), rows)
    return Result([table], [], [Plot("aof", "Append-only file", list(found), {"": [rates(d) for d in found.values()]}, bars=True)])
