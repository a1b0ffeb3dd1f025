"""The ledger's steps in Redis, µs a script (bench/ledger.py)."""

import tempfile
from pathlib import Path

from bench.lab import Lab
from bench.ledger import COLUMNS, FULL, Bench
from bench.table import Result, Table
from tests.integration.ledger.desk import RedisServer


def run(lab: Lab) -> Result:
    """At few and at 100,000 agents, and where a full agent is in 256 signatures."""
    rows = []
    with tempfile.TemporaryDirectory(dir=lab.folder) as folder:
        server = RedisServer(Path(folder))
        try:
            for count, signatures in ((FULL, 1), (100_000, 1), (FULL, 256)):
                row = Bench(server, count, signatures).run()
                rows.append((f"{count:,}, {signatures}", *(row[name] for name in COLUMNS)))
        finally:
            server.close()
    return Result([Table("The ledger's steps, µs in Redis / commands", ("agents, signatures of each full one", *COLUMNS), rows)])
