"""What views work with: the ledger, the settings, the guards; one set an application."""

from dataclasses import dataclass, field
from typing import TypeVar, cast

from flask import current_app

from aitbc.dispatch.guard import Guard
from aitbc.dispatch.signing import SecretBox
from aitbc.errors import AitbcError, LedgerAway
from aitbc.ledger.access import Note
from aitbc.ledger.client import Ledger
from aitbc.ledger.events import Stream
from aitbc.ledger.step import Step
from aitbc.settings import Settings
from aitbc.telemetry.once import OutageLog
from aitbc.web.feed import Feed
from aitbc.web.held import Held
from aitbc.web.keyring import Keyring
from aitbc.web.refused import Refused
from aitbc.web.requests import asked

T = TypeVar("T")
KEY = "aitbc"


@dataclass(slots=True)
class Parts:
    """The parts of one application. `secrets`: None without AITBC_SECRET_KEY."""

    settings: Settings
    ledger: Ledger
    guard: Guard
    secrets: SecretBox | None
    stream: Stream
    feed: Feed
    held: Held
    keyring: Keyring
    refused: Refused
    outage: OutageLog = field(default_factory=lambda: OutageLog("the ledger"))


def parts() -> Parts:
    """The parts of the application that answers this request."""
    return cast("Parts", current_app.extensions[KEY])


def run(step: Step[T]) -> T:
    """Run a step of the ledger; an outage is logged once, however many requests meet it. Raises what the step raises, LedgerAway.

    The first step of a changing call takes its audit entry along (see access.py).
    """
    mine = parts()
    note = _note() if mine.keyring.asks else ()
    try:
        value = mine.ledger.run(step, note) if note else mine.ledger.run(step)
    except LedgerAway as exc:
        mine.outage.down(exc)
        raise
    except AitbcError:  # a refusal is an answer too
        mine.outage.up()
        raise
    mine.outage.up()
    return value


def _note() -> Note:
    request = asked()
    make, request.note = request.note, None
    return make() if make else ()
