"""Every deliberate breakage can be made: `make mutants` runs seldom, and a text that the product no longer has breaks nothing."""

from bench.sizes import ROOT
from tests.breakages import MUTANTS


def test_each_breakage_has_its_one_place():
    places = {mutant.name: (ROOT / "aitbc" / mutant.path).read_text(encoding="utf-8").count(mutant.before) for mutant in MUTANTS}
    assert len(places) == len(MUTANTS)
    assert {name: found for name, found in places.items() if found != 1} == {}
