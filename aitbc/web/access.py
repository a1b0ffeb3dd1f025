"""Who may make which call: each needs one scope, and tasks and agents are their own key's (and an admin's)."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from aitbc.errors import AitbcError, Forbidden, NotFound, Unauthorized
from aitbc.ledger import access as steps
from aitbc.ledger.access import Note
from aitbc.model.access import EVERYBODY, Caller, Scope
from aitbc.settings import Settings
from aitbc.web import answers, limits
from aitbc.web.parts import Parts, parts, run
from aitbc.web.requests import ApiRequest, asked, bearer, path_of, plain

PUBLIC, TOKEN = "public", "token"
"""What needs no key: it tells nothing that is anybody's; or it brings the token of an attempt instead."""

SCOPES: dict[str, str] = {
    "agents.register": Scope.AGENT,
    "agents.discover": Scope.READ,
    "agents.page": Scope.READ,
    "agents.read": Scope.READ,
    "agents.set_status": Scope.AGENT,
    "agents.heartbeat": Scope.AGENT,
    "agents.drain": Scope.AGENT,
    "agents.resume": Scope.AGENT,
    "agents.remove": Scope.AGENT,
    "agents.by_service": Scope.READ,
    "agents.by_capability": Scope.READ,
    "tasks.submit": Scope.SUBMIT,
    "tasks.read": Scope.READ,
    "tasks.page": Scope.READ,
    "tasks.cancel": Scope.SUBMIT,
    "tasks.retry": Scope.SUBMIT,
    "batch.submit_batch": Scope.SUBMIT,
    "callbacks.complete": TOKEN,
    "callbacks.fail": TOKEN,
    "callbacks.progress": TOKEN,
    "queues.sizes": Scope.READ,
    "queues.stats": Scope.READ,
    "queues.clear": Scope.ADMIN,
    "queues.pause": Scope.ADMIN,
    "queues.resume": Scope.ADMIN,
    "dead.page": Scope.READ,
    "dead.retry": Scope.SUBMIT,
    "dead.drop": Scope.SUBMIT,
    "balancer.set_strategy": Scope.ADMIN,
    "balancer.stats": Scope.READ,
    "balancer.status": Scope.READ,
    "events.of_all": Scope.ADMIN,  # it tells of everybody's tasks
    "events.of_one": Scope.READ,
    "metrics.read": Scope.READ,
    "reference.spec": PUBLIC,
    "reference.page": PUBLIC,
    "service.index": PUBLIC,
    "service.health": PUBLIC,
    "service.ready": PUBLIC,
    "service.registry": Scope.READ,
}
"""What each view needs; one that is not here needs `admin`, and a test fails."""
UNTOLD = frozenset({"agents.discover", "agents.heartbeat"})
"""Not in the audit stream whatever their method: a search, and signs of life, which would drive out all else."""
SUBMITS = frozenset({"tasks.submit", "batch.submit_batch"})
"""In a stream of their own, for the same reason; and so are the calls of admins, which no other key shall drive out."""
_NEEDS = {endpoint: need for name, need in SCOPES.items() for endpoint in (name, f"v1-{name}")}
CHALLENGE = 'Bearer realm="aitbc"'


def admit(request: ApiRequest, mine: Parts) -> None:
    """Before every request: who calls, and may they? Raises Unauthorized, Forbidden, Full, LedgerAway."""
    if request.endpoint is None:  # no such path or method: the answer says so, to anybody
        return
    need = _NEEDS.get(request.endpoint, Scope.ADMIN)
    if need == PUBLIC:
        return
    if need == TOKEN or not mine.keyring.required(run):
        limits.count(request, mine, "")
        if need != TOKEN:
            refuse_web_pages(request, mine.settings)
            request.caller = EVERYBODY
        return
    known = _known(request, mine, need)
    limits.count(request, mine, known.key_id)
    if not known.may(Scope(need)):
        has = ", ".join(sorted(known.scopes)) or "none"
        raise Forbidden(
            f"this call needs an API key with the scope {need}; this key has {has}",
            f'{CHALLENGE}, error="insufficient_scope", scope="{need}"',
        )
    request.caller = known
    if request.method not in {"GET", "HEAD", "OPTIONS"} and plain(request.endpoint) not in UNTOLD:
        request.note = _note


