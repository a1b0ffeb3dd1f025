"""A key's name is written once, in ledger/keys.py: the Lua gets it as a constant, and no other Python knows it."""

import ast
import re

from aitbc.ledger.keys import KEYS
from bench.sizes import ROOT, sources

PREFIXES = tuple(key.prefix for key in KEYS if ":" in key.prefix)
"""Keys of one plain word (`leases`, `stats`) look like any other word in a text, so only the others can be looked for."""

ALLOWED = re.compile(r"aitbc/ledger/(keys|view|doctor|\w*invariants)\.py")
"""The doctor and its companions look at the ledger from the outside, as a person with redis-cli does: they name what they read."""


def python_texts(text):
    """Every text in a module, also inside f-strings, docstrings left out."""
    tree = ast.parse(text)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs]


def lua_texts(text):
    code = re.sub(r"--.*", "", text)
    return [single or double for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", code)]


def keys_in(suffix, text):
    texts = lua_texts(text) if suffix == ".lua" else python_texts(text)
    return [found for found in texts if found.startswith(PREFIXES)]


def test_no_key_is_written_elsewhere():
    paths = {path.relative_to(ROOT).as_posix(): path for path in sources("aitbc", "celeryconfig.py")}
    found = {name: keys_in(path.suffix, path.read_text()) for name, path in paths.items() if not ALLOWED.fullmatch(name)}
    assert {name: keys for name, keys in found.items() if keys} == {}


def test_a_written_key_is_found():
    assert keys_in(".py", 'x = f"agent:{name}"') == ["agent:"]
    assert keys_in(".py", "redis.zcard('tasks:waiting:any:0')") == ["tasks:waiting:any:0"]
    assert keys_in(".lua", "call('HGET', 'task:' .. t, 'x') -- 'agent:x'") == ["task:"]
    assert keys_in(".py", '"""agent:{agent_id} is a hash."""\nx = "leases"') == []


def test_keys_are_told_apart():
    """Two keys of the table never have the same name or the same constant."""
    assert len({key.prefix for key in KEYS}) == len({key.lua for key in KEYS}) == len(KEYS)
    assert {key.type for key in KEYS} <= {"hash", "set", "zset", "string", "stream", "list"}


def test_every_key_is_used_by_a_script():
    lua = "\n".join(path.read_text() for path in sources("aitbc/ledger/lua"))
    python = "\n".join(path.read_text() for path in sources("aitbc/ledger") if path.suffix == ".py")
    assert [key.lua for key in KEYS if not re.search(rf"\b{key.lua}\b", lua) and f'"{key.lua}"]' not in python] == []
