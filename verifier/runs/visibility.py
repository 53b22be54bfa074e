"""Which data each phase of a run sees, tried from inside before anything of theirs runs."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from verifier.rulebook import rules_folder
from verifier.runs.launch import DATA_INSIDE
from verifier.sandbox.base import Enforcement, Sandbox, SandboxCommand
from verifier.sandbox.limits import SandboxLimits
from verifier.track_data import TrackData

TRAINING, EVALUATION = "validation_hidden_in_training", "training_hidden_in_evaluation"
LOOK = """
import json, os, sys
def opens(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True
print(json.dumps([opens(path) for path in sys.argv[1:]]))
"""
LOOK_LIMITS = SandboxLimits(
    wall_seconds=30,
    memory_bytes=2**30,
    num_processes=16,
    output_bytes=2**20,
    scratch_bytes=2**20,
)

Mounts = dict[Path, str]
"""Host path → path inside."""


def all_data(data: TrackData) -> Mounts:
    """Dataset and tokenizers; whatever else lies in the data folder stays out of sight."""
    return {folder.resolve(): _inside(folder, data) for folder in _folders(data)}


def training_data(data: TrackData) -> Mounts:
    """Training shards and tokenizers."""
    return _shards(data, "_train_") | tokenizers(data)


def evaluation_data(data: TrackData) -> Mounts:
    """Validation shards and tokenizers."""
    return validation_inside(data) | tokenizers(data)


def validation_inside(data: TrackData) -> Mounts:
    """Validation shards alone."""
    return _shards(data, "_val_")


def hidden_text() -> tuple[Path, ...]:
    """Host folders with text that is validation data, wherever the package is installed."""
    return (rules_folder() / "corpora",)


def undivided() -> tuple[Enforcement, ...]:
    """The two guarantees where one process does everything."""
    why = "one command trains and evaluates; a pgolf.yaml with two commands divides them"
    return tuple(Enforcement(name=n, grade="absent", detail=why) for n in (TRAINING, EVALUATION))


def prove_division(
    sandbox: Sandbox, data: TrackData, scratch: Path, elsewhere: Iterable[Path] = ()
) -> tuple[Enforcement, ...]:
    """Look for each phase's own and forbidden data from inside a sandbox like its own.

    Args:
        sandbox: the one that the phases run in.
        data: what lies on the host.
        scratch: an empty folder that a look may use as its working folder.
        elsewhere: other host folders that hold the text of the validation data.
    """
    train, evaluation = _shards(data, "_train_"), _shards(data, "_val_")
    hidden = [*evaluation.values(), *map(str, evaluation), *map(str, elsewhere)]
    hidden_later = [*train.values(), *map(str, train)]
    return (
        _look(sandbox, scratch, TRAINING, training_data(data), hidden),
        _look(sandbox, scratch, EVALUATION, evaluation_data(data), hidden_later),
    )


def _look(
    sandbox: Sandbox, scratch: Path, name: str, mounts: Mounts, hidden: list[str]
) -> Enforcement:
    shown = [str(path) for path in mounts] if sandbox.sees_host_paths else [*mounts.values()]
    paths = [*shown, *hidden]
    command = SandboxCommand(
        argv=(sys.executable, "-I", "-c", LOOK, *paths),
        workdir=scratch,
        read_only=mounts,
        hidden=hidden_text(),
    )
    lines: list[bytes] = []
    sandbox.execute(command, LOOK_LIMITS, lambda _, line: lines.append(line))
    try:
        answers = json.loads(lines[-1])
        seen = {path for path, opened in zip(paths, answers, strict=True) if opened}
    except (IndexError, ValueError, TypeError):
        return Enforcement(name=name, grade="absent", detail="the look from inside failed")
    if found := sorted(seen.intersection(hidden)):
        return Enforcement(name=name, grade="absent", detail=f"visible inside: {found[0]}")
    if missing := sorted(set(shown) - seen):
        return Enforcement(name=name, grade="absent", detail=f"not visible inside: {missing[0]}")
    return Enforcement(
        name=name, grade="proved", detail=f"{len(hidden)} paths tried from inside in vain"
    )


def _shards(data: TrackData, split: str) -> Mounts:
    files = [data.folder / file.path for file in data.files]
    return {path.resolve(): _inside(path, data) for path in files if split in path.name}


def tokenizers(data: TrackData) -> Mounts:
    """Tokenizers alone."""
    folder = data.tokenizer.parent
    return {folder.resolve(): _inside(folder, data)}


def _folders(data: TrackData) -> tuple[Path, Path]:
    return data.dataset, data.tokenizer.parent


def _inside(path: Path, data: TrackData) -> str:
    return f"{DATA_INSIDE}/{path.relative_to(data.folder).as_posix()}"
