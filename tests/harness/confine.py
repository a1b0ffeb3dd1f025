"""Run a command under a unit's limits, as systemd would: user, umask, no new privileges, no capabilities, system calls, address families.

`python confine.py LIMITS COMMAND...`, LIMITS as JSON; of the standard library alone. What needs mounts (ProtectSystem and the like) is not
done here: the user, who owns nothing but the state directory, stands in for it.
"""

import ctypes
import ctypes.util
import errno
import json
import os
import socket
import sys

PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EQUAL, GREATER, MASKED = 4, 6, 7
WRITE, EXECUTE = 2, 4  # PROT_
HIGHEST_FAMILY = 45
FAMILIES = {"AF_UNIX": socket.AF_UNIX, "AF_INET": socket.AF_INET, "AF_INET6": socket.AF_INET6}
libc = ctypes.CDLL(None, use_errno=True)
seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp"))


class Compare(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def checked(result: int, what: str) -> None:
    if result < 0:
        sys.exit(f"confine: {what}: {os.strerror(ctypes.get_errno() or -result)}")


class Filter:
    """What is not allowed fails with `error`."""

    def __init__(self, error: str) -> None:
        seccomp.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(seccomp.seccomp_init(ERRNO | getattr(errno, error)))

    def rule(self, action: int, name: str, *when: tuple[int, int, int, int]) -> None:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else it is another architecture's, or newer than this library
            tests = (Compare * len(when))(*(Compare(*one) for one in when))
            checked(seccomp.seccomp_rule_add_array(self.context, action, number, len(when), tests), name)

    def allow(self, calls: list[str], families: list[str], *, writable_code: bool) -> None:
        """These system calls; sockets of these families alone; memory that is written or executed, not both, unless `writable_code`."""
        special = {"socket"} if writable_code else {"socket", "mmap", "mprotect", "pkey_mprotect"}
        for name in set(calls) - special:
            self.rule(ALLOW, name)
        for name in special & set(calls) - {"socket"}:
            for bits in (0, WRITE, EXECUTE) if name == "mmap" else (0, WRITE):
                self.rule(ALLOW, name, (2, MASKED, WRITE | EXECUTE, bits))
        mine = {FAMILIES[name] for name in families}
        for family in range(HIGHEST_FAMILY + 1):
            self.rule(ALLOW if family in mine else ERRNO | errno.EAFNOSUPPORT, "socket", (0, EQUAL, family, 0))
        self.rule(ERRNO | errno.EAFNOSUPPORT, "socket", (0, GREATER, HIGHEST_FAMILY, 0))

    def load(self) -> None:
        checked(seccomp.seccomp_load(self.context), "seccomp_load")


def main() -> None:
    limits, command = json.loads(sys.argv[1]), sys.argv[2:]
    os.umask(limits["umask"])
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(*[limits["gid"]] * 3)
    os.setresuid(*[limits["uid"]] * 3)
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    os.chdir(limits["directory"])
    filtered = Filter(limits["error"])
    filtered.allow(limits["calls"], limits["families"], writable_code=limits["writable_code"])
    filtered.load()
    os.execve(command[0], command, limits["env"])


main()
