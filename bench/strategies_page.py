"""docs/bench/strategies.md and its pictures: what the strategies did on each fleet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

import matplotlib as mpl

from bench.fleets import CORES, FLEETS, MEAN, SLOTS, WARM, Fleet
from tests.harness.processes import ROOT

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter

FOLDER = ROOT / "docs" / "bench"
HEAD = f"""<!-- Written by `python -m bench.strategies --write`: run it again, do not edit. -->

# The strategies on mixed fleets

A simulation on the real ledger: every submit, route, finish, heartbeat and sweep is its own Lua in a real Redis, under a clock that the
simulation sets. Simulated are the agents: machines of {CORES} cores and {SLOTS} slots, which slow down when more tasks than cores are in
hand; there is no network and no worker. A mean task is {1000 * MEAN:.0f} ms of work and tasks arrive at random; p50 and p99 are
milliseconds from submit to end, the first fifth of the tasks left out. Beside them the same ledger with another choice: `random`, and
`power of two`, the less loaded of two at random.
"""
ABOUT = {
    "even": "Twelve equal machines, exponential tasks.",
    "one slow": "One of twelve works at a tenth of the others' speed.",
    "one failing fast": "One of twelve answers seven calls of ten with 500 after 2 ms; a task is tried three times at most.",
    "heavy tails": "Twelve equal machines; one task in a hundred takes 7 × the mean, one in a thousand 33 ×.",
    "two sizes": "Eight machines of 2 cores, four of 8 with four times the slots and the weight.",
    "shared machines": "On four of twelve other programs take half of the cores, which their heartbeats report.",
    "specialists": "Eight can x, four x and y with a slot a core; a quarter of the tasks need y.",
    "warm keys": f"80 keys, some asked for more often; a machine keeps {WARM} warm, for which a task is a quarter of the work.",
}


@dataclass
class Run:
    """What one strategy did on one fleet: seconds from submit to end, calls by machine, warm calls, tasks that failed for good."""

    seconds: list[float] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    warm: int = 0
    failed: int = 0

    def percentile(self, which: int) -> float:
        """Milliseconds."""
        return 1000 * quantiles(self.seconds, n=100, method="inclusive")[which - 1]

    def share(self, machines: set[str]) -> float:
        """Of all calls, those to these machines."""
        return sum(n for name, n in self.calls.items() if name in machines) / sum(self.calls.values())


def write(found: Mapping[str, Mapping[str, Run]], tasks: int, *, keep: bool) -> str:
    """The page; `keep`: into docs/bench too, with its pictures."""
    fleets = [fleet for fleet in FLEETS if fleet.name in found]
    seconds, slowest = tasks * MEAN / 36, 0.8 * tasks / 100
    text = (
        HEAD
        + f"""
**How far to trust it.** One seed, {tasks:,} tasks a fleet and strategy: about {seconds:.0f} s of a fleet's time. A p99 rests on its
{slowest:.0f} slowest tasks, so only large differences of p99 mean something. Reports come once a second, and a breaker opens for 10 s.

![p50 and p99 by fleet and strategy](strategies.png)
"""
    )
    text += "\n![share of the calls that went to the odd machines](strategies-share.png)\n"
    text += "".join("\n" + "\n".join(_section(fleet, found[fleet.name])) + "\n" for fleet in fleets)
    if keep:
        (FOLDER / "strategies.md").write_text(text, encoding="utf-8")
        _draw("strategies", "p50 (dark) and p99 (light), ms from submit to end", fleets, found, _latency)
        odd = [fleet for fleet in fleets if fleet.marked]
        _draw("strategies-share", "share of the calls; the line: their share of the power", odd, found, _share)
    return text


def _marked(fleet: Fleet) -> tuple[set[str], float]:
    """The odd machines, and their share of the fleet's power."""
    machines = fleet.machines()
    odd = [machine for machine in machines if machine.marked]
    return {machine.name for machine in odd}, sum(m.power for m in odd) / sum(m.power for m in machines)


def _section(fleet: Fleet, runs: Mapping[str, Run]) -> Iterator[str]:
    odd, power = _marked(fleet)
    most = {"warm": max(run.warm for run in runs.values()), "failed": max(run.failed for run in runs.values())}
    head = ["strategy", "p50", "p99"]
    head += [f"calls to {fleet.marked}"] * bool(odd) + ["warm"] * bool(most["warm"]) + ["failed"] * bool(most["failed"])
    yield f"## {fleet.name.capitalize()}\n\n{ABOUT[fleet.name]}" + (f" Share of the power of {fleet.marked}: {power:.0%}." if odd else "")
    yield "\n| " + " | ".join(head) + " |\n|" + " - |" * len(head)
    for name, run in sorted(runs.items(), key=lambda item: item[1].percentile(99)):
        row = [f"`{name}`", f"{run.percentile(50):,.0f}", f"{run.percentile(99):,.0f}"]
        row += [f"{run.share(odd):.1%}"] * bool(odd) + [f"{run.warm / sum(run.calls.values()):.0%}"] * bool(most["warm"])
        yield "| " + " | ".join(row + [str(run.failed)] * bool(most["failed"])) + " |"


def _draw(name: str, title: str, fleets: list[Fleet], found: Mapping[str, Mapping[str, Run]], panel: Any) -> None:
    rows = (len(fleets) + 1) // 2
    figure, grid = plt.subplots(rows, 2, figsize=(10, 2.6 * rows), layout="constrained", sharey=True)
    for axes in grid.flat[len(fleets) :]:
        axes.set_visible(False)
    for axes, fleet in zip(grid.flat, fleets, strict=False):
        panel(axes, fleet, found[fleet.name])
        axes.set_title(fleet.name + (f": {fleet.marked}" if panel is _share else ""), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    grid.flat[0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    figure.savefig(FOLDER / f"{name}.png", dpi=90)
    plt.close(figure)


def _latency(axes: Any, _: Fleet, runs: Mapping[str, Run]) -> None:
    names = list(runs)
    axes.barh(names, [run.percentile(99) for run in runs.values()], color="#a9c8df")
    axes.barh(names, [run.percentile(50) for run in runs.values()], color="#2f6f9f")
    axes.set_xscale("log")
    axes.set_xlim(left=10)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _share(axes: Any, fleet: Fleet, runs: Mapping[str, Run]) -> None:
    odd, power = _marked(fleet)
    axes.barh(list(runs), [100 * run.share(odd) for run in runs.values()], color="#c8702a")
    axes.axvline(100 * power, color="#444", lw=1)
    axes.set_xlabel("%", loc="right")
