"""One word for one thing (docs/glossary.md): names that say nothing, or that mean another system's thing, are not used."""

import ast
import re

import pytest

from bench.sizes import ROOT, sources

BANNED = {"util", "utils", "helper", "helpers", "manager", "managers", "provider", "providers", "ticket", "tickets"}
FOREIGN = {"json_provider_class"}
"""Names that a framework prescribes."""

_LUA_NAME = re.compile(r"\blocal (?:function )?([\w, ]+)|^function ([\w.:]+)", re.MULTILINE)


def words(name):
    """`retry_helper`, `RetryHelper` and `HTTPHelper2` all have the word `helper`."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def python_names(text):
    """Everything that a module names: functions, classes, arguments, what it assigns and imports under another name."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.alias(asname=str(name)):
                yield name


def lua_names(text):
    return re.findall(r"\w+", " ".join(first or second for first, second in _LUA_NAME.findall(text)))


def banned(path, text):
    names = {*path.split("/"), *(lua_names(text) if path.endswith(".lua") else python_names(text))} - FOREIGN
    return sorted(name for name in names if words(name) & BANNED)


def test_identifiers():
    paths = sources("aitbc", "celeryconfig.py", "docs", "bench")
    found = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}
    assert {path: names for path, text in found.items() if (names := banned(path, text))} == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("aitbc/utils.py", ""),
        ("aitbc/helpers/a.py", ""),
        ("a.py", "class LeaseManager: pass"),
        ("a.py", "def f(ticket_id): pass"),
        ("a.py", "self.provider = 1"),
        ("a.py", "import x as helper"),
        ("a.lua", "local function my_helper() end"),
        ("a.lua", "local a, ticket = 1, 2"),
    ],
)
def test_a_banned_word_is_found(path, text):
    assert banned(path, text)


@pytest.mark.parametrize("text", ["from contextlib import contextmanager", "x = 'ticket'", "class Api:\n    json_provider_class = Json"])
def test_other_words_pass(text):
    assert banned("a.py", text) == []