def refuse_web_pages(request: ApiRequest, settings: Settings) -> None:
    """Nobody needs a key on loopback until there is one, and a browser there must not lend that to the pages of others. Raises Forbidden.

    A page elsewhere may POST here (then there is an Origin that is not ours), or may be under a name that leads here (the Host then).
    """
    if settings.auth == "off" or not settings.on_loopback:
        return
    for what, prefix in (("Host", "//"), ("Origin", "")):
        sent = request.headers.get(what)
        if sent is not None and not _is_ours(prefix + sent, settings.host, settings.public_url):
            raise Forbidden(
                f"without API keys calls come from this machine's own programs: the {what} header names neither a name of one word,"
                " an address of loopback nor AITBC_PUBLIC_URL's host; make keys (aitbc keys create), or set AITBC_AUTH=off",
                CHALLENGE,
            )


@lru_cache(maxsize=256)
def _is_ours(url: str, listens: str, public_url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        of_this_network = host and "." not in host and ":" not in host  # nobody outside can have a name of one word
        return bool(of_this_network) or host in {listens, urlsplit(public_url).hostname} or ip_address(host).is_loopback
    except ValueError:
        return False


def _known(request: ApiRequest, mine: Parts, need: str) -> Caller:
    """Whose key came with the request; one that has none, or a wrong one, is counted by its address."""
    sent = bearer(request.headers.get("Authorization"))
    found = mine.keyring.caller(sent, run) if sent else None
    if found is None:
        limits.count(request, mine, "")
    if not sent:
        raise Unauthorized(f"this call needs an API key with the scope {need}, as `Authorization: Bearer KEY`", CHALLENGE)
    if found is None:
        raise Unauthorized(
            f"the API key is not valid: unknown, revoked or expired; this call needs one with the scope {need}",
            f'{CHALLENGE}, error="invalid_token"',
        )
    return found


def caller() -> Caller:
    """Who makes this request; in a call that needs no key nobody is asked, and who asks here all the same gets nothing."""
    return asked().caller


def lasting() -> Callable[[], bool]:
    """For what is answered long after it was asked: whether that which let this request in still would. To be called outside of it too."""
    request, mine = asked(), parts()
    caller, sent = request.caller, bearer(request.headers.get("Authorization"))

    def good() -> bool:
        try:
            if caller is EVERYBODY:
                return not mine.keyring.required(mine.ledger.run)
            return mine.keyring.caller(sent, mine.ledger.run) is not None
        except AitbcError:  # the ledger is away: there is nothing to tell meanwhile
            return True

    return good


def owner() -> str:
    """The API key whose tasks and agents this request sees; empty: everybody's."""
    mine = caller()
    return "" if mine.admin else mine.key_id


def refuse_foreign(kind: str, name: str, belongs_to: str | None) -> None:
    """Raises NotFound for what is another key's: whoever may not see it is not told that it is there."""
    if owner() and belongs_to != owner():
        raise NotFound(kind.capitalize(), name)


def own(kind: str, name: str) -> None:
    """The agent or task (`kind`) is this caller's. The ledger is asked only when it need not be. Raises NotFound."""
    if owner():
        refuse_foreign(kind, name, run(steps.owner_of(kind, name)))


def about(target: str) -> None:
    """What a changing call is about, for the audit stream, when no id stands in its path."""
    asked().target = target


def _note() -> Note:
    """The audit entry of a changing call: it goes with its first step."""
    request = asked()
    target = request.target or next(iter((request.view_args or {}).values()), "")
    what = f"{request.method} {path_of(request.url_rule.rule) if request.url_rule else request.path}"
    kind = "submits" if plain(request.endpoint or "") in SUBMITS else "calls"
    kind = f"admin-{kind}" if request.caller.admin else kind
    keep = parts().settings.keep_audit
    return steps.note(kind, request.caller.key_id, what, str(target)[:256], answers.request_id(), request.remote_addr or "", keep)
