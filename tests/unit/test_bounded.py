"""What is remembered has a bound, and what goes is what was written longest ago."""

import threading

from aitbc.bounded import Bounded


def test_the_oldest_goes_first():
    kept = Bounded(2)
    for name in "abc":
        kept[name] = name.upper()
    assert list(kept.items()) == [("b", "B"), ("c", "C")]


def test_what_is_written_again_is_young_and_drives_nobody_out():
    kept = Bounded(2)
    kept["a"] = kept["b"] = 1
    kept["a"] = 2
    assert dict(kept) == {"a": 2, "b": 1}
    kept["c"] = 3
    assert dict(kept) == {"a": 2, "c": 3}


def test_reading_changes_nothing():
    kept = Bounded(2)
    kept["a"] = kept["b"] = 1
    assert (kept.get("a"), kept["a"], "a" in kept, kept.pop("x", None)) == (1, 1, True, None)
    kept["c"] = 1
    assert list(kept) == ["b", "c"]


def test_threads_may_share_it():
    """Each writes and forgets as web/keyring.py does; nothing is raised and the bound holds."""
    kept, wrong = Bounded(3), []

    def write(first):
        try:
            for n in range(first, first + 3000):
                kept[n % 10] = n
                kept.pop((n + 5) % 10, None)
        except Exception as exc:
            wrong.append(exc)

    threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(kept) <= 3
