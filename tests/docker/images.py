"""Make the images that the tests stand on, and ask no registry: `python -m tests.docker.images`.

A Debian with Python by debootstrap, the services on top of it, and the Dockerfile's own image on it.  The first two stay for the next run.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.harness.processes import ROOT

BASE, SERVICES, AITBC = "aitbc-test/base", "aitbc-test/services", "aitbc-test/aitbc"
RELEASE, PACKAGES = "bookworm", "python3,python3-venv,ca-certificates"
HERE = Path(__file__).parent


def main() -> None:
    """Make those that this engine does not have, and ours anew."""
    client = docker.from_env()
    if not known(client, BASE):
        timed(f"{BASE}, by debootstrap", _debian)
    if not known(client, SERVICES):
        timed(SERVICES, lambda: client.images.build(path=str(HERE), dockerfile="stand-ins.Dockerfile", tag=SERVICES, rm=True))
    timed(f"{AITBC}, by the Dockerfile", lambda: client.images.build(path=str(ROOT), buildargs={"BASE": BASE}, tag=AITBC, rm=True))
    client.close()


def timed(what: str, make: Callable[[], object]) -> None:
    began = time.monotonic()
    make()
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)


def known(client: docker.DockerClient, name: str) -> bool:
    try:
        return bool(client.images.get(name))
    except ImageNotFound:
        return False


def _debian() -> None:
    with tempfile.TemporaryDirectory(prefix="aitbc-debian-") as folder:
        root = Path(folder) / "root"
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root))
        # Whatever this machine needs to reach the package registries, the build needs too.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
        run("bash", "-o", "pipefail", "-c", 'tar -C "$1" -c . | docker import - "$2" > /dev/null', "import", str(root), BASE)


def run(*command: str, seconds: float = 280, **env: str) -> str:
    """What the command printed; AssertionError with all of it when it failed."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


if __name__ == "__main__":
    main()
