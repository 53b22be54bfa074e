"""The challenge's own data sets, from the Hugging Face Hub: `pgolf-train data get`.

The repository keeps everything below `datasets/`: `manifest.json` (data sets with their shard
counts, tokenizers with their paths), `datasets/NAME/fineweb_*.bin`, `tokenizers/*` (source:
parameter-golf, data/cached_challenge_fineweb.py).
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

from trainer.data.progress import ProgressCallback
from trainer.data.token_shards import shard_num_tokens
from trainer.errors import DataError

PUBLISHED_REPO = "willdepueoai/parameter-golf"
REMOTE_ROOT = PurePosixPath("datasets")
VARIANT = re.compile(r"sp\d+|byte260")
TOKENIZER_PATH = re.compile(r"tokenizers/\w[\w.-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchRequest:
    """What to download and where to."""

    variant: str
    train_shards: int
    out: Path
    repo: str = PUBLISHED_REPO
    endpoint: str | None = None  # of a mirror of the Hub


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedSet:
    """What the remote manifest says of one data set."""

    name: str
    num_val_shards: int
    num_train_shards: int
    num_val_tokens: int | None
    tokenizer_paths: tuple[str, ...]  # relative to the remote root


def fetch_published(request: FetchRequest, progress: ProgressCallback) -> Path:
    """Download what is not there yet: validation, the first training shards, the tokenizer.

    Returns:
        The folder of the data set.

    Raises:
        DataError: the Hub cannot be reached or lacks a file, or a file came damaged.
    """
    if not VARIANT.fullmatch(request.variant):
        raise DataError(f"{request.variant}: no such variant; give sp1024, sp4096, … or byte260")
    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    progress("read the list of data sets", 0, 0)
    published = read_published_set(request)
    if not 0 <= request.train_shards <= published.num_train_shards:
        raise DataError(
            f"--train-shards {request.train_shards}: {request.repo} has "
            f"{published.num_train_shards} training shards of {request.variant}"
        )
    files = list(files_of(published, request.train_shards))
    for number, path in enumerate(files):
        progress(f"download {path}", number, len(files))
        fetch_file(request, path)
    folder = request.out / "datasets" / published.name
    check_validation(folder, published)
    shutil.rmtree(staging_of(request), ignore_errors=True)
    return folder


def read_published_set(request: FetchRequest) -> PublishedSet:
    """The entry of the remote manifest for the variant.

    Raises:
        DataError: there is none, or the manifest is not as expected.
    """
    path = download(request, "manifest.json")
    name = f"fineweb10B_{request.variant}"
    try:
        manifest = json.loads(path.read_bytes())
        entry = named(manifest["datasets"], name)
        tokenizer = named(manifest["tokenizers"], entry["tokenizer_name"])
        stats = entry["stats"]
        paths = [tokenizer.get(key) for key in ("model_path", "vocab_path", "path")]
        return PublishedSet(
            name=name,
            num_val_shards=int(stats["files_val"]),
            num_train_shards=int(stats["files_train"]),
            num_val_tokens=stats.get("tokens_val"),
            tokenizer_paths=tuple(checked_tokenizer_path(p) for p in paths if p),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{request.repo}: its manifest does not describe {name} ({error!r}); check --repo"
        ) from None


def named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The entry of that name.

    Raises:
        KeyError: there is none.
    """
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def checked_tokenizer_path(path: str) -> str:
    """A path from the remote manifest, which must stay below `tokenizers/`.

    Raises:
        ValueError: it does not.
    """
    if not TOKENIZER_PATH.fullmatch(path):
        raise ValueError(f"tokenizer path {path!r}")
    return path


def files_of(published: PublishedSet, train_shards: int) -> Iterator[str]:
    """Paths relative to the remote root, which are also those relative to `out`."""
    yield from published.tokenizer_paths
    for split, count in (("val", published.num_val_shards), ("train", train_shards)):
        for number in range(count):
            yield f"datasets/{published.name}/fineweb_{split}_{number:06d}.bin"


def fetch_file(request: FetchRequest, path: str) -> None:
    """Put one file in its place, unless it is there and sound.

    Raises:
        DataError: it cannot be had, or is damaged at the source.
    """
    place = request.out / path
    if place.is_file() and (place.suffix != ".bin" or is_sound_shard(place)):
        return
    downloaded = download(request, path)
    if place.suffix == ".bin":
        try:
            shard_num_tokens(downloaded)
        except DataError:
            downloaded.unlink()  # so that the next call asks the Hub again
            raise
    place.parent.mkdir(parents=True, exist_ok=True)
    downloaded.replace(place)


def is_sound_shard(path: Path) -> bool:
    """Whether header and size of a shard agree."""
    try:
        return shard_num_tokens(path) > 0
    except DataError:
        return False


def staging_of(request: FetchRequest) -> Path:
    """Where the Hub client keeps what it has not finished."""
    return request.out / ".downloading"


def download(request: FetchRequest, path: str) -> Path:
    """One file from the Hub, resumed where an earlier attempt broke off.

    Raises:
        DataError: the Hub cannot be reached or has no such file.
    """
    remote = (REMOTE_ROOT / path).as_posix()
    where = f"{request.repo}: {remote}"
    try:
        return Path(
            hf_hub_download(
                request.repo,
                remote,
                repo_type="dataset",
                endpoint=request.endpoint,
                local_dir=staging_of(request),
            )
        )
    except LocalEntryNotFoundError:
        raise DataError(
            f"{where}: cannot reach the Hub; check the network and try again to resume"
        ) from None
    except EntryNotFoundError:
        raise DataError(f"{where}: no such file; check VARIANT and --repo") from None
    # The Hub client passes on the errors of whatever HTTP library its release uses.
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise DataError(f"{where}: download failed: {reason}; try again to resume") from None


def check_validation(folder: Path, published: PublishedSet) -> None:
    """Compare the validation tokens with the number that the remote manifest states.

    Raises:
        DataError: they differ, so scores would not compare.
    """
    num_tokens = sum(shard_num_tokens(path) for path in folder.glob("fineweb_val_*.bin"))
    if published.num_val_tokens not in (None, num_tokens):
        raise DataError(
            f"{folder}: {num_tokens} validation tokens, but {published.num_val_tokens} are "
            "published; remove the folder and get it again"
        )
