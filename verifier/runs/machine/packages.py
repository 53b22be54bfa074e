"""Installed Python packages, and which of them a file belongs to."""

import functools
import os
import site
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

PYTHON_ITSELF = "python"


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledFiles:
    """The files of one `site-packages` by what their packages' own lists say."""

    root: Path
    owners: dict[str, str]
    """First part of a path → `name-version`, or the part itself where several packages share it."""
    recorded: frozenset[str]
    """Paths below `root` that a package lists."""
    unlisted: frozenset[str]
    """First parts that belong to packages which list no files (a distribution's own)."""

    def package_of(self, path: Path) -> str | None:
        """The package that a file belongs to; None where no package owns up to it."""
        inner = path.relative_to(self.root)
        top = inner.parts[0]
        if top in self.unlisted:
            return self.owners[top]
        if top.endswith((".dist-info", ".egg-info", ".pth")):  # read by whoever lists packages
            return PYTHON_ITSELF
        if path.suffix == ".pyc":  # made at installation or import, from a source that is listed
            return self.owners.get(top, PYTHON_ITSELF)
        return self.owners.get(top) if inner.as_posix() in self.recorded else None


@functools.cache
def package_folders() -> tuple[Path, ...]:
    """Every folder of installed packages that the interpreter shows inside the sandbox."""
    named = [*site.getsitepackages(), sysconfig.get_path("purelib", vars={"base": sys.base_prefix})]
    return tuple(dict.fromkeys(p for p in map(Path, named) if p.is_dir()))


@functools.cache
def folders_below(root: Path) -> tuple[Path, ...]:
    """`root` and every folder below it; packages do not change while we run."""
    return tuple(Path(place) for place, _, _ in os.walk(root))


@functools.cache
def installed_files(root: Path) -> InstalledFiles:
    """Read the lists of every package of one folder."""
    owners: dict[str, str] = {}
    recorded: set[str] = set()
    unlisted: set[str] = set()
    for info in sorted(root.glob("*.*-info")):
        name = info.name.rpartition(".")[0]
        listed = _listed_files(info)
        tops = {path.partition("/")[0] for path in listed} or _top_level(info)
        recorded.update(listed)
        unlisted.update(() if listed else tops)
        for top in {*tops, info.name} - {"..", "__pycache__"}:
            owners[top] = top if top in owners else name
    return InstalledFiles(
        root=root, owners=owners, recorded=frozenset(recorded), unlisted=frozenset(unlisted)
    )


def _listed_files(info: Path) -> set[str]:
    """Paths in RECORD, less hash and size; a path with a comma stands in quotes."""
    record = info / "RECORD"
    if not record.is_file():
        return set()
    lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.rsplit(",", 2)[0].strip('"') for line in lines if line}


def _top_level(info: Path) -> set[str]:
    listing = info / "top_level.txt"
    names = listing.read_text().split() if listing.is_file() else [info.name.partition("-")[0]]
    return {top for name in names for top in (name, f"{name}.py")}
