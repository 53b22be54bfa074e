"""The published token-shard format.

A shard is a header of 256 little-endian int32, [20240520, 1, num_tokens, 0, 0, …], followed by
num_tokens little-endian uint16 token ids and nothing else.
"""

import os
from pathlib import Path

import numpy as np

from trainer.errors import DataError

SHARD_MAGIC = 20240520
SHARD_VERSION = 1
SHARD_HEADER_INTS = 256
SHARD_HEADER_BYTES = 4 * SHARD_HEADER_INTS


def read_shard(path: Path | str) -> np.ndarray:
    """The tokens of one shard, memory-mapped read-only: (num_tokens,) uint16.

    Raises:
        DataError: the file is missing or deviates from the format in any way.
    """
    num_tokens = shard_num_tokens(path)
    return np.memmap(path, dtype="<u2", mode="r", offset=SHARD_HEADER_BYTES, shape=(num_tokens,))


def shard_num_tokens(path: Path | str) -> int:
    """The token count of one shard, from its header, checked against the size of the file.

    Raises:
        DataError: as `read_shard`.
    """
    try:
        with Path(path).open("rb") as file:
            file_bytes = os.fstat(file.fileno()).st_size
            head = file.read(SHARD_HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot read the shard: {error.strerror}") from None
    mend = "fetch or build the shard again"
    if len(head) < SHARD_HEADER_BYTES:
        raise DataError(f"{path}: {file_bytes} bytes, shorter than a shard's header; {mend}")
    magic, version, num_tokens, *rest = np.frombuffer(head, dtype="<i4").tolist()
    if magic != SHARD_MAGIC:
        raise DataError(f"{path}: magic number {magic}, not {SHARD_MAGIC}: no token shard; {mend}")
    if version != SHARD_VERSION or any(rest):
        raise DataError(f"{path}: not a version {SHARD_VERSION} shard header; {mend}")
    expected_bytes = SHARD_HEADER_BYTES + 2 * num_tokens
    if num_tokens <= 0 or file_bytes != expected_bytes:
        raise DataError(
            f"{path}: {file_bytes} bytes, but its header says {num_tokens} tokens, "
            f"so {expected_bytes} bytes; {mend}"
        )
    return int(num_tokens)


def write_shard(path: Path | str, tokens: np.ndarray) -> None:
    """Write one shard; the name appears only when all its bytes are on disk.

    Args:
        path: where the shard goes.
        tokens: (num_tokens,) integers in [0, 65535], at least one.

    Raises:
        DataError: no tokens, or a token that does not fit uint16.
    """
    if tokens.size == 0 or int(tokens.min()) < 0 or int(tokens.max()) > 0xFFFF:
        raise DataError(f"{path}: a shard holds one or more token ids from 0 to 65535")
    header = np.zeros(SHARD_HEADER_INTS, dtype="<i4")
    header[:3] = SHARD_MAGIC, SHARD_VERSION, tokens.size
    partial = Path(f"{path}.partial")
    with partial.open("wb") as file:
        file.write(header.tobytes())
        file.write(tokens.astype("<u2", copy=False).data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def shard_paths(folder: Path | str, split: str) -> list[Path]:
    """All shards of a split ("train" or "val") in reading order.

    Raises:
        DataError: the folder holds none.
    """
    paths = sorted(Path(folder).glob(f"fineweb_{split}_[0-9]*.bin"))
    if not paths:
        raise DataError(
            f"{folder}: no fineweb_{split}_*.bin shards; "
            "make them with `pgolf-train data build` or `pgolf-train data get`"
        )
    return paths


def has_case_operators(folder: Path | str) -> bool:
    """Whether a data set's tokens say in a sidecar how many bytes they stand for."""
    return any(Path(folder).glob("fineweb_val_bytes_*.bin"))


def read_token_bytes(folder: Path | str) -> np.ndarray:
    """How many bytes of text each validation token stands for, where case operators say otherwise.

    Returns:
        (num_tokens,) uint16, parallel to the validation shards.

    Raises:
        DataError: there is no such sidecar, or it has not one number a token.
    """
    sidecar = shard_paths(folder, "val_bytes")
    sizes = np.concatenate([read_shard(path) for path in sidecar])
    num_tokens = sum(shard_num_tokens(path) for path in shard_paths(folder, "val"))
    if sizes.size != num_tokens:
        raise DataError(
            f"{sidecar[0]}: {sizes.size} byte counts for {num_tokens} validation tokens; "
            "build the data again"
        )
    return sizes
