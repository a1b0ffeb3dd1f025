"""Does some test notice each deliberate breakage? `python -m tests.mutants [SECONDS_EACH] [NAME…]`: a table, and exit 1 if one survives.

Each mutant (tests/breakages.py) is made in a copy of the product and its tests, never in the work tree.  There the ledger's directed tests
run first, then the walks of CI, then random walks for what is left of its seconds; the first test that fails has noticed it.  The copy
without any breakage runs too: it must stay unnoticed, or the table means nothing.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.breakages import KEYS, LUA, MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
SECONDS_EACH = 120.0
BASELINE = Mutant("(none: the product as it is)", f"{LUA}read_task.lua", "--", "--")
COPIED = ("aitbc", "tests", "docs", "bench", "setup.cfg", "pyproject.toml", "celeryconfig.py")
SLOW = "tests/integration/ledger/test_limits.py::test_ten_thousand_slots_meet_a_hundred_thousand_waiting_tasks"
LEDGER = "ledger/"
CLIENTS = ("test_pipeline.py", "test_clients.py", "test_convoy.py")
"""Tests of how scripts are sent, not of what they do."""
OF_KEYS = [f"tests/contract/test_{name}.py" for name in ("shares", "owners", "key_matrix", "api_keys")]
ELSEWHERE = {
    "dispatch": ["tests/unit/dispatch/test_outcome.py"],
    "tasks": ["tests/integration/system/test_worker_life.py", "tests/integration/system/test_answers.py"],
}
NOT_APPLIED = "DOES NOT APPLY"
SURVIVED = "SURVIVED"


@dataclass(frozen=True, slots=True)
class Seen:
    """`by`: the test that failed first, a violation that a walk found, or SURVIVED or NOT_APPLIED."""

    by: str
    seconds: float

    @property
    def noticed(self) -> bool:
        return self.by not in {SURVIVED, NOT_APPLIED}


def judge(mutant: Mutant, seconds: float) -> Seen:
    """Break a copy and run its tests, at most so long."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        if not _broken_copy(mutant, copy):
            return Seen(NOT_APPLIED, 0.0)
        by = _first_failure(copy, mutant, seconds)
        left = seconds - (time.monotonic() - began)
        if by == SURVIVED and mutant is not BASELINE and mutant.path.startswith(LEDGER) and left > 1:
            by = _first_violation(copy, left)
    return Seen(by, time.monotonic() - began)


def _broken_copy(mutant: Mutant, copy: Path) -> bool:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
        else:
            shutil.copy(source, copy / name)
    target = copy / "aitbc" / mutant.path
    text = target.read_text(encoding="utf-8")
    if mutant is not BASELINE and text.count(mutant.before) != 1:
        return False
    target.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
    return True


def _tests(mutant: Mutant) -> list[str]:
    if mutant in KEYS:
        return OF_KEYS
    if not mutant.path.startswith(LEDGER):
        return ELSEWHERE[mutant.path.partition("/")[0]]
    directed = sorted((ROOT / "tests/integration/ledger").glob("test_*.py"))
    return [*(str(path.relative_to(ROOT)) for path in directed if path.name not in CLIENTS), "tests/conformance", "tests/properties"]


def _first_failure(copy: Path, mutant: Mutant, seconds: float) -> str:
    args = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line", "--timeout=60", "--deselect", SLOW, *_tests(mutant)]
    code, output = _run(copy, args, seconds)
    if code is None or code == 0:
        return SURVIVED
    if "rror compiling script" in output:
        return NOT_APPLIED
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return found[1].removeprefix("tests/") if found else f"pytest ended with {code}: {output[-200:]!r}"


def _first_violation(copy: Path, seconds: float) -> str:
    code, output = _run(copy, ["-m", "tests.properties.walk", str(seconds), "1000"], seconds + 60)
    found = re.search(r"^## (seed \d+ .*)$", output, re.MULTILINE)
    return f"walk, {found[1][:80]}" if code and found else SURVIVED


def _run(copy: Path, args: list[str], seconds: float) -> tuple[int | None, str]:
    """Exit code (None: time was over) and output. A session of its own, so that its Redis ends with it."""
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, *args],
        cwd=copy,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # the tests end the processes that they started
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=20)
        return None, ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


def main(seconds: float = SECONDS_EACH, *names: str) -> int:
    """Print a line a mutant; 1 when one survives, does not apply, or the product as it is fails."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    bad = 0
    print("| mutant | noticed by | seconds |\n|-|-|-|", flush=True)
    for mutant in [BASELINE, *chosen]:
        seen = judge(mutant, seconds)
        bad += seen.noticed is (mutant is BASELINE)
        print(f"| {mutant.name} | {seen.by} | {seen.seconds:.0f} |", flush=True)
    print(f"{len(chosen)} mutants, {bad} not as they should be", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*(float(arg) for arg in sys.argv[1:2]), *sys.argv[2:]))
