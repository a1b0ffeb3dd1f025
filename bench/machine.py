"""The machine that was measured, as facts for the page."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from aitbc.embedded import find_server, server_version
from tests.harness.processes import ROOT

PACKAGES = ("celery", "kombu", "redis", "aiohttp", "uvloop", "gunicorn", "gevent", "taskiq", "taskiq-redis", "dramatiq", "requests")


def described() -> list[tuple[str, str]]:
    """Name and value."""
    cpu = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return [
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("commit", _git("describe", "--always", "--dirty", "--abbrev=10")),
        ("processor", f"{cpu}, {os.cpu_count()} cores, shared by Redis, the agents, the bench and the worker"),
        ("memory", f"{memory:.0f} GiB"),
        ("load before (1, 5, 15 min)", load),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Redis", ".".join(map(str, server_version(find_server())))),
        ("Python", platform.python_version()),
        ("packages", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
    ]


def _git(*words: str) -> str:
    told = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
