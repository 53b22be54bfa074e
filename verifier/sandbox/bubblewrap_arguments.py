"""What bubblewrap is told: which parts of the host are seen, and where."""

from pathlib import Path

from verifier.sandbox.base import SandboxCommand
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.visible_system import (
    SYSTEM_FILES,
    complete_environment,
    gpu_nodes,
    interpreter_folders,
    search_path,
)

WORKDIR = "/pgolf/records/track/work"
"""Below a name of our own: a mount here must not hide an interpreter that lives there. As deep as a
records folder, because scripts look for the repository four folders up when they start (#993)."""
HOME = "/home/runner"
USER_ID = 65534
"""Inside, the submission is nobody, whoever started us."""
SETTINGS_IN_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "mtrr")
STUBS = {
    "/etc/passwd": f"runner:x:{USER_ID}:{USER_ID}::{HOME}:/bin/sh\n",
    "/etc/group": f"runner:x:{USER_ID}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "hosts: files\n",
}
"""Files that the sandbox has in place of the host's."""


def bwrap_arguments(
    command: SandboxCommand, limits: SandboxLimits, stubs: dict[str, int]
) -> list[str]:
    """The bwrap command line behind the program's name; order matters to bwrap.

    Args:
        command: what to run and what it may see.
        limits: bound the private folders that lie in memory.
        stubs: path inside → a descriptor from which bwrap reads its content.
    """
    arguments = [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--die-with-parent", "--new-session"),
        # A namespace of its own would hand the submission fresh capabilities.
        "--disable-userns",
        # Started as root, bwrap would keep every capability inside.
        *("--cap-drop", "ALL", "--uid", str(USER_ID), "--gid", str(USER_ID)),
        # torchrun hangs in a network namespace unless its hostname resolves.
        *("--hostname", "localhost", "--clearenv"),
        *_system_mounts(),
        *("--proc", "/proc", *_mounts("--ro-bind", _kernel_settings()), "--dev", "/dev"),
        *("--size", str(limits.memory_bytes), "--tmpfs", "/dev/shm"),
        # Device nodes must come after --dev.
        *_mounts("--dev-bind-try", {node: str(node) for node in gpu_nodes()}),
        *("--size", str(limits.scratch_bytes), "--tmpfs", "/tmp"),
        *("--size", str(limits.scratch_bytes), "--tmpfs", HOME),
        # After the private folders: an interpreter may be installed below one of them.
        *_mounts("--ro-bind", {folder: str(folder) for folder in interpreter_folders()}),
        *_hidden(command.hidden),
        *_mounts("--ro-bind", command.read_only),
        *("--bind", str(command.workdir), WORKDIR, "--chdir", WORKDIR),
    ]
    for inside, descriptor in stubs.items():
        arguments += ["--ro-bind-data", str(descriptor), inside]
    # Both lie in memory and have no limit of their own.
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]
    own = {"HOME": HOME, "PATH": search_path()}
    environment = complete_environment(own, command.environment)
    for name, value in environment.items():
        arguments += ["--setenv", name, value]
    return [*arguments, "--", *command.argv]


def _mounts(option: str, inside_by_host: dict[Path, str]) -> list[str]:
    return [word for host, inside in inside_by_host.items() for word in (option, str(host), inside)]


def _hidden(folders: tuple[Path, ...]) -> list[str]:
    """Something empty over each folder that would be seen, by every name that it goes by."""
    seen = (Path("/usr"), *interpreter_folders())
    names = dict.fromkeys(name for folder in folders for name in (folder, folder.resolve()))
    covered = [str(n) for n in names if n.is_dir() and any(n.is_relative_to(s) for s in seen)]
    return [word for name in covered for word in ("--tmpfs", name, "--remount-ro", name)]


def _kernel_settings() -> dict[Path, str]:
    """What of /proc belongs to no process.

    Started by root, the submission is root's user outside and owns these files, without any
    privilege: a core_pattern of its own would be run by the kernel, outside.
    """
    paths = (Path("/proc") / name for name in SETTINGS_IN_PROC)
    return {path: str(path) for path in paths if path.exists()}


def _system_mounts() -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr", "--ro-bind", "/sys", "/sys"]
    for name in ("/bin", "/sbin", "/lib", "/lib64", "/lib32"):
        path = Path(name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            arguments += ["--ro-bind", name, name]
    for name in SYSTEM_FILES:
        arguments += ["--ro-bind-try", name, name]
    return arguments
