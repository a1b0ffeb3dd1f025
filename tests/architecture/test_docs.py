"""The documentation says what the code does: generated pages are fresh, every setting, call and code is there, links and commands exist."""

import ast
import re
import xml.etree.ElementTree as ET

import pytest

from aitbc.cli import main
from aitbc.dispatch.signing import sign
from aitbc.ledger.client import Ledger
from aitbc.model.agent import AgentStatus, AgentType
from aitbc.model.priority import PRIORITIES
from aitbc.model.task import ErrorCode, TaskState
from aitbc.settings import Settings, catalogue
from aitbc.web import create_app
from bench.sizes import ROOT, sources
from docs.generate import OTHERS, pages

DOCS = ROOT / "docs"
PAGES = {path.relative_to(ROOT).as_posix(): path for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))}
SETTING = re.compile(r"\b(?:AITBC_[A-Z_]+[A-Z]|REDIS_URL|CELERY_BROKER_URL)\b")

HOOKS = {"AITBC_STOP_AT", "AITBC_STOP_FILE"}
"""No settings: only tests/faults sets them (aitbc/telemetry/steps.py)."""

PASSED_ON = {"AITBC_TASK_ID", "AITBC_ATTEMPT", "AITBC_TASK_TIMEOUT"}
"""No settings: `aitbc agent --exec` gives them to its command."""


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def source():
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sources("aitbc", "celeryconfig.py")}


@pytest.mark.parametrize("path", pages())
def test_generated_pages_are_fresh(path):
    assert text(path) == pages()[path], f"{path} is stale: make docs"


def test_every_setting_is_documented():
    documented = set(re.findall(r"^\| `(\w+)`", text("docs/settings.md"), re.MULTILINE))
    assert documented == {env for env, *_ in [*catalogue(), *OTHERS]}
    named = {name: path for path, code in source().items() for name in SETTING.findall(code)}
    assert {name: path for name, path in named.items() if name not in documented | PASSED_ON | HOOKS} == {}


def test_every_setting_that_the_docs_name_exists():
    """But for decisions, which also speak of what is not there."""
    known = {env for env, *_ in [*catalogue(), *OTHERS]} | PASSED_ON
    named = {name: page for page in PAGES if "/decisions/" not in page for name in SETTING.findall(text(page))}
    assert {name: page for name, page in named.items() if name not in known} == {}


def test_every_setting_is_used():
    """A field of Settings that nothing reads promises what does not happen."""
    read = set()
    for code in source().values():
        read |= {node.attr for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)} if "Settings" in code else set()
        read |= set(re.findall(r"settings\.(\w+)", code))
    assert [name for name in Settings.__dataclass_fields__ if name not in read] == []


