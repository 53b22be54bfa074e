"""The system-call filter: refuses what no training script needs and attackers of kernels do.

Covered: new namespaces and mounts, keyrings, bpf, perf, io_uring, userfaultfd, tracing, modules,
reboot, socket families other than local and IP, faked terminal input.
Not covered: everything a program may ask of the calls that stay open; addresses (a filter sees
numbers, never what a pointer points at); 32-bit programs, which are killed.

Written as classic BPF here and not through libseccomp: its Python binding is no installable
package of its own, and the whole assembler is the four lines of `_instruction`.
"""

import ctypes
import errno
import platform
import socket
import struct

from verifier.sandbox.system_calls import LIBC, NUMBERS, checked

DENIED = (
    *("acct", "add_key", "bpf", "chroot", "delete_module", "fanotify_init", "finit_module"),
    *("fsconfig", "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter"),
    *("io_uring_register", "io_uring_setup", "kcmp", "kexec_file_load", "kexec_load", "keyctl"),
    *("mount", "mount_setattr", "move_mount", "open_by_handle_at", "open_tree"),
    *("perf_event_open", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace"),
    *("quotactl", "reboot", "request_key", "setns", "swapoff", "swapon", "syslog", "umount2"),
    *("unshare", "userfaultfd"),
)
DENIED_ON_THE_HOST = ("shmget", "msgget", "semget", "mq_open")
"""What outlives its process, where no namespace of its own takes it along."""
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
"""Netlink tells C libraries which interfaces there are; the others are how processes meet."""
NEW_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h)."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_CALLS = 0x40000000
"""The first number of x86-64's second table, through which a denied call could be made."""
NUMBER_OFFSET, ARCHITECTURE_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16
LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
SOCKET_TYPE_MASK = 0xF
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


def filter_program(on_the_host: bool = False) -> bytes | None:
    """The filter as the kernel takes it: an array of `struct sock_filter`.

    Args:
        on_the_host: for sandboxes without namespaces: refuse IP sockets other than streams too,
            and memory and queues that outlive a process.

    Returns:
        None on a machine whose call numbers we do not hold; no filter is then set, and the
        conformance checks show it.
    """
    architecture = AUDIT_ARCHITECTURE.get(platform.machine())
    if architecture is None:
        return None
    names = DENIED + (DENIED_ON_THE_HOST if on_the_host else ())
    denied = [_when(NUMBERS[name], _refuse(errno.EPERM)) for name in names]
    return b"".join(
        (
            _load(ARCHITECTURE_OFFSET),
            _jump(EQUAL, architecture, 1, 0) + _return(KILL_PROCESS),
            _load(NUMBER_OFFSET),
            _jump(AT_LEAST, X32_CALLS, 0, 1) + _refuse(errno.ENOSYS),
            *denied,
            # glibc then falls back to clone, whose flags a filter can see.
            _when(NUMBERS["clone3"], _refuse(errno.ENOSYS)),
            _when(NUMBERS["clone"], _clone_block()),
            _when(NUMBERS["ioctl"], _ioctl_block()),
            _when(NUMBERS["socket"], _socket_block(only_streams=on_the_host)),
            _return(ALLOW),
        )
    )


def install_filter(program: bytes) -> None:
    """Put this process and all its later children under the filter; there is no way back.

    Raises:
        OSError: the kernel refuses; PR_SET_NO_NEW_PRIVS must have been set.
    """
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    checked(LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0))


def _clone_block() -> bytes:
    flags = _load(ARGUMENTS_OFFSET) + _jump(ANY_BIT, NEW_NAMESPACE_FLAGS, 0, 1)
    return flags + _refuse(errno.EPERM) + _return(ALLOW)


def _ioctl_block() -> bytes:
    requests = [_when(request, _refuse(errno.EPERM)) for request in (TIOCSTI, TIOCLINUX)]
    return _load(ARGUMENTS_OFFSET + 8) + b"".join(requests) + _return(ALLOW)


def _socket_block(only_streams: bool) -> bytes:
    streams = _load(ARGUMENTS_OFFSET + 8) + _instruction(AND, 0, 0, SOCKET_TYPE_MASK)
    streams += _when(socket.SOCK_STREAM, _return(ALLOW)) + _refuse(errno.EACCES)
    block = _load(ARGUMENTS_OFFSET)
    for family in FAMILIES:
        restricted = only_streams and family in (socket.AF_INET, socket.AF_INET6)
        block += _when(family, streams if restricted else _return(ALLOW))
    return block + _refuse(errno.EAFNOSUPPORT)


def _instruction(code: int, if_true: int, if_false: int, operand: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, operand)


def _load(offset: int) -> bytes:
    return _instruction(LOAD, 0, 0, offset)


def _jump(code: int, operand: int, if_true: int, if_false: int) -> bytes:
    return _instruction(code, if_true, if_false, operand)


def _return(action: int) -> bytes:
    return _instruction(RETURN, 0, 0, action)


def _refuse(error: int) -> bytes:
    return _return(ERRNO | error)


def _when(value: int, block: bytes) -> bytes:
    """Run `block`, which must end in a return, when the loaded word equals `value`."""
    return _jump(EQUAL, value, 0, len(block) // 8) + block
