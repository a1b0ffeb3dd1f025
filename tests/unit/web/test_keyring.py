"""What a process believes of keys while it asks, and while nobody answers."""

import pytest

from aitbc.errors import LedgerAway
from aitbc.ledger.access import Found
from aitbc.settings import Settings
from aitbc.web import keyring
from aitbc.web.keyring import Keyring


def test_nobody_is_let_in_before_the_first_look_is_answered():
    """Requests that come while another one looks: each looks for itself."""
    ring, looks, meanwhile = Keyring(Settings()), [], []

    def run(_step):
        looks.append(1)
        if len(looks) < 4:
            meanwhile.append(ring.required(run))
        return Found(None, 0, True)

    assert ring.required(run)
    assert meanwhile == [True] * 3


def test_an_outage_before_the_first_look_is_told_and_a_later_one_changes_nothing(monkeypatch):
    ring, here = Keyring(Settings()), []

    def run(_step):
        if not here:
            raise LedgerAway("away")
        return Found(None, 0, False)

    for _ in range(2):
        with pytest.raises(LedgerAway):
            ring.required(run)
    here.append(True)
    assert not ring.required(run)
    here.clear()
    monkeypatch.setattr(keyring, "CACHE_SECONDS", 0.0)
    ring._look_at = 0.0
    assert not ring.required(run)


def test_with_auth_off_nobody_is_asked_and_nothing_is_looked_up():
    assert not Keyring(Settings(host="0.0.0.0", auth="off")).required(lambda _step: pytest.fail("it was asked"))
