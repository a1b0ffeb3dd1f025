"""Measure, print, and with `--write` keep it: `python -m bench [SCENARIO ...]`, all by default; `python -m bench quick` for every day."""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bench.lab import Lab
from bench.machine import described
from bench.rows import QUICK, SCENARIOS
from bench.table import Result, Table, bars
from tests.harness.processes import ROOT

PAGE = ROOT / "docs" / "bench"
NOTE = "<!-- Written by `make bench`: run it again, do not edit. -->\n\n# Results of the bench\n\n"


def main() -> int:
    """Exit code 1 when a scenario failed; a bar that is missed is no failure."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))  # through every `with`: no server is left behind
    machine = Table("Machine", ("", ""), [*described(), ("rounds", str(options.rounds))], _warning(options.rounds))
    print(machine, flush=True)
    found: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="aitbc-bench-") as folder:
        lab = Lab(Path(folder), options.rounds, quick=options.names == ["quick"], full=options.full)
        try:
            for name in options.names:
                _one(name, lab, found)
                if options.write:  # each time: a long run that is stopped has not been for nothing
                    _write(machine, found)
        finally:
            lab.close()
    print(f"\n{_judged(found)}")
    return int(len(found) < len(options.names))


def _warning(rounds: int) -> str:
    """What makes a run unfit to be quoted."""
    load = os.getloadavg()[0]
    reasons = [f"others used this machine (load {load:.1f})"] * (load > 1) + ["there were fewer than three rounds"] * (rounds < 3)
    return f"**Not to be quoted: {' and '.join(reasons)}.**" if reasons else ""


def _judged(found: dict[str, Result]) -> Table:
    return bars([bar for result in found.values() for bar in result.bars])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join([*SCENARIOS, *QUICK]), choices=[[], *SCENARIOS, *QUICK])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="a million tasks where the default is scaled down")
    parser.add_argument("--write", action="store_true", help="docs/bench/results.md and its pictures")
    options = parser.parse_args()
    options.names = options.names or list(SCENARIOS)
    return options


def _one(name: str, lab: Lab, found: dict[str, Result]) -> None:
    """A scenario that fails does not take the others with it."""
    began = time.monotonic()
    try:
        found[name] = (SCENARIOS | QUICK)[name](lab)
    except Exception:  # noqa: BLE001 - whatever it was, it is shown and counted
        traceback.print_exc()
    else:
        print("\n" + "\n\n".join(map(str, found[name].tables)))
    print(f"\n({name}: {time.monotonic() - began:.0f} s)", flush=True)


def _write(machine: Table, found: dict[str, Result]) -> None:
    """The page, and a picture for each plot."""
    from bench.plots import draw

    PAGE.mkdir(exist_ok=True)
    parts = [str(machine), str(_judged(found))]
    for result in found.values():
        parts += map(str, result.tables)
        parts += [f"![{plot.title}]({draw(plot, PAGE).name})" for plot in result.plots]
    (PAGE / "results.md").write_text(NOTE + "\n\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
