"""What each call answers, for /openapi.json. A test fails while a call has no row here."""

from dataclasses import dataclass

from pydantic import BaseModel

from aitbc.errors import AddressRefused, AitbcError, BadRequest, Conflict, Full, Gone, Invalid, LedgerAway, PreconditionFailed
from aitbc.web.schemas import answers as a


@dataclass(frozen=True, slots=True)
class Says:
    """The body of a 200 (None: no JSON but `media`), the errors that do not follow from what the view takes, and request headers.

    `makes`: the field of the answer that names what was made; the spec links it to every call that takes it in its path.
    """

    body: type[BaseModel] | None
    errors: tuple[type[AitbcError], ...] = ()
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    makes: str = ""
    ledger: bool = True
    media: str = "application/json"


_REPEAT = ("Idempotency-Key",)

CALLS: dict[str, Says] = {
    "agents.register": Says(a.AgentRegistered, (Full, AddressRefused), makes="agent_id"),
    "agents.discover": Says(a.AgentsFound),
    "agents.page": Says(a.AgentsPage),
    "agents.read": Says(a.OneAgent, takes=("If-None-Match",), gives=("ETag",)),
    "agents.set_status": Says(a.StatusSet, (PreconditionFailed,), takes=("If-Match",)),
    "agents.heartbeat": Says(a.Heard),
    "agents.drain": Says(a.StatusChanged, (PreconditionFailed,), takes=("If-Match",)),
    "agents.resume": Says(a.StatusChanged, (PreconditionFailed,), takes=("If-Match",)),
    "agents.remove": Says(a.StatusChanged, (PreconditionFailed,), takes=("If-Match",)),
    "agents.by_service": Says(a.AgentsFound),
    "agents.by_capability": Says(a.AgentsFound),
    "tasks.submit": Says(a.TaskAccepted, (Conflict, Full), takes=_REPEAT, gives=("Location",), makes="task_id"),
    "batch.submit_batch": Says(a.BatchAnswered, (Full,), takes=_REPEAT),
    "tasks.read": Says(a.OneTask, takes=("If-None-Match", "Prefer"), gives=("ETag", "Preference-Applied")),
    "tasks.page": Says(a.TasksPage, (BadRequest,)),
    "tasks.cancel": Says(a.TaskChanged, (PreconditionFailed,), takes=("If-Match",)),
    "tasks.retry": Says(a.TaskChanged, (Conflict, Full, PreconditionFailed), takes=(*_REPEAT, "If-Match")),
    "callbacks.complete": Says(a.TaskChanged, (Conflict, Gone), takes=("Authorization",)),
    "callbacks.fail": Says(a.TaskChanged, (Conflict, Gone), takes=("Authorization",)),
    "callbacks.progress": Says(a.Renewed, (Gone,), takes=("Authorization",)),
    "queues.sizes": Says(a.QueueSizes),
    "queues.stats": Says(a.QueueStats),
    "queues.clear": Says(a.QueueCleared, (BadRequest,)),
    "queues.pause": Says(a.QueuePaused, (BadRequest,)),
    "queues.resume": Says(a.QueuePaused, (BadRequest,)),
    "dead.page": Says(a.TasksPage, (BadRequest,)),
    "dead.retry": Says(a.DeadRetried, (Full,), takes=_REPEAT),
    "dead.drop": Says(a.DeadDropped),
    "balancer.set_strategy": Says(a.StrategySet, (BadRequest,)),
    "balancer.stats": Says(a.Balancer),
    "balancer.status": Says(a.TaskStatus),
    "events.of_all": Says(None, (Full, Invalid), takes=("Last-Event-ID",), media="text/event-stream"),
    "events.of_one": Says(None, (Full, Invalid), takes=("Last-Event-ID",), media="text/event-stream"),
    "metrics.read": Says(None, media="text/plain"),
    "service.registry": Says(a.RegistryStats),
    "service.index": Says(a.Index, ledger=False),
    "service.health": Says(a.Health, ledger=False),
    "service.ready": Says(a.Ready, (LedgerAway,)),
    "reference.spec": Says(a.Spec, ledger=False),
    "reference.page": Says(None, ledger=False, media="text/html"),
}
