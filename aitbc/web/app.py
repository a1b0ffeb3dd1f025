"""The application: its parts, its blueprints (each under `/v1` too), its errors."""

import logging
import re
import time
from functools import partial
from typing import Any

from flask import Flask, Response, g, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from werkzeug.exceptions import RequestHeaderFieldsTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from aitbc import __version__
from aitbc.dispatch.guard import Guard
from aitbc.dispatch.signing import SecretBox
from aitbc.ledger.client import Ledger
from aitbc.ledger.events import Stream
from aitbc.settings import Settings
from aitbc.telemetry import logs, tracing
from aitbc.web import access, agents, balancer, batch, callbacks, dead, events, limits, metrics, problems, queues, reference, service, tasks
from aitbc.web.answers import Json, request_id
from aitbc.web.feed import Feed
from aitbc.web.held import Held
from aitbc.web.keyring import Keyring
from aitbc.web.parts import KEY, Parts
from aitbc.web.refused import Refused
from aitbc.web.requests import BATCH_BODIES, BATCHES, ApiRequest, asked, client_request_id
from aitbc.web.schemas.base import PATH_WORDS

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 65_536

BLUEPRINTS: tuple[APIBlueprint, ...] = (
    agents.blueprint,
    tasks.blueprint,
    batch.blueprint,
    callbacks.blueprint,
    events.blueprint,
    queues.blueprint,
    dead.blueprint,
    balancer.blueprint,
    service.blueprint,
    metrics.blueprint,
    reference.blueprint,
)


class Api(OpenAPI):
    """Flask with validation by schema."""

    request_class = ApiRequest
    json_provider_class = Json

    def add_url_rule(self, rule: str, *args: Any, **options: Any) -> None:
        """Ids in paths are no words of the paths: `GET /agents/discover` is a call that allows POST, not an agent."""
        super().add_url_rule(_ID.sub(r"<id:\1>", rule), *args, **options)


class Id(BaseConverter):
    """An id in a path, of any form: the schemas say which."""

    regex = rf"(?!(?:{'|'.join(map(re.escape, sorted(PATH_WORDS)))})(?:/|\Z))[^/]+"


_ID = re.compile(r"<(agent_id|task_id)>")


def build(settings: Settings | None = None, ledger: Ledger | None = None) -> Flask:
    """Make the application; settings come from the environment and the ledger from the settings, when not given."""
    settings = settings or Settings.load()
    tracing.start()
    app = Api(
        "aitbc.web",
        info=Info(title="aitbc", version=__version__),
        doc_ui=False,
        validation_error_callback=problems.of_validation,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes + 1  # Werkzeug cuts a chunked body there without a word: see ApiRequest
    app.url_map.converters["id"] = Id
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    mine = app.extensions[KEY] = _parts(settings, ledger or Ledger(settings))
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    app.before_request(partial(_begin, mine))
    app.after_request(_end)
    if limits.any_of(settings):
        app.after_request(limits.tell)
    app.teardown_request(lambda _exc: logs.unbind())
    problems.register(app)
    for blueprint in BLUEPRINTS:
        app.register_api(blueprint)
        app.register_blueprint(blueprint, url_prefix="/v1", name=f"v1-{blueprint.name}")
    return app


def _parts(settings: Settings, ledger: Ledger) -> Parts:
    stream = Stream(ledger)
    feed = Feed(stream, settings.held_requests)
    return Parts(
        settings=settings,
        ledger=ledger,
        guard=Guard.of(settings),
        secrets=SecretBox(settings.secret_key) if settings.secret_key else None,
        stream=stream,
        feed=feed,
        held=Held(feed),
        keyring=Keyring(settings),
        refused=Refused(),
    )


def header_bytes(environ: dict[str, Any]) -> int:
    """Bytes of the names and values of a WSGI environment's headers, `HTTP_` left out; the two of the body are bounded elsewhere."""
    return sum(len(name) - 5 + len(value) for name, value in environ.items() if name.startswith("HTTP_"))


def _begin(mine: Parts) -> None:
    g.began = time.monotonic()
    request = asked()
    if request.endpoint in BATCHES and request.max_content_length is not None:
        request.max_content_length = (request.max_content_length - 1) * BATCH_BODIES + 1
    if header_bytes(request.environ) > MAX_HEADER_BYTES:
        raise RequestHeaderFieldsTooLarge(f"the headers are larger than {MAX_HEADER_BYTES} bytes together")
    if sent := client_request_id(request.headers.get("X-Request-Id", "")):
        g.request_id = sent
    logs.bind(request_id=request_id(), **(request.view_args or {}))
    access.admit(request, mine)


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    if log.isEnabledFor(logging.DEBUG):
        spent = (time.monotonic() - g.began) * 1000
        log.debug("%s %s %d", request.method, request.path, response.status_code, extra={"ms": round(spent, 2)})
    return response
