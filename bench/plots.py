"""Pictures of what was measured: the median as a bar or a point, the rounds' spread as a line through it."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

from bench.table import Plot

mpl.use("Agg")
from matplotlib import pyplot as plt

COLOURS = ("#2f6f9f", "#c8702a", "#5a8f3c")


def draw(plot: Plot, folder: Path) -> Path:
    """Write `{name}.png`."""
    tall = len(plot.labels) * max(1, len(plot.series)) * 0.35 + 1.6 if plot.bars else 4
    figure, axes = plt.subplots(figsize=(8, tall), layout="constrained")
    for place, (name, rounds) in enumerate(plot.series.items()):
        (_bars if plot.bars else _line)(axes, plot, name, rounds, place)
    axes.set_title(plot.title, loc="left", fontsize=11)
    (axes.set_xlabel if plot.bars else axes.set_ylabel)(plot.unit)
    if plot.log:
        axes.set_yscale("log")
    if len(plot.series) > 1:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path = folder / f"{plot.name}.png"
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path


def _middle(rounds: Sequence[Sequence[float]]) -> tuple[list[float], list[list[float]]]:
    """Medians, and how far the lowest and highest are from them."""
    middles = [median(values) for values in rounds]
    pairs = list(zip(middles, rounds, strict=True))
    return middles, [[middle - min(values) for middle, values in pairs], [max(values) - middle for middle, values in pairs]]


def _bars(axes: Any, plot: Plot, name: str, rounds: Sequence[Sequence[float]], place: int) -> None:
    middles, spread = _middle(rounds)
    height = 0.8 / len(plot.series)
    at = [k + place * height for k in range(len(middles))]
    axes.barh(at, middles, height=height * 0.9, xerr=spread, color=COLOURS[place], label=name, error_kw={"ecolor": "#444", "lw": 1})
    axes.set_yticks([k + 0.4 - height / 2 for k in range(len(middles))], plot.labels)
    if place == 0:
        axes.invert_yaxis()
    for y, middle, more in zip(at, middles, spread[1], strict=True):
        axes.annotate(
            f"{middle:,.0f}" if middle >= 100 else f"{middle:.1f}", (middle + more, y), (4, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.12)


def _line(axes: Any, plot: Plot, name: str, rounds: Sequence[Sequence[float]], place: int) -> None:
    middles, spread = _middle(rounds)
    axes.errorbar(plot.labels, middles, yerr=spread, marker="o", capsize=3, color=COLOURS[place], label=name)
    if not plot.log:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
