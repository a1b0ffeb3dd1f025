"""Errors become one shape."""

import json

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest as HttpBadRequest
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import RequestRedirect

from aitbc.errors import AddressRefused, AitbcError, BadRequest, Conflict, Fault, Full, Gone, Invalid, Misconfigured, NotFound
from aitbc.web import problems


@pytest.fixture(autouse=True)
def request_context():
    app = Flask(__name__)
    with app.test_request_context("/x"):
        yield app


def body(response):
    return json.loads(response.get_data())


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (BadRequest("x"), 400, "Bad request"),
        (NotFound("Task", "t"), 404, "Not found"),
        (Conflict("x"), 409, "Conflict"),
        (Gone("x"), 410, "Gone"),
        (Invalid("x"), 422, "Unprocessable content"),
        (AddressRefused("x"), 422, "Address refused"),
        (Full("x", 7), 429, "Too many requests"),
    ],
)
def test_our_errors_know_their_status(error, status, title):
    response = problems.of_error(error)
    assert (response.status_code, body(response)["title"], response.content_type) == (status, title, "application/problem+json")
    assert body(response)["detail"] == body(response)["message"] == str(error)
    assert response.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert "errors" not in body(response)


@pytest.mark.parametrize("error", [AitbcError("inside"), Misconfigured("inside")])
def test_errors_of_ours_that_no_client_caused_are_bugs(error):
    response = problems.of_error(error)
    assert response.status_code == 500
    assert "inside" not in response.get_data(as_text=True)


def test_faults_are_pointed_at_and_bounded():
    faults = [Fault(f"/a/{n}", "wrong") for n in range(80)]
    errors = body(problems.of_error(Invalid("x", faults)))["errors"]
    assert errors[0] == {"pointer": "/a/0", "detail": "wrong"}
    assert len(errors) == problems.MAX_FAULTS


def test_pointers_escape():
    assert problems.pointer(["a/b", "c~d", 0]) == "/a~1b/c~0d/0"
    assert problems.pointer([]) == ""


def test_a_detail_is_cut():
    assert len(body(problems.problem(400, "t", "x" * 9999))["detail"]) == problems.MAX_DETAIL + 1


def test_flasks_own_refusals(request_context):
    response = problems.of_http(RequestEntityTooLarge())
    assert (body(response)["title"], body(response)["status"]) == ("Content too large", 413)
    assert body(problems.of_http(HttpBadRequest("why")))["detail"] == "why"


@pytest.mark.parametrize("error", [RequestRedirect("/y"), HTTPException()])
def test_what_is_no_refusal_passes(error):
    assert problems.of_http(error) is error


def test_an_error_without_words_has_some():
    class Mute(HTTPException):
        code = 418
        description = None

    assert body(problems.of_http(Mute()))["detail"] == "the request cannot be answered"
