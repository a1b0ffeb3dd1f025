"""Every invariant holds after every step of a random walk, whatever fails; `python -m tests.properties.walk` walks on."""

import pytest

from aitbc.settings import Settings
from tests.integration.ledger.desk import of_texts
from tests.properties import world
from tests.properties.checker import MARK, checked
from tests.properties.walk import walk
from tests.properties.world import VARIANTS

SEEDS = range(40)
"""About two of each variant in each of four batches."""


@pytest.mark.parametrize("batch", range(4))
def test_walks(redis_url, batch):
    variants, ended = set(), 0
    for seed in SEEDS[batch * 10 : batch * 10 + 10]:
        walked = walk(redis_url, seed)
        assert walked.bad == [], "\n".join(walked.trace[-60:])
        ended += bool(walked.ends)
        variants.add(walked.variant)
    assert ended >= 8  # a few are so short that nothing is submitted
    assert len(variants) > 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_checker_is_compiled_in(variant):
    settings, constants = VARIANTS[variant]
    scripts = checked(Settings(**settings), constants)
    assert "L5 " in scripts["route"].text
    assert not any(MARK in script.text for script in scripts.values())


@pytest.mark.parametrize(
    ("script", "line", "instead"),
    [
        ("submit", "  call('ZADD', 'heads', 'LT', ", "  call('ZADD', 'heads', "),
        ("begin", "  if room(A) == 0 then return nil, 'refused', L end\n", ""),
        ("begin", "    return nil, 'begun'\n", "    return begin(id, worker, token, L.task, L.agent, A)\n"),
        ("cancel", "elseif running then\n", "elseif running then\n  free(id, T)\n"),
        ("finish", "if not fields[9] then return {'gone'} end", "if true then return {'gone'} end"),
        ("sweep_match", "want.building == 'drop' or ", ""),
    ],
    ids=[
        "head not kept",
        "begin ignores the agent",
        "anyone begins",
        "cancel frees a begun lease",
        "no reply kept",
        "dropped and satisfied",
    ],
)
def test_a_broken_protocol_is_noticed(redis_url, script, line, instead, monkeypatch):
    """If a line that matters is changed, then some walk finds it."""

    def broken(settings, constants):
        found = checked(settings, constants)
        assert line in found[script].text
        return of_texts({name: item.text.replace(line, instead) for name, item in found.items()})

    monkeypatch.setattr(world, "checked", broken)
    assert any(walk(redis_url, seed).bad for seed in range(200, 250))  # a CI machine walks these few in seconds
