"""How long things took, counted by this process: the ledger adds what a worker reports of it to the fleet's histograms (decision 31)."""

from bisect import bisect_left

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the buckets in seconds; beyond the last: one bucket more."""


class Histogram:
    """Counts of one name by label: `{name}:{label}:{bucket}`, and their sum in whole microseconds, `{name}:{label}:us`.

    Labels are words of the code, never a client's: each is kept for ever.
    """

    def __init__(self, name: str) -> None:
        """`name`: a row of `metrics.HISTOGRAMS`."""
        self._name = name
        self._counts: dict[str, list[int]] = {}

    def observe(self, label: str, seconds: float) -> None:
        """Count one. Takes half a microsecond: this is on the way of every task."""
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(BOUNDS) + 2)
        counts[bisect_left(BOUNDS, seconds)] += 1
        counts[-1] += int(seconds * 1e6)

    def totals(self) -> dict[str, int]:
        """All that is not 0, since the start or the last `clear`."""
        names = [*map(str, range(len(BOUNDS) + 1)), "us"]
        return {f"{self._name}:{label}:{names[i]}": n for label, counts in self._counts.items() for i, n in enumerate(counts) if n}

    def clear(self) -> None:
        """Begin anew, at 0."""
        self._counts.clear()
