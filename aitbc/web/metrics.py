"""Prometheus's page. Any process answers it, with the same figures: they are read from the ledger at each scrape (decision 31)."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from aitbc.ledger import metrics as steps
from aitbc.ledger.redis_state import look
from aitbc.telemetry import metrics
from aitbc.web.parts import parts, run

blueprint = APIBlueprint("metrics", __name__)


@blueprint.get("/metrics")
def read() -> Response:
    """The fleet in figures, as Prometheus reads them."""
    found = run(steps.read())
    found.put("aitbc_redis_memory_share", look(parts().ledger).memory_share)
    page, content_type = metrics.render(found, request.headers.get("Accept", ""))
    return Response(page, content_type=content_type)
