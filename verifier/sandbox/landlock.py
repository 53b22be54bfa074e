"""Landlock, the kernel's self-restriction for anyone: which files a process tree may touch.

Needs no privilege and no namespace, so it works in rented containers. The version ("ABI") decides
what can be restricted (landlock(7)): 1 files; 2 moving between folders; 3 truncation; 4 TCP ports;
5 device requests; 6 signals and abstract sockets of processes outside.
"""

import ctypes
import os
from pathlib import Path

from verifier.sandbox.system_calls import LIBC, checked, system_call

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8
MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = 1 << 9, 1 << 10, 1 << 11, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
CONNECT_TCP = 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1 << 0, 1 << 1
READ = EXECUTE | READ_FILE | READ_DIR
MAKE = MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
USE = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV
"""Read and write what is there; make nothing new."""
WRITE = READ | USE | MAKE | REMOVE_DIR | REMOVE_FILE | REFER
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The only rights that a rule on a single file may name."""
RULE_PATH_BENEATH, RULE_NET_PORT = 1, 2
VERSION_FLAG = 1
PR_SET_NO_NEW_PRIVS = 38


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


class _NetPort(ctypes.Structure):
    _fields_ = [("allowed_access", ctypes.c_uint64), ("port", ctypes.c_uint64)]


def landlock_abi() -> int:
    """The kernel's version of Landlock; 0 where it has none or refuses it."""
    try:
        return system_call("landlock_create_ruleset", None, ctypes.c_size_t(0), VERSION_FLAG)
    except OSError:
        return 0


class Ruleset:
    """What a process will still be allowed; what Landlock knows and nobody allowed is refused.

    Raises:
        OSError: the kernel has no Landlock.
    """

    def __init__(self) -> None:
        abi = landlock_abi()
        self._files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
        attributes = _RulesetAttributes(
            handled_access_fs=self._files,
            handled_access_net=CONNECT_TCP if abi >= 4 else 0,
            scoped=SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0,
        )
        # Older kernels take the same structure as long as what they do not know is zero.
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        self._ports = abi >= 4
        self._fd = system_call("landlock_create_ruleset", ctypes.byref(attributes), size, 0)

    def allow(self, path: Path, access: int) -> None:
        """Allow `access` to a file, or to all that lies below a folder; absent paths are left out.

        Raises:
            OSError: the kernel refuses the rule.
        """
        if not path.exists():
            return
        if not path.is_dir():
            access &= OF_FILES
        parent = os.open(path, os.O_PATH)
        try:
            rule = _PathBeneath(allowed_access=access & self._files, parent_fd=parent)
            self._add(RULE_PATH_BENEATH, rule)
        finally:
            os.close(parent)

    def allow_connections(self, ports: range) -> None:
        """Allow TCP connections to these ports, of whatever address: Landlock sees none.

        Raises:
            OSError: the kernel refuses the rule.
        """
        if not self._ports:
            return
        rule = _NetPort(allowed_access=CONNECT_TCP)
        for rule.port in ports:  # tens of thousands before every run: nothing is made anew
            self._add(RULE_NET_PORT, rule)

    def restrict_self(self) -> None:
        """Put this process and all its later children under the rules; there is no way back.

        Raises:
            OSError: the kernel refuses.
        """
        checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        system_call("landlock_restrict_self", self._fd, 0)
        os.close(self._fd)

    def _add(self, kind: int, rule: ctypes.Structure) -> None:
        system_call("landlock_add_rule", self._fd, kind, ctypes.byref(rule), 0)
