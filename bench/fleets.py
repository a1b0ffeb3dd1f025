"""The fleets of `python -m bench.strategies`: agents as machines of a few cores, tasks that take a while, and what each fleet is for."""

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aitbc.model.requirements import Requirements

CORES, SLOTS, WARM = 4, 16, 8
"""Tasks that a machine works on at full speed, slots that it offers, keys that it keeps warm."""
MEAN = 0.1
"""Seconds of work of a mean task."""


@dataclass
class Machine:
    """`speed`: work a second and core; `failing`: share of calls that end at once as 500; `others`: cores that other programs take."""

    name: str
    cores: float = CORES
    slots: int = SLOTS
    speed: float = 1.0
    failing: float = 0.0
    others: float = 0.0
    marked: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    warm: "OrderedDict[str, None]" = field(default_factory=OrderedDict)

    @property
    def power(self) -> float:
        """Work a second, all cores busy."""
        return (self.cores - self.others) * self.speed

    def needs(self, work: float, key: str) -> tuple[float, bool]:
        """The work of a task of this key, a quarter when the key is warm here, and whether it was."""
        if not key:
            return work, False
        known = key in self.warm
        self.warm[key] = None
        self.warm.move_to_end(key)
        if len(self.warm) > WARM:
            self.warm.popitem(last=False)
        return (work / 4, True) if known else (work, False)


Draw = Callable[[random.Random], float]


@dataclass(frozen=True)
class Fleet:
    """`marked`: what the marked machines are, for the column of their share; `load`: share of the fleet's power that arrives."""

    name: str
    machines: Callable[[], list[Machine]]
    marked: str = ""
    load: float = 0.75
    work: Draw = lambda chance: chance.expovariate(1 / MEAN)
    keys: int = 0
    needs: Callable[[random.Random], Requirements] = lambda _: Requirements()


def equal(count: int = 12) -> list[Machine]:
    return [Machine(f"m{n}") for n in range(count)]


def with_one(**odd: Any) -> Callable[[], list[Machine]]:
    """Eleven equal machines, and one that is not."""
    return lambda: [*equal(11), Machine("odd", marked=True, **odd)]


def sizes() -> list[Machine]:
    small = [Machine(f"s{n}", 2, 8, fields={"weight": 1.0}) for n in range(8)]
    return [*small, *(Machine(f"b{n}", 8, 32, marked=True, fields={"weight": 4.0}) for n in range(4))]


def shared() -> list[Machine]:
    return [*equal(8), *(Machine(f"o{n}", others=2.0, marked=True) for n in range(4))]


def skills() -> list[Machine]:
    special = [Machine(f"s{n}", fields={"capabilities": ("x",)}) for n in range(8)]
    return [*special, *(Machine(f"g{n}", marked=True, slots=CORES, fields={"capabilities": ("x", "y")}) for n in range(4))]


def _tail(chance: random.Random) -> float:
    """Pareto of shape 1.5, of the same mean: one in a hundred takes 7 × as long, one in a thousand 33 ×."""
    return float(min(MEAN / 3 * chance.paretovariate(1.5), 100 * MEAN))


def _skill(chance: random.Random) -> Requirements:
    return Requirements(capabilities=("y",) if chance.random() < 0.25 else ("x",))


FLEETS = (
    Fleet("even", equal),
    Fleet("one slow", with_one(speed=0.1), "the slow one"),
    Fleet("one failing fast", with_one(failing=0.7), "the failing one"),
    Fleet("heavy tails", equal, work=_tail, load=0.6),
    Fleet("two sizes", sizes, "the four big ones"),
    Fleet("shared machines", shared, "the four that share"),
    Fleet("specialists", skills, "the generalists", load=0.7, needs=_skill),
    Fleet("warm keys", equal, load=0.9, keys=80),
)
