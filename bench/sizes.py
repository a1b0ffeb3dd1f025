"""How large the code is: `python -m bench.sizes`. The ceilings are gated in tests/architecture/test_sizes.py, the rest is for reading."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
_LUA_FUNCTION = re.compile(r"(?:local )?function ([\w.:]+)")


class Length(NamedTuple):
    """A file or function, as `path` or `path:name`, and its lines."""

    lines: int
    name: str


def sources(*tops: str) -> list[Path]:
    """The Python and Lua files under these folders or files of the root, empty ones left out."""
    found = (path for top in tops for path in ([ROOT / top] if (ROOT / top).is_file() else (ROOT / top).rglob("*")))
    return sorted(path for path in found if path.suffix in {".py", ".lua"} and path.stat().st_size)


def lines_of(path: Path) -> int:
    """Physical lines."""
    return len(path.read_text(encoding="utf-8").splitlines())


def python_functions(text: str) -> Iterator[Length]:
    """Every function and method, decorators left out."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Length((node.end_lineno or node.lineno) - node.lineno + 1, node.name)


def lua_functions(text: str) -> Iterator[Length]:
    """Every function that begins at a line's start, and what is left as `main`: a script's own body is a function too."""
    lines, rest, at = text.splitlines(), 0, 0
    while at < len(lines):
        begins = _LUA_FUNCTION.match(lines[at])
        if begins is None:
            rest += bool(lines[at].strip()) and not lines[at].startswith("--")
            at += 1
            continue
        first = at
        if not lines[at].endswith(" end"):
            at = next((i for i in range(at, len(lines)) if lines[i].startswith("end")), len(lines) - 1)
        at += 1
        yield Length(at - first, begins[1])
    yield Length(rest, "main")


def files(paths: Iterable[Path]) -> list[Length]:
    """Their lengths, longest first."""
    return sorted((Length(lines_of(path), _name(path)) for path in paths), reverse=True)


def functions(paths: Iterable[Path]) -> list[Length]:
    """The lengths of the functions in them, longest first."""
    found: list[Length] = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        read = lua_functions if path.suffix == ".lua" else python_functions
        found += [Length(function.lines, f"{_name(path)}:{function.name}") for function in read(text)]
    return sorted(found, reverse=True)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def _line(what: str, lengths: list[Length]) -> str:
    longest = f"{lengths[0].lines} ({lengths[0].name})" if lengths else "none"
    middle = f"{median(length.lines for length in lengths):g}" if lengths else "-"
    return f"  {what:<18}{len(lengths):>5}   median {middle:>5}   longest {longest}"


def report() -> str:
    """The figures as text."""
    out, total = [], {}
    for title, tops in {"source": ("aitbc", "celeryconfig.py"), "tests": ("tests",)}.items():
        paths = sources(*tops)
        total[title] = sum(map(lines_of, paths))
        python = [path for path in paths if path.suffix == ".py"]
        lua = [path for path in paths if path.suffix == ".lua"]
        out += [f"{title} ({', '.join(tops)}): {len(paths)} files, {total[title]} lines", _line("files", files(paths))]
        out += [_line("Python functions", functions(python))]
        out += [_line("Lua functions", functions(lua))] if lua else []
    out.append(f"tests ÷ source: {total['tests'] / total['source']:.2f}")
    return "\n".join(out)


if __name__ == "__main__":
    print(report())
