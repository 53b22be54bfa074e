"""What of the host's files can be seen or written."""

import ctypes
import os
import struct
import sys
import tempfile
from pathlib import Path

from verifier.sandbox.conformance.inside.planted import SECRET_VARIABLE, NotApplicable, Planted
from verifier.sandbox.system_calls import system_call

SYSTEM_FOLDERS = ("/usr", "/usr/local/bin", "/etc", "/sys", "/boot", "/opt", "/srv", "/var", "/run")
SHARED_FOLDERS = ("/", "/dev", "/home", "/root", "/media", "/mnt", "/tmp", "/var/tmp", "/var/lock")
AT_FDCWD = -100
HANDLE_BYTES = 128


def host_files_cannot_be_read(planted: Planted) -> str | None:
    """A file of the host that all its users may read cannot be read."""
    return _reads(planted.secret_file)


def other_runs_cannot_be_read(planted: Planted) -> str | None:
    """Results beside the working folder cannot be read, by their path or by `..`."""
    name = Path(planted.neighbour_file)
    return _reads(str(name)) or _reads(f"../{name.parent.name}/{name.name}")


def host_file_names_are_hidden(planted: Planted) -> str | None:
    """Whether a file of the host exists, and how large it is, cannot be asked."""
    found = [p for p in (planted.secret_file, planted.neighbour_file) if os.path.lexists(p)]
    return f"{found[0]} can be seen" if found else None


def host_passwords_cannot_be_read(planted: Planted) -> str | None:
    """The host's password hashes and sudo rules cannot be read."""
    return _reads("/etc/shadow") or _reads("/etc/gshadow") or _reads("/etc/sudoers")


def home_folders_cannot_be_listed(planted: Planted) -> str | None:
    """Nobody's home shows more than the way to the interpreter."""
    needed = {sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), os.environ["HOME"]}
    for home in (Path("/root"), *_listed("/home")):
        for entry in _listed(str(home)):
            if not any(place.startswith(str(entry)) for place in needed):
                return f"{entry} can be seen"
    return None


def symlinks_lead_nowhere(planted: Planted) -> str | None:
    """A link that we make to a file of the host opens nothing."""
    Path("link").symlink_to(planted.secret_file)
    return _reads("link")


def hard_links_to_the_host_are_refused(planted: Planted) -> str | None:
    """No second name can be given to a file of the host."""
    try:
        os.link(planted.secret_file, "second_name")
    except OSError:
        return None
    return "a host file got a second name in the working folder"


def other_roots_lead_nowhere(planted: Planted) -> str | None:
    """Nobody's /proc/<pid>/root or cwd opens a file of the host."""
    for process in Path("/proc").glob("[0-9]*"):
        for door in ("root", "cwd"):
            if _reads(f"{process}/{door}{planted.secret_file}"):
                return f"{process}/{door} leads to the host's files"
    return None


def file_handles_are_refused(planted: Planted) -> str | None:
    """No file can be opened by its number, past every mount."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", HANDLE_BYTES, 0), 8 + HANDLE_BYTES)
    mount = ctypes.c_int()
    try:
        system_call("name_to_handle_at", AT_FDCWD, b".", handle, ctypes.byref(mount), 0)
        folder = os.open(".", os.O_RDONLY)
        system_call("open_by_handle_at", folder, handle, os.O_RDONLY)
    except OSError:
        return None
    return "a file was opened by its handle"


def environment_of_the_harness_is_hidden(planted: Planted) -> str | None:
    """No process shows the harness's environment, our own included."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if SECRET_VARIABLE.encode() in (process / "environ").read_bytes():
                return f"the harness's environment stands in {process}/environ"
        except OSError:
            continue
    return None


def system_cannot_be_written(planted: Planted) -> str | None:
    """Nothing can be made in the system's folders or the interpreter's."""
    for folder in (*SYSTEM_FOLDERS, sys.prefix, sys.base_prefix):
        if _writes(folder):
            return f"a file could be made in {folder}"
    return None


def shared_folders_cannot_be_written(planted: Planted) -> str | None:
    """Nothing can be made in folders that runs share, or above the working folder."""
    own = {Path(place).resolve() for place in (".", tempfile.gettempdir(), os.environ["HOME"])}
    for folder in {*map(Path, SHARED_FOLDERS), *Path.cwd().parents}:
        if folder.resolve() not in own and _writes(str(folder)):
            return f"a file could be made in {folder}"
    return None


def working_folder_can_be_written(planted: Planted) -> str | None:
    """Files and folders can be made, renamed and removed where the command starts."""
    Path("made").mkdir()
    Path("made/file").write_text("content")
    Path("made/file").rename("moved")
    Path("moved").unlink()
    Path("made").rmdir()
    return None


def temporary_folder_can_be_written(planted: Planted) -> str | None:
    """Temporary files work, and the home folder is there."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"content")
    (Path.home() / "made").write_text("content")
    return None


def mounted_disks_cannot_be_read(planted: Planted) -> str | None:
    """No disk's raw content opens."""
    disks = [f"/dev/{disk.name}" for disk in _listed("/sys/block")]
    if not disks:
        raise NotApplicable("the kernel shows no disks")
    return next((breach for disk in disks if (breach := _opens(disk))), None)


def _listed(folder: str) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except OSError:
        return []


def _opens(path: str) -> str | None:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return None
    return f"{path} can be opened"


def _reads(path: str) -> str | None:
    try:
        Path(path).read_bytes()
    except OSError:
        return None
    return f"{path} can be read"


def _writes(folder: str) -> bool:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="pgolf-probe-"):
            return True
    except OSError:
        return False
