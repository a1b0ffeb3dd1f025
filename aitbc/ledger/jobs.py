"""Jobs in queues that are lists of the ledger's own Redis."""

from collections.abc import Iterable

from aitbc.ledger.step import Step
from aitbc.model.job import Job


def push(jobs: Iterable[Job]) -> Step[None]:
    """Put jobs into their queues, in this order."""
    return Step("push", tuple(arg for job in jobs for arg in job), lambda _reply: None)
