"""systemd without systemd: a service of deploy/ is run from a tree as its unit says, with its limits, and ended as systemd ends it.

Where a part of the unit needs systemd as PID 1 (mounts, cgroups) it is left out; `tests/harness/confine.py` says what is done.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.harness.processes import Process, wait_for

CONFINE = Path(__file__).with_name("confine.py")


class Unit:
    """A unit of a tree. A setting that is given several times holds them all; an empty one takes back those before it."""

    def __init__(self, tree: Path, name: str) -> None:
        self.tree, self.name = tree, name
        stem, _, self.instance = name.removesuffix(".service").partition("@")
        file = f"{stem}@.service" if self.instance else name
        self.settings: dict[str, list[str]] = {}
        for line in (tree / "etc/systemd/system" / file).read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.settings[key] = [*self.settings.get(key, []), value] if value else []

    def get(self, key: str) -> str:
        return self.settings[key][-1]

    def seconds(self, key: str) -> float:
        return float(self.get(key))

    @property
    def ids(self) -> tuple[int, int]:
        """The user's and group's numbers in the tree."""
        users = dict(line.split(":", 1) for line in (self.tree / "etc/passwd").read_text().splitlines())
        _, uid, gid, *_ = users[self.get("User")].split(":")
        return int(uid), int(gid)

    @property
    def command(self) -> list[str]:
        """ExecStart's words, the program in the tree."""
        program, *words = shlex.split(self.get("ExecStart").replace("%i", self.instance).replace("%%", "%"))
        return [str(self.tree) + program, *words]

    @property
    def environment(self) -> dict[str, str]:
        """What systemd gives to a service, then Environment=, then EnvironmentFile=."""
        user, home = self.get("User"), self.get("WorkingDirectory")
        found = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin", "LANG": "C.UTF-8", "HOME": home, "USER": user, "LOGNAME": user}
        found |= dict(word.split("=", 1) for line in self.settings["Environment"] for word in shlex.split(line))
        for name in self.settings["EnvironmentFile"]:
            lines = Path(str(self.tree) + name).read_text().splitlines()
            found |= dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
        return {key: value.replace("/var/lib/aitbc", f"{self.tree}/var/lib/aitbc") for key, value in found.items()}

    @property
    def limits(self) -> dict[str, object]:
        uid, gid = self.ids
        return {
            "uid": uid,
            "gid": gid,
            "umask": int(self.get("UMask"), 8),
            "directory": str(self.tree) + self.get("WorkingDirectory"),
            "families": self.get("RestrictAddressFamilies").split(),
            "writable_code": self.get("MemoryDenyWriteExecute") != "yes",
            "calls": allowed(tuple(self.settings["SystemCallFilter"])),
            "error": self.get("SystemCallErrorNumber"),
        }


class Service(Process):
    """A unit's process. `start` returns when systemd would call it started; `stop` waits as long as the unit allows."""

    def __init__(self, unit: Unit, log_dir: Path) -> None:
        super().__init__(unit.name, [], log_dir, {"PATH": os.environ["PATH"]})
        self.unit = unit

    def start(self) -> None:
        env = self.unit.environment
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            if self.unit.get("Type") == "notify":
                address = self.log.parent / "notify"
                address.unlink(missing_ok=True)
                notices.bind(str(address))
                address.chmod(0o666)
                notices.settimeout(20)
                env["NOTIFY_SOCKET"] = str(address)
            limits = json.dumps({**self.unit.limits, "env": env})
            self.command = [sys.executable, str(CONFINE), limits, *self.unit.command]
            super().start()
            if self.unit.get("Type") == "notify":
                assert "READY=1" in notices.recv(1000).decode().splitlines(), self.tail()
            else:
                wait_for(lambda: str(CONFINE) not in Path(f"/proc/{self.pid}/cmdline").read_text(), 5, f"{self.name} to be executed")

    def stop(self, seconds: float = 0) -> int:
        return super().stop(seconds or self.unit.seconds("TimeoutStopSec"))


@cache
def _call_sets() -> dict[str, list[str]]:
    """systemd's named sets of system calls; a set may name others."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout
    sets: dict[str, list[str]] = {}
    for line in re.sub(r"\x1b\[[\d;]*m", "", told).splitlines():
        if line.startswith("@"):
            sets[line.strip()] = members = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.append(line.strip())
        elif line.startswith("#"):  # those that are in no set
            members = []
    return sets


def _calls(word: str) -> set[str]:
    return set().union(*map(_calls, _call_sets()[word])) if word.startswith("@") else {word}


@cache
def allowed(filters: tuple[str, ...]) -> list[str]:
    """The system calls that these SystemCallFilter= lines leave; as in systemd `@default` always stays."""
    found: set[str] = set()
    for line in filters:
        named = set().union(*(_calls(word) for word in line.removeprefix("~").split()))
        found = found - named if line.startswith("~") else found | named
    return sorted(found | _calls("@default"))