def test_api_lists_every_call_and_no_other():
    app = create_app(Settings(), Ledger(Settings()))
    rules = [rule for rule in app.url_map.iter_rules() if not rule.rule.startswith("/v1")]
    calls = {f"{method} {rule.rule}" for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"}}
    calls = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", call) for call in calls}
    listed = re.findall(r"^\| `((?:GET|POST|PUT|DELETE|PATCH) /\S*)`", text("docs/api.md"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == calls


@pytest.mark.parametrize("page", ["docs/api.md"])
@pytest.mark.parametrize("word", [code.value for code in ErrorCode])
def test_error_codes_are_explained(page, word):
    assert f"| `{word}` |" in text(page)


def said(code):
    """What this module may say: every text with its varying parts as `.*`; at least nine letters of it are fixed."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr | ast.Constant):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [re.split(r"%[-.\d]*[dfgrs]", part.value) if isinstance(getattr(part, "value", 0), str) else ["", ""] for part in parts]
            pieces = [list(map(re.escape, text)) for text in texts]
            pattern = "".join(".*".join(piece) for piece in pieces)
            if sum(map(len, map("".join, texts))) >= 9:
                yield re.compile(pattern)


def test_texts_of_troubleshooting_are_those_of_the_code():
    """The first cells of its tables that are texts; `…` stands for what varies."""
    cells = re.findall(r"^\| (?:`([^`]+)`|`` ?(.+?) ?``)(?: \(API\))? \|", text("docs/troubleshooting.md"), re.MULTILINE)
    words = {first or second for first, second in cells if " " in (first or second)}
    patterns = [pattern for path, code in source().items() if path.endswith(".py") for pattern in said(code)]
    proxy = text("deploy/examples/nginx/aitbc.conf")
    assert len(words) > 25
    assert not any(pattern.fullmatch("the ledger (Redis) has gone fishing: nothing was caught") for pattern in patterns)
    assert [word for word in words if not any(pattern.fullmatch(word) for pattern in patterns) and f'"{word}"' not in proxy] == []


@pytest.mark.parametrize("words", [TaskState, AgentStatus, AgentType, PRIORITIES])
def test_the_glossary_has_every_word(words):
    glossary = text("docs/glossary.md")
    assert [word.value for word in words if f"`{word.value}`" not in glossary] == []


def anchors(markdown):
    """The ids that GitHub gives to headings."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(page, markdown):
    for target in re.findall(r"\]\(([^)\s]+)\)", markdown):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name) if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8") if name else markdown)):
            yield target


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    assert list(broken_links(PAGES[page], text(page))) == []


def test_a_broken_link_is_found():
    markdown = "# One word\n[a](nowhere.md) [b](#one-word) [c](#two) [d](https://x.y) ![e](img/no.svg)"
    assert list(broken_links(DOCS / "README.md", markdown)) == ["nowhere.md", "#two", "img/no.svg"]


def test_every_page_is_in_an_index():
    for index in (DOCS / "README.md", DOCS / "decisions" / "README.md"):
        listed = set(re.findall(r"\]\(([\w.-]+\.md)\)", index.read_text(encoding="utf-8")))
        assert {path.name for path in index.parent.glob("*.md")} - {"README.md"} == listed


def test_make_targets_exist():
    """Every `make x` of a page, in a line of code or between backticks, is a target."""
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = {(page, name) for page in PAGES for name in re.findall(r"(?:^|`|\$ )make ([a-z-]+)", text(page), re.MULTILINE)}
    assert named
    assert [found for found in sorted(named) if found[1] not in targets] == []


def test_commands_exist():
    known = set(main.list_commands(None))
    named = {(page, name) for page in PAGES for name in re.findall(r"(?:^|`|\$ )aitbc ([a-z]+)", text(page), re.MULTILINE)}
    assert named
    assert [found for found in sorted(named) if found[1] not in known] == []


def test_the_changelog_has_an_unreleased_section():
    head, _, rest = text("CHANGELOG.md").partition("\n## ")
    assert head.startswith("# Changelog")
    assert rest.startswith("[Unreleased]\n")
    kinds = re.findall(r"^### (.*)$", rest, re.MULTILINE)
    assert kinds
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("page", sorted(DOCS.glob("adding-*.md")), ids=lambda path: path.name)
def test_recipes_are_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) < 30


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("0*.md")), ids=lambda path: path.name)
def test_decisions_have_one_form(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(f"# {int(page.name[:4])}. ")
    assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequence"]
    assert 15 <= len(lines) <= 25


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.svg")), ids=lambda path: path.name)
def test_pictures_stand_alone(path):
    """Well formed, with a title for those who cannot see them, and nothing that GitHub would not show."""
    root = ET.parse(path).getroot()
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names >= {"title", "desc"}
    assert not names & {"script", "foreignObject", "image"}
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")


def test_the_signature_example_is_right():
    """What agents.md tells agents to check is what is sent."""
    (example,) = [
        block for block in re.findall(r"^```python\n(.*?)^```", text("docs/agents.md"), re.DOTALL | re.MULTILINE) if "hmac" in block
    ]
    names = {}
    exec(example, names)
    headers = {"webhook-id": "t", "webhook-timestamp": "1", "webhook-signature": sign("secret", "t", 1, b"{}")}
    assert names["is_ours"](b"secret", headers, b"{}")
    assert not names["is_ours"](b"secret", headers, b"{ }")
