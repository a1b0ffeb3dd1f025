"""The two Celery tasks. A job only says `look at this`: delivered twice it does nothing the second time, lost it is made good by the sweep.

Flower's row follows the task: a job that finds nothing to do, or whose task waits, leaves it as it is (Ignore); an attempt that failed and
will be tried again shows as RETRY.
"""

from celery.exceptions import Ignore, Retry

from aitbc.errors import NotFound
from aitbc.ledger import leases, tasks
from aitbc.ledger.leases import Begun
from aitbc.ledger.step import Step
from aitbc.model.lease import new_token, task_of, token_hash
from aitbc.tasks import enqueue, rows
from aitbc.tasks.app import app
from aitbc.tasks.attempts import carry_on, carry_out, publish
from aitbc.tasks.node import node
from aitbc.tasks.rows import Ending
from aitbc.telemetry.steps import reached
from aitbc.worker import current_job, events, spawn


class AttemptFailed(Exception):
    """The task has failed for good; the text is what its row shows."""


@app.task(name=enqueue.ROUTE, throws=(AttemptFailed,), shared=False)
async def route(task_id: str, priority: str) -> str:
    """Look at a task: begin an attempt of it, or of the better one that its agent should do first, or leave it waiting."""
    del priority  # for the reader of Flower's row
    token = new_token()
    return await _look(task_id, leases.route(task_id, node().worker, token_hash(token)), token)


@app.task(name=enqueue.DISPATCH, throws=(AttemptFailed,), shared=False)
async def dispatch(lease_id: str, priority: str) -> str:
    """Begin a lease that was granted, unless somebody has."""
    del priority
    token = new_token()
    return await _look(task_of(lease_id), leases.begin(lease_id, node().worker, token_hash(token)), token)


async def _look(task_id: str, step: Step[Begun], token: str) -> str:
    reached("job.taken")
    begun = await node().ledger.run(step)
    if begun.grants:
        spawn(publish(begun.grants))
    if begun.attempt is None:
        raise Ignore(begun.why)
    if begun.attempt.task_id != task_id:
        spawn(carry_on(begun.attempt, token))
        raise Ignore("something better was begun")
    current_job().start()
    end = await carry_out(begun.attempt, token)
    reached("job.done")
    if end is None:
        raise Ignore("the agent works on")
    return _told(end)


def _told(end: Ending) -> str:
    """Let Celery send the event of this ending."""
    if end.word == "completed":
        return end.text
    if end.word == "failed":
        raise AttemptFailed(end.text)
    kind, fields = rows.event_of(end)
    if kind == "task-retried":
        raise Retry(end.text)
    if kind:
        events.send(kind, current_job().id, **fields)
    raise Ignore("cancelled, or ended elsewhere")


async def cancel(job_id: str) -> None:
    """`celery revoke` is `cancel`. A job's id is its task's, with `.rN` behind it after the Nth retry by hand."""
    for task_id in dict.fromkeys((job_id, job_id.rpartition(".r")[0] or job_id)):
        try:
            changed = await node().ledger.run(tasks.cancel(task_id))
        except NotFound:
            continue
        return await publish(changed.grants)
    return None
