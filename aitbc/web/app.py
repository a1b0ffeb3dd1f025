"""The application: its parts, its blueprints (each under `/v1` too), its errors."""

import logging
import time
from typing import Any

from flask import Flask, Response, g, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from werkzeug.exceptions import RequestHeaderFieldsTooLarge

from aitbc import __version__
from aitbc.dispatch.guard import Guard
from aitbc.dispatch.signing import SecretBox
from aitbc.ledger.client import Ledger
from aitbc.settings import Settings
from aitbc.telemetry import logs
from aitbc.web import agents, balancer, batch, callbacks, dead, problems, queues, service, tasks
from aitbc.web.answers import Json, request_id
from aitbc.web.held import Held
from aitbc.web.parts import KEY, Parts
from aitbc.web.requests import BATCH_BODIES, BATCHES, ApiRequest, client_request_id

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 65_536

BLUEPRINTS: tuple[APIBlueprint, ...] = (
    agents.blueprint,
    tasks.blueprint,
    batch.blueprint,
    callbacks.blueprint,
    queues.blueprint,
    dead.blueprint,
    balancer.blueprint,
    service.blueprint,
)


class Api(OpenAPI):
    """Flask with validation by schema."""

    request_class = ApiRequest
    json_provider_class = Json


def build(settings: Settings | None = None, ledger: Ledger | None = None) -> Flask:
    """Make the application; settings come from the environment and the ledger from the settings, when not given."""
    settings = settings or Settings.load()
    app = Api(
        "aitbc.web",
        info=Info(title="aitbc", version=__version__),
        doc_ui=False,
        validation_error_callback=problems.of_validation,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes + 1  # Werkzeug cuts a chunked body there without a word: see ApiRequest
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions[KEY] = _parts(settings, ledger or Ledger(settings))
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(lambda _exc: logs.unbind())
    problems.register(app)
    for blueprint in BLUEPRINTS:
        app.register_api(blueprint)
        app.register_blueprint(blueprint, url_prefix="/v1", name=f"v1-{blueprint.name}")
    return app


def _parts(settings: Settings, ledger: Ledger) -> Parts:
    return Parts(
        settings=settings,
        ledger=ledger,
        guard=Guard(settings.agent_cidrs),
        secrets=SecretBox(settings.secret_key) if settings.secret_key else None,
        held=Held(ledger, settings.held_requests),
    )


def header_bytes(environ: dict[str, Any]) -> int:
    """Bytes of the names and values of a WSGI environment's headers, `HTTP_` left out; the two of the body are bounded elsewhere."""
    return sum(len(name) - 5 + len(value) for name, value in environ.items() if name.startswith("HTTP_"))


def _begin() -> None:
    g.began = time.monotonic()
    if request.endpoint in BATCHES and request.max_content_length is not None:
        request.max_content_length = (request.max_content_length - 1) * BATCH_BODIES + 1
    if header_bytes(request.environ) > MAX_HEADER_BYTES:
        raise RequestHeaderFieldsTooLarge(f"the headers are larger than {MAX_HEADER_BYTES} bytes together")
    if sent := client_request_id(request.headers.get("X-Request-Id", "")):
        g.request_id = sent
    logs.bind(request_id=request_id())


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    if log.isEnabledFor(logging.DEBUG):
        spent = (time.monotonic() - g.began) * 1000
        log.debug("%s %s %d", request.method, request.path, response.status_code, extra={"ms": round(spent, 2)})
    return response
