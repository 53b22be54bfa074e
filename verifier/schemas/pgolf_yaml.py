"""pgolf.yaml: the optional contract of a folder that splits training from evaluation.

Its author is a stranger, so it is read tolerantly and within limits.

    version: 1
    train: torchrun --standalone --nproc_per_node=8 train_gpt.py train
    evaluate: torchrun --standalone --nproc_per_node=8 train_gpt.py evaluate
    artifact: [final_model.int8.ptz]    what training leaves for evaluation in the working folder
    code: [train_gpt.py]                what counts as code
    documents: alone                    optional: no document's losses hang on others, or apart:
                                        nor on their words; docs/probe.md
    stream:                             optional; docs/stream.md
      command: python train_gpt.py stream
      pieces: documents                 what is predicted by itself; or a number of tokens
      context: 0                        tokens before a piece that it may see
      lanes: 64                         pieces side by side at most
    text:                               optional, where text was changed before it became tokens:
      apply: python text.py apply       commands that change it, and change it back; docs/probe.md
      restore: python text.py restore
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

MAX_CONTRACT_CHARACTERS = 16_000
MAX_NAMED_FILES = 64
MAX_STREAM_TOKENS = 65_536
MAX_LANES = 4_096
VERSION = "1"


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamContract:
    """How a submission predicts token by token, as the harness shows them."""

    command: str
    """One process, without torchrun."""
    piece_tokens: int | None
    """Targets of a piece that is predicted by itself; None: each document is one."""
    context_tokens: int
    """Tokens before a piece's first that it is given."""
    num_lanes: int
    """Pieces side by side at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextContract:
    """How text was changed before it became tokens, and how that is undone."""

    apply: str
    restore: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitContract:
    """Two launch lines as they stand, and the files that join them."""

    train: str
    evaluate: str
    artifact: tuple[str, ...]
    code: tuple[str, ...]
    """Empty where it is left out: the main script alone."""
    stream: StreamContract | None
    text: TextContract | None


def split_contract(contract: Mapping[str, object]) -> SplitContract | None:
    """What a contract says of two phases; None where it names neither command.

    Raises:
        ValueError: it names one of them alone, another version, files that are none, or a stream
            or a text that cannot be.
    """
    commands = [contract.get(name) for name in ("train", "evaluate")]
    if commands == [None, None]:
        return None
    if str(contract.get("version", VERSION)) != VERSION:
        raise ValueError(f"is of a version that is not read here; write 'version: {VERSION}'")
    train, evaluate = commands
    if not isinstance(train, str) or not isinstance(evaluate, str):
        raise ValueError("needs both commands, 'train' and 'evaluate', each on one line")
    return SplitContract(
        train=train,
        evaluate=evaluate,
        artifact=_file_names(contract, "artifact"),
        code=_file_names(contract, "code") if "code" in contract else (),
        stream=_stream(contract["stream"]) if "stream" in contract else None,
        text=_text(contract["text"]) if "text" in contract else None,
    )


def _stream(told: object) -> StreamContract:
    if not isinstance(told, dict) or not isinstance(told.get("command"), str):
        raise ValueError("needs a 'command' below 'stream', such as 'python train_gpt.py stream'")
    if unknown := sorted(set(map(str, told)) - {"command", "pieces", "context", "lanes"}):
        raise ValueError(f"says '{unknown[0][:40]}' below 'stream', which means nothing there")
    is_cut = told.get("pieces", "documents") != "documents"
    return StreamContract(
        command=told["command"],
        piece_tokens=_whole(told, "pieces", (1, MAX_STREAM_TOKENS)) if is_cut else None,
        context_tokens=_whole({"context": "0"} | told, "context", (0, MAX_STREAM_TOKENS)),
        num_lanes=_whole({"lanes": "64"} | told, "lanes", (1, MAX_LANES)),
    )


def _text(told: object) -> TextContract:
    commands = list(told.values()) if isinstance(told, dict) else []
    if not isinstance(told, dict) or set(told) != {"apply", "restore"}:
        raise ValueError("needs both commands below 'text', 'apply' and 'restore', and no others")
    if not all(isinstance(command, str) for command in commands):
        raise ValueError("needs the commands below 'text' each on one line")
    return TextContract(apply=told["apply"], restore=told["restore"])


def _whole(told: Mapping[str, object], key: str, bounds: tuple[int, int]) -> int:
    text, (low, high) = str(told[key]), bounds
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
        raise ValueError(f"needs a whole number from {low} to {high} as '{key}' of 'stream'")
    return int(text)


def _file_names(contract: Mapping[str, object], key: str) -> tuple[str, ...]:
    """A list of plain relative paths, each once."""
    listed = contract.get(key)
    names = listed if isinstance(listed, list) else [listed]
    texts = [name for name in names if isinstance(name, str) and name]
    if not 0 < len(names) <= MAX_NAMED_FILES or len(texts) < len(names):
        raise ValueError(f"needs '{key}', a list of file names, such as '{key}: [model.bin]'")
    paths = [PurePosixPath(text) for text in texts]
    for path in paths:
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in path.name:
            raise ValueError(f"names a file outside the working folder under '{key}': {path}")
    return tuple(dict.fromkeys(path.as_posix() for path in paths))


def read_contract(text: str) -> Mapping[str, object] | None:
    """The contract's top level; None where it is broken, too long or too deep.

    Every scalar stays the text that it is: YAML's own idea of numbers (base 60 among them) can
    turn a short text into an integer of any size.
    """
    if len(text) > MAX_CONTRACT_CHARACTERS:
        return None
    try:
        document = yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    return {str(key): value for key, value in document.items()}


class _PlainLoader(yaml.BaseLoader):
    """Text, lists and tables alone; no aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)
