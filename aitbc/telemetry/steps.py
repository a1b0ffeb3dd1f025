"""Test hooks: named steps at which a process can be stopped, so that tests/faults may kill, freeze or end it exactly there.

No settings, and nothing for production: AITBC_STOP_AT names steps (comma-separated).  A process that reaches one of them creates the file
that AITBC_STOP_FILE names, with its process id in it, and stops itself with SIGSTOP; each step stops it once.  Without AITBC_STOP_AT
`reached` is an empty function.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path


def _goes_on(step: str) -> None:
    """Nobody waits for this process at any step."""


class _Stops:
    def __init__(self, steps: str, file: str) -> None:
        self._left = set(steps.split(","))
        self._file = Path(file)

    def __call__(self, step: str) -> None:
        if step in self._left:
            self._left.remove(step)
            self._file.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)


reached: Callable[[str], None] = (
    _Stops(os.environ["AITBC_STOP_AT"], os.environ["AITBC_STOP_FILE"]) if "AITBC_STOP_AT" in os.environ else _goes_on
)
"""This process is at the step of this name."""
