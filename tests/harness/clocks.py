"""A wall clock of a node's own, minutes off and set while the node runs (LD_PRELOAD; wall_clock.c says how)."""

import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("wall_clock.c")


class Clock:
    """`env`: for processes that go by it. `set` says how many seconds it is ahead of this machine's, behind if negative."""

    def __init__(self, folder: Path, name: str, ahead: int = 0) -> None:
        library = folder / "wall_clock.so"
        if not library.exists():
            subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE)], check=True)
        self._file = folder / f"{name}.clock"
        self._file.write_bytes(struct.pack("q", ahead))
        self.env = {"LD_PRELOAD": str(library), "AITBC_TEST_CLOCK": str(self._file)}

    def set(self, ahead: int) -> None:
        """At once. (Written in place: the processes have the file mapped.)"""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", ahead))
