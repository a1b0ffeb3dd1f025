"""The demo's work, and its patience."""

import threading

import pytest

from aitbc.cli import demo
from aitbc.client import ApiError
from aitbc.errors import AitbcError


def test_counts_words():
    assert demo.count_words({"text": demo.TEXT}) == {"words": 10, "longest": "ledger"}
    assert demo.count_words({"text": ""}) == {"words": 0, "longest": ""}
    assert demo.count_words({"model": "llama2", "messages": [{"content": "two words"}], "n": 1}) == {"words": 3, "longest": "llama2"}
    assert demo.count_words({}) == {"words": 0, "longest": ""}


@pytest.fixture
def show(monkeypatch):
    """What the API says of any agent."""
    said = {}

    def answer(*_):
        if isinstance(said["answer"], Exception):
            raise said["answer"]
        return said["answer"]

    monkeypatch.setattr("aitbc.client.Agents.show", answer)
    return said


def test_gives_up_when_an_agent_does_not_come(show, monkeypatch):
    monkeypatch.setattr(demo, "PATIENCE", 0)
    show["answer"] = ApiError(404, "Agent demo-1 not found")
    with pytest.raises(AitbcError, match="agent demo-1 has not registered in 0 s"):
        demo.run_task("http://h", ["demo-1"], threading.Event())


def test_does_not_hide_other_errors(show):
    show["answer"] = ApiError(500, "broken")
    with pytest.raises(ApiError, match="broken"):
        demo.run_task("http://h", ["demo-1"], threading.Event())


def test_ends_when_stopped(show):
    stopping = threading.Event()
    stopping.set()
    assert demo.run_task("http://h", ["demo-1"], stopping) == {}
