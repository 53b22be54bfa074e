"""What the kernel lets the command do beyond reading, computing and writing."""

import ctypes
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from verifier.sandbox.conformance.inside.planted import Planted
from verifier.sandbox.system_calls import LIBC, checked, system_call

CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID = 1 << 28, 1 << 17, 1 << 30, 1 << 29
MS_BIND = 0x1000
ADJ_FREQUENCY = 0x0002
BPF_MAP_CREATE, BPF_MAP_TYPE_ARRAY = 0, 2
KEYRING_OF_THIS_PROCESS = -2
SYSLOG_READ_ALL = 3
CGROUP_LIMITS = frozenset(("cgroup.procs", "memory.max", "memory.limit_in_bytes", "pids.max"))
GPU_DRIVER = "driver"
"""Of /proc: what a GPU's driver shows and guards itself."""


def no_capabilities_are_held(planted: Planted) -> str | None:
    """The process holds no privilege and can get none back."""
    held = {line.split()[0]: int(line.split()[1], 16) for line in _status("Cap")}
    useful = [name for name in ("CapEff:", "CapPrm:", "CapInh:", "CapAmb:") if held[name]]
    return f"{useful[0]} is {held[useful[0]]:x}" if useful else None


def new_programs_gain_no_privileges(planted: Planted) -> str | None:
    """A program that makes its caller root (setuid) does not."""
    return None if _status("NoNewPrivs:")[0].split()[1] == "1" else "setuid programs work"


def root_cannot_be_had(planted: Planted) -> str | None:
    """The process is not root and cannot become it."""
    if os.getuid() == 0 or os.geteuid() == 0:
        return "it runs as root"
    return _works("root could be had", lambda: os.setuid(0))


def user_namespaces_are_refused(planted: Planted) -> str | None:
    """No new user namespace, which would hand out privileges over the kernel's oldest parts."""
    return _works("a user namespace was made", lambda: _unshare(CLONE_NEWUSER))


def other_namespaces_are_refused(planted: Planted) -> str | None:
    """No new mount, network or process namespace."""
    return (
        _works("a mount namespace was made", lambda: _unshare(CLONE_NEWNS))
        or _works("a network namespace was made", lambda: _unshare(CLONE_NEWNET))
        or _works("a process namespace was made", lambda: _unshare(CLONE_NEWPID))
    )


def mounts_are_refused(planted: Planted) -> str | None:
    """Nothing can be mounted."""
    Path("mount_point").mkdir(exist_ok=True)
    here = b"mount_point"
    if LIBC.mount(here, here, None, ctypes.c_ulong(MS_BIND), None) != 0:
        return None
    LIBC.umount2(here, 0)
    return "a folder was mounted"


def another_root_is_refused(planted: Planted) -> str | None:
    """The root folder cannot be changed."""
    return _works("chroot worked", lambda: os.chroot("."))


def clock_cannot_be_set(planted: Planted) -> str | None:
    """The machine's clock can be neither set nor slowed."""
    timex = ctypes.create_string_buffer(struct.pack("Ixxxx", 0), 256)
    checked(LIBC.adjtimex(timex))  # read, then ask for the very rate that it has
    struct.pack_into("I", timex, 0, ADJ_FREQUENCY)
    return _works("the clock's rate can be set", lambda: checked(LIBC.adjtimex(timex)))


def hostname_cannot_be_set(planted: Planted) -> str | None:
    """The machine's name cannot be changed."""
    return _works("the name can be set", lambda: socket.sethostname(socket.gethostname()))


def keyrings_are_refused(planted: Planted) -> str | None:
    """The kernel's key store, which outlives a process, takes nothing."""

    def add_key() -> None:
        system_call("add_key", b"user", b"pgolf", b"x", ctypes.c_size_t(1), KEYRING_OF_THIS_PROCESS)

    return _works("a key was stored", add_key)


def kernel_programs_are_refused(planted: Planted) -> str | None:
    """No BPF: neither programs nor maps can be loaded into the kernel."""
    attributes = ctypes.create_string_buffer(struct.pack("5I", BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0), 120)
    return _works(
        "a BPF map was made",
        lambda: system_call("bpf", BPF_MAP_CREATE, attributes, ctypes.c_size_t(120)),
    )


def performance_counters_are_refused(planted: Planted) -> str | None:
    """No perf events, through which other processes can be watched."""
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 64, 0), 64)
    no_pid = ctypes.c_long(-1)
    return _works(
        "a counter was opened",
        lambda: system_call("perf_event_open", attributes, 0, no_pid, no_pid, ctypes.c_ulong(0)),
    )


def io_uring_is_refused(planted: Planted) -> str | None:
    """No io_uring, which does file and network calls past every filter."""
    parameters = ctypes.create_string_buffer(120)
    return _works("a ring was made", lambda: system_call("io_uring_setup", 1, parameters))


def page_fault_handlers_are_refused(planted: Planted) -> str | None:
    """No userfaultfd, with which the kernel can be held up in the middle of a call."""
    return _works("page faults can be handled", lambda: system_call("userfaultfd", 1))


def kernel_modules_are_refused(planted: Planted) -> str | None:
    """Nothing can be loaded into the kernel."""
    try:
        system_call("finit_module", -1, b"", 0)
    except PermissionError:
        return None
    except OSError as error:
        return f"loading a module was refused for its file alone ({error.strerror})"
    return "a module was loaded"


def machine_cannot_be_rebooted(planted: Planted) -> str | None:
    """The machine cannot be stopped."""
    try:
        system_call("reboot", 0, 0, 0, None)  # wrong magic numbers: refused by everyone
    except PermissionError:
        return None
    except OSError as error:
        return f"a reboot was refused for its magic numbers alone ({error.strerror})"
    return "a reboot was accepted"


def kernel_settings_cannot_be_written(planted: Planted) -> str | None:
    """Nothing in /proc that belongs to no process opens for writing."""
    for entry in Path("/proc").iterdir():
        if entry.is_symlink() or entry.name.isdigit() or entry.name == GPU_DRIVER:
            continue
        for path in (entry, *entry.rglob("*")):
            # What all of the host may open, the kernel guards when it is written.
            for_everyone = path.stat(follow_symlinks=False).st_mode & 0o002
            breach = _opens(str(path), os.O_WRONLY | os.O_NONBLOCK)
            if breach and not for_everyone:
                return breach
    return None


def kernel_log_cannot_be_read(planted: Planted) -> str | None:
    """The kernel's messages, which name addresses and other users' programs, stay hidden."""
    text = ctypes.create_string_buffer(64)
    return _opens("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK) or _works(
        "the kernel's log can be read", lambda: system_call("syslog", SYSLOG_READ_ALL, text, 64)
    )


def cgroups_cannot_be_written(planted: Planted) -> str | None:
    """The limits cannot be loosened or left."""
    # os.walk passes over the groups of other runs that end in the meantime.
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        for name in files:
            if name in CGROUP_LIMITS and (breach := _opens(f"{folder}/{name}", os.O_WRONLY)):
                return breach
    return None


def _unshare(flag: int) -> int:
    return checked(LIBC.unshare(flag))


def _status(field: str) -> list[str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return [line for line in lines if line.startswith(field)]


def _works(breach: str, action: Callable[[], object]) -> str | None:
    try:
        action()
    except OSError:
        return None
    return breach


def _opens(path: str, flags: int) -> str | None:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return None
    return f"{path} opens"
