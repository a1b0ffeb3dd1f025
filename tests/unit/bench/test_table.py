"""What the bench prints: ratios are those of each round, and a bar is judged by their median."""

import pytest

from bench.table import Bar, Ratios, Table, bars, rate


def test_ratios_are_taken_round_by_round():
    ratios = Ratios.of([100, 30, 50], [10, 10, 50])
    assert ratios.values == [1, 3, 10]
    assert ratios.median == 3
    assert str(ratios) == "3.00 (1.00–10.00)"


def test_both_sides_have_equally_many_rounds():
    with pytest.raises(ValueError, match="longer"):
        Ratios.of([1], [1, 2])


@pytest.mark.parametrize(("values", "met"), [([9, 8, 1], True), ([9, 7.9, 1], False)])
def test_a_lower_bar_is_met_by_the_median(values, met):
    assert Bar.least("chain", 8, Ratios(values)).met is met


@pytest.mark.parametrize(("values", "met"), [([90, 91, 1], True), ([91, 91, 1], False)])
def test_an_upper_bar_is_met_by_the_median(values, met):
    assert Bar.most("Redis", 90, Ratios(values), " µs").met is met


def test_the_bars_say_which_are_missed():
    met, missed = Bar.least("a", 8, Ratios([9]), 12), Bar.most("b", 90, Ratios([91]), " µs")
    assert bars([met, missed]).rows == [
        ("a", "≥ 8 (12 wished)", "9.00 (9.00–9.00)", "yes"),
        ("b", "≤ 90 µs", "91.00 (91.00–91.00) µs", "**no**"),
    ]


def test_a_table_is_markdown():
    table = Table("Chain", ("what", "tasks/s"), [("ours", rate([1, 12345.6, 20000]))], "Read on.")
    assert str(table) == "## Chain\n\n| what | tasks/s |\n| - | - |\n| ours | 12,346 |\n\nRead on."
