"""Hosts of their own: network namespaces on one switch, which can be cut off and healed. Needs root and iproute2.

The switch is a bridge in a namespace of its own, so no firewall of this machine sees its packets (dockerd's drops what it bridges).
The test itself is on the network too, at `Network.address`. A cut is silent: nothing is refused, nothing is answered. (All hosts know
one another's link addresses. Else the cut host's own ARP would say after 3 s that there is no route, which a cut further away does not.)
"""

import ctypes
import fcntl
import itertools
import os
import random
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from tests.harness.processes import Place

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
PREFIX = "aitbc"
_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


class Host(Place):
    """One namespace: `address` on `eth0`, and a loopback of its own."""

    def __init__(self, network: "Network", name: str, number: int) -> None:
        self.network, self.name, self.address = network, name, f"{network.subnet}.{number}"
        self.namespace = f"{network.name}-{name}"
        self.link = f"02:00:00:00:00:{number:02x}"
        self.env = {"AITBC_HOST": self.address, "AITBC_ALLOW_AGENT_CIDRS": f"{network.subnet}.0/24", "AITBC_AUTH": "off"}

    def inside(self, command: list[str]) -> list[str]:
        """`ip netns exec` becomes the command: the process id is its own."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def run(self, function: Callable[[], T]) -> T:
        """Call it in a thread of this namespace: sockets that it makes, and threads that it starts, are here."""
        with ThreadPoolExecutor(1, self.namespace, self._enter) as threads:
            return threads.submit(function).result()

    def _enter(self) -> None:
        with Path(f"/run/netns/{self.namespace}").open() as namespace:
            if _libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {self.namespace}")

    def cut(self) -> None:
        """From now on nothing passes to it or from it."""
        self.network.ip("-n", self.network.name, "link", "set", self.name, "down")

    def heal(self) -> None:
        self.network.ip("-n", self.network.name, "link", "set", self.name, "up")


class Network:
    """A switch; `host` adds a host. Names and addresses are this process's own; `close` removes everything."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise AssertionError("tests in network namespaces must run as root: they make namespaces and cut their links")
        _sweep()
        self.name = f"{PREFIX}{os.getpid()}x{next(_numbers)}"  # also of the test's own link: at most 15 characters
        self._lock, self.subnet = _free_subnet()
        self._numbers = itertools.count(1)
        self.hosts: list[Host] = []
        self.address, self.link = f"{self.subnet}.254", "02:00:00:00:00:fe"
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self.ip("netns", "add", self.name)
        self._batch(
            self.name,
            "link add switch type bridge",
            "link set switch up",
            f"link add test type veth peer name {self.name} address {self.link} netns {os.getpid()}",
            "link set test master switch up",
        )
        self._batch("", f"addr add {self.address}/24 dev {self.name}", f"link set {self.name} up")

    def host(self, name: str) -> Host:
        """Another host on the switch."""
        host, others = Host(self, name, next(self._numbers)), list(self.hosts)
        self.hosts.append(host)
        self.ip("netns", "add", host.namespace)
        pair = f"link add {name} type veth peer name eth0 address {host.link} netns {host.namespace}"
        self._batch(self.name, pair, f"link set {name} master switch up")
        known = [f"neigh add {other.address} lladdr {other.link} dev eth0" for other in (self, *others)]
        self._batch(host.namespace, f"addr add {host.address}/24 dev eth0", "link set eth0 up", "link set lo up", *known)
        for other in others:
            self._batch(other.namespace, f"neigh add {host.address} lladdr {host.link} dev eth0")
        self._batch("", f"neigh add {host.address} lladdr {host.link} dev {self.name}")
        return host

    def ip(self, *words: str, lines: str = "") -> None:
        done = subprocess.run(["ip", *words], input=lines, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (words, lines, done.stderr)

    def _batch(self, namespace: str, *lines: str) -> None:
        self.ip(*(("-n", namespace) if namespace else ()), "-batch", "-", lines="\n".join(lines))

    def close(self) -> None:
        """The links go with their namespaces; the test's own at once, since its subnet is free for others from now on."""
        for name in (*(host.namespace for host in self.hosts), self.name):
            _remove(name)
        self._lock.close()


def _free_subnet() -> tuple[IO[str], str]:
    """One of 198.18.0.0/16, which is for tests of networks and routed nowhere; locked until the file is closed."""
    folder = Path(tempfile.gettempdir()) / "aitbc-test-subnets"
    folder.mkdir(exist_ok=True)
    for third in random.sample(range(256), 256):
        lock = (folder / str(third)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return lock, f"198.18.{third}"
    raise AssertionError("no subnet of 198.18.0.0/16 is free")


def _sweep() -> None:
    """Remove what a killed test run has left: the process that its names hold has ended."""
    for path in Path("/run/netns").glob(f"{PREFIX}[0-9]*x[0-9]*"):
        owner = path.name.removeprefix(PREFIX).partition("x")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            _remove(path.name)


def _remove(namespace: str) -> None:
    """The namespace, and the test's link that has its name. Either may never have been made, or be gone: two runs may sweep at once."""
    for words in (("link", "delete", namespace), ("netns", "delete", namespace)):
        if Path(f"/{'sys/class/net' if words[0] == 'link' else 'run/netns'}/{namespace}").exists():
            subprocess.run(["ip", *words], capture_output=True, timeout=30, check=False)
