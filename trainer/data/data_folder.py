"""Where things lie in a data folder: OUT/datasets/NAME/*.bin and OUT/tokenizers/*."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import DataError

PURE_BYTE_TOKENIZER = "fineweb_pure_byte_260.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetLocation:
    """One data set and the tokenizer that wrote it, when it can be told."""

    name: str
    folder: Path
    tokenizer: Path | None


def find_datasets(folder: Path) -> list[DatasetLocation]:
    """The data sets of a data folder or of its `datasets`, or the one whose shards lie in it.

    Raises:
        DataError: there are none.
    """
    if not folder.is_dir():
        beside = [path for path in folder.parent.glob("*/") if (path / "datasets").is_dir()]
        near = difflib.get_close_matches(str(folder), map(str, beside), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"{folder}: no such folder{hint}")
    places = [folder] if has_shards(folder) else [*folder.glob("datasets/*"), *folder.glob("*")]
    inside = sorted(filter(has_shards, places))
    if not inside:
        raise DataError(
            f"{folder}: no token shards here nor in {folder / 'datasets'}; "
            "make some with `pgolf-train data build` or `pgolf-train data get`"
        )
    return [
        DatasetLocation(name=path.resolve().name, folder=path, tokenizer=tokenizer_of(path))
        for path in inside
    ]


def has_shards(folder: Path) -> bool:
    """Whether token shards lie directly in a folder."""
    return any(folder.glob("fineweb_*_*.bin"))


def tokenizer_of(dataset: Path) -> Path | None:
    """The tokenizer of a data set by its name: ours, or one of the published sets."""
    dataset = dataset.resolve()
    tokenizers = dataset.parent.parent / "tokenizers"
    variant = dataset.name.rpartition("_")[2]
    names = [f"{dataset.name}.model", f"fineweb_{variant.removeprefix('sp')}_bpe.model"]
    if variant == "byte260":
        names = [PURE_BYTE_TOKENIZER]
    return next((tokenizers / name for name in names if (tokenizers / name).is_file()), None)
