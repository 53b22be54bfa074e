"""Files as a self-unpacking script sees them: the submission's own, and those that it writes.

Paths are values here. Nothing is written to the disk, and nothing of it is opened but what the
submission holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from verifier.reading.literal_functions import (
    METHODS,
    CannotFollow,
    LeavesFolder,
    Value,
    bounded,
)

PATH_PARTS = ("parent", "parents", "name", "stem", "suffix")
PATH_CALLS = {
    *("os.path.abspath", "os.path.realpath", "os.path.join", "os.fspath"),
    *("pathlib.Path", "pathlib.PurePath"),
}
"""What makes a path of a path or a text."""
_SAME_PATH = {"resolve", "absolute", "as_posix", "expanduser"}


@dataclass(slots=True)
class Files:
    """The submission's files by path, and those that the stub writes for itself."""

    read: Callable[[PurePosixPath], bytes | None]
    written: dict[PurePosixPath, bytes] = field(default_factory=dict)

    def content(self, path: PurePosixPath) -> bytes:
        """The bytes at a path below the submission's root.

        Raises:
            CannotFollow: there is no such file, or it is too large.
            LeavesFolder: it would lie elsewhere.
        """
        content = self.written.get(path)
        content = self.read(path) if content is None else content
        if content is None and path.is_absolute():
            raise LeavesFolder(f"the file {path}, which is not in the folder")
        if content is None:
            raise CannotFollow(f"the file {path}, which is not in the folder or too large")
        return content


@dataclass(slots=True)
class OpenFile:
    """A file of the submission (or a value) opened for reading, or a new one for writing."""

    path: PurePosixPath
    content: bytes
    is_text: bool
    position: int = 0


class FileView:
    """The files as a script in one folder of the submission names them."""

    def __init__(self, files: Files, folder: PurePosixPath) -> None:
        self._files = files
        self._folder = folder
        self.functions: Mapping[str, Callable[..., Value]] = {
            "open": self._open,
            "io.open": self._open,
            "io.BytesIO": lambda content: OpenFile(PurePosixPath("memory"), content, is_text=False),
            "os.path.dirname": lambda path: parent(self.path(path)),
            "os.path.basename": lambda path: self.path(path).name,
            "os.path.exists": self._exists,
            "os.path.isfile": self._exists,
            "os.getcwd": lambda *_, **__: folder,
            "pathlib.Path.cwd": lambda *_, **__: folder,
            "tempfile.mkdtemp": lambda *_, **__: PurePosixPath("temporary folder"),
            "tempfile.gettempdir": lambda *_, **__: PurePosixPath("temporary folder"),
        }
        """By the names under which scripts know them."""

    def path(self, value: Value) -> PurePosixPath:
        """A value as a path below the root, as the script's own folder sees it.

        Raises:
            CannotFollow: it is no path.
            LeavesFolder: it leads out of the folder.
        """
        if not isinstance(value, (str, PurePosixPath)):
            raise CannotFollow("a path that is not a text")
        path = value if isinstance(value, PurePosixPath) else self._folder / value
        parts: list[str] = []
        for part in path.parts:
            if part == "..":
                if not parts:
                    raise LeavesFolder(f"the path {path}, which leads out of the folder")
                parts.pop()
            else:
                parts.append(part)
        return PurePosixPath(*parts)

    def content(self, value: Value) -> bytes:
        """The bytes of the file at a path.

        Raises:
            CannotFollow: there is no such path or file.
        """
        return self._files.content(self.path(value))

    def path_method(self, path: PurePosixPath, name: str, arguments: list[Value]) -> Value:
        """What a method of a path gives.

        Raises:
            CannotFollow: it is not known here, or the file not there.
        """
        if name in _SAME_PATH:
            return path
        if name in ("with_suffix", "with_name", "joinpath", "with_stem"):
            return getattr(path, name)(*arguments)
        if name in ("replace", "removesuffix"):  # `__file__` is a text to its script
            return PurePosixPath(METHODS[str, name](str(path), *arguments))
        if name in ("write_text", "write_bytes"):
            self._files.written[self.path(path)] = _encoded(arguments[0])
            return None
        content = self.content(path)
        if name in ("read_text", "read_bytes"):
            return content if name == "read_bytes" else content.decode("utf-8", "replace")
        if name == "open":
            return self._open(path, *arguments)
        if name in ("exists", "is_file"):
            return True
        raise CannotFollow(f"the method {name!r} of a path")

    def file_method(self, file: OpenFile, name: str, arguments: list[Value]) -> Value:
        """What a method of an open file gives.

        Raises:
            CannotFollow: it is not known here.
        """
        if name == "write":
            written = self._files.written.get(file.path, b"") + _encoded(arguments[0])
            self._files.written[file.path] = bounded(written)
            return None
        if name == "seek":
            ends = (0, file.position, len(file.content))
            file.position = max(0, arguments[0] + ends[arguments[1] if len(arguments) > 1 else 0])
            return file.position
        if name not in ("read", "readlines", "getvalue"):
            raise CannotFollow(f"the method {name!r} of a file")
        end = file.position + arguments[0] if arguments and arguments[0] else len(file.content)
        content = file.content[file.position : end]
        file.position = end
        read = content.decode("utf-8", "replace") if file.is_text else content
        return read.splitlines(keepends=True) if name == "readlines" else read

    def _exists(self, path: Value) -> bool:
        self.content(path)
        return True

    def _open(self, path: Value, mode: str = "r", *_: Value, **__: Value) -> OpenFile:
        place = self.path(path)
        content = b"" if mode[:1] in "wx" else self.content(place)
        return OpenFile(place, content, is_text="b" not in mode)


def parent(path: PurePosixPath) -> PurePosixPath:
    """The folder around a path, also where that is the folder around all that was handed in."""
    is_above = not path.parts or path.parts[-1] == ".."
    return path / ".." if is_above else path.parent


def _encoded(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
