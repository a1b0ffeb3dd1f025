"""OpenAPI 3.1: every route is in it, its page is whole, and schemathesis (all phases) finds nothing in the API as it is served."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from playwright.sync_api import sync_playwright

from aitbc.web import openapi
from aitbc.web.calls import CALLS
from aitbc.web.requests import path_of
from tests.browser.test_flower import CHROMIUM, QUIET
from tests.contract.test_gunicorn import served  # noqa: F401 - a fixture

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("AITBC_SCHEMATHESIS_EXAMPLES", "1")
"""For each call and phase; `make schemathesis` asks for more, with another seed each time."""
SEED = os.environ.get("AITBC_SCHEMATHESIS_SEED", "7")


def test_every_route_is_described(app, client):
    document = client.get("/openapi.json").json
    listed = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(path_of(rule.rule), method) for rule, method in openapi.routes(app)}
    assert set(CALLS) == {rule.endpoint for rule, _ in openapi.routes(app)}


def test_a_call_without_a_row_fails(app):
    app.add_url_rule("/tasks/forgotten", "tasks.forgotten", dict)
    with pytest.raises(KeyError, match=r"tasks\.forgotten"):
        openapi.spec(app)


def test_every_schema_is_one(client):
    document = client.get("/openapi.json").json
    schemas = document["components"]["schemas"]
    assert len(schemas) > 40
    for name, schema in schemas.items():
        jsonschema_rs.validator_for({**schema, "components": document["components"]}, validate_formats=False)
        assert schema.get("description") or "enum" in schema, f"{name} says nothing of itself"
    refs = set(re.findall(r'"#/components/schemas/(\w+)"', client.get("/openapi.json").text))
    assert refs <= set(schemas)


def test_every_answer_and_error_is_described(client):
    for path, methods in client.get("/openapi.json").json["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert {"200", "431"} <= set(operation["responses"]), (path, method)
            assert all(answer["description"] for answer in operation["responses"].values())
            if "requestBody" in operation:
                assert {"400", "408", "413", "415", "422"} <= set(operation["responses"]), (path, method)


def test_the_page_needs_nothing_else(client):
    answer = client.get("/docs")
    assert answer.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script|\bsrc=|@import|url\(", answer.text)
    for path in client.get("/openapi.json").json["paths"]:
        assert f"<code>{path}</code>" in answer.text


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_the_page_in_a_browser(served, scheme, width, tmp_path):  # noqa: F811
    """On a phone in the dark too: nothing is wider than the screen, a call opens by keyboard, a link leads on, nothing is fetched."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append((said.location["url"], said.text)))
        page.goto(f"http://127.0.0.1:{served[0]}/docs")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#tasks_submit summary").focus()
        page.keyboard.press("Enter")
        assert page.locator("#tasks_submit").get_by_text("max_attempts").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("#tasks_submit").scroll_into_view_if_needed()
        page.screenshot(path=Path(os.environ.get("AITBC_SCREENSHOTS", tmp_path)) / f"docs-{scheme}.png")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
        assert dark == (scheme == "dark")
        page.locator("#tasks_submit").get_by_role("link", name="RequirementsBody").click()
        assert page.url.endswith("#schema-RequirementsBody")
        page.get_by_role("link", name="openapi.json").click()
        page.wait_for_load_state()
        browser.close()
    assert [url.rpartition("/")[2].partition("#")[0] for url in asked] == ["docs", "openapi.json"]
    assert [said for url, said in complaints if not url.endswith("/favicon.ico")] == []  # which a browser asks for beside JSON, at times


PARTS = {"tasks": ["--include-path-regex", "^/tasks(?!.*/events)"], "others": ["--exclude-path-regex", "^/tasks|^/ready|^/events"]}
"""Links lead from tasks to tasks and from agents to agents. /ready is left out: its 503 says that no worker runs.
Event streams never end."""


@pytest.mark.parametrize("part", PARTS)
def test_schemathesis(served, tmp_path, part):  # noqa: F811
    report = tmp_path / "out"
    command = [str(Path(sys.executable).with_name("schemathesis"))]
    command += ["--config-file", str(CONFIG), "--no-color", "run", f"http://127.0.0.1:{served[0]}/openapi.json"]
    command += ["--max-examples", EXAMPLES, "--seed", SEED, *PARTS[part]]
    with report.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path, timeout=1800, check=False)
    text = report.read_text()
    assert done.returncode == 0, text[-20_000:]
    for phase in ("Coverage", "Fuzzing", "Stateful", *(["Examples"] if part == "tasks" else [])):
        assert re.search(rf"✅ +{phase}", text), text[-2000:]
    if name := os.environ.get("AITBC_FIGURES"):
        Path(f"{name}-{part}").write_text(text[text.index("= SUMMARY =") :])
