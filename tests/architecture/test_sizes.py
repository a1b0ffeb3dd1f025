"""Ceilings: a file 300 lines, a function 40, a Lua function 60. What is longer does two things."""

import pytest

from bench.sizes import files, functions, lua_functions, python_functions, sources

FILE, FUNCTION, LUA_FUNCTION = 300, 40, 60
SOURCE = sources("aitbc", "celeryconfig.py", "docs", "bench")
PYTHON = [path for path in SOURCE if path.suffix == ".py"]
LUA = [path for path in SOURCE if path.suffix == ".lua"]


def test_files():
    assert PYTHON
    assert LUA
    assert [f"{n.name}: {n.lines}" for n in files(SOURCE) if n.lines > FILE] == []


@pytest.mark.parametrize(("paths", "most"), [(PYTHON, FUNCTION), (LUA, LUA_FUNCTION)], ids=["python", "lua"])
def test_functions(paths, most):
    assert [f"{n.name}: {n.lines}" for n in functions(paths) if n.lines > most] == []


def test_python_functions_are_measured():
    text = "class A:\n    @dec\n    async def f(self):\n        def g():\n            pass\n        return g\n"
    assert sorted((n.name, n.lines) for n in python_functions(text)) == [("f", 4), ("g", 2)]


def test_lua_functions_are_measured():
    one = "local function f(x)\n  if x then\n    return 1\n  end\nend\n"
    text = f"-- a verb\n{one}\nlocal function g() return 2 end\nlocal y = f(1)\nreturn y\n"
    assert [(n.name, n.lines) for n in lua_functions(text)] == [("f", 5), ("g", 1), ("main", 2)]
