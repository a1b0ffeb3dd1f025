"""What a scenario found: tables, the bars it had to reach, and what to draw. All text that is printed is made here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median


class Ratios:
    """One ratio a round; as text: the median, and the lowest and highest."""

    def __init__(self, values: Iterable[float]) -> None:
        self.values = sorted(values)

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> "Ratios":
        """Round by round: both were measured side by side."""
        return cls(a / b for a, b in zip(above, below, strict=True))

    @property
    def median(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.values[0]:.2f}–{self.values[-1]:.2f})"


def rate(values: Sequence[float]) -> str:
    """The median of tasks a second."""
    return f"{median(values):,.0f}"


@dataclass(frozen=True, slots=True)
class Table:
    """Printed as Markdown. `note`: what a reader must know to read it."""

    title: str
    head: Sequence[str]
    rows: list[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        lines = [self.head, ["-"] * len(self.head), *self.rows]
        text = f"## {self.title}\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        return text + (f"\n\n{self.note}" if self.note else "")


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of what must be reached: its figure, the bar, what was reached, and whether that is enough."""

    figure: str
    bar: str
    reached: str
    met: bool

    @classmethod
    def least(cls, figure: str, bar: float, reached: Ratios, wished: float | None = None) -> "Bar":
        """The median must not be below the bar."""
        text = f"≥ {bar:g}" + (f" ({wished:g} wished)" if wished else "")
        return cls(figure, text, str(reached), reached.median >= bar)

    @classmethod
    def most(cls, figure: str, bar: float, reached: Ratios, unit: str = "", wished: float | None = None) -> "Bar":
        """The median must not be above the bar."""
        text = f"≤ {bar:,g}{unit}" + (f" ({wished:g} wished)" if wished else "")
        return cls(figure, text, f"{reached}{unit}", reached.median <= bar)


def bars(found: Sequence[Bar]) -> Table:
    """The table of what must be reached."""
    rows = [(bar.figure, bar.bar, bar.reached, "yes" if bar.met else "**no**") for bar in found]
    return Table("Must reach", ("figure", "bar", "reached: median (lowest–highest)", "met"), rows)


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture: `series` name → one list of rounds for each of `labels`; `bars` draws bars, else lines over the labels."""

    name: str
    title: str
    labels: Sequence[str]
    series: dict[str, Sequence[Sequence[float]]]
    unit: str = "tasks/s"
    bars: bool = False
    log: bool = False


@dataclass(slots=True)
class Result:
    """All of one scenario."""

    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
