"""A world: training shards, a validation shard and a tokenizer file, drawn from a secret source."""

import os
import secrets
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.floor.source import Alphabet, Source, Tape
from verifier.floor.tokenizer_model import BOS, encode_model, make_pieces, target_bytes
from verifier.schemas.floor_record_json import SourceKind, WorldRecord
from verifier.track_data import HEADER_BYTES, SHARD_MAGIC, SHARD_VERSION

YEAR_SECONDS = 31_536_000
"""Files of a world seem to have lain there for up to so long."""
SECRET_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldSize:
    """How much of what to draw."""

    source: SourceKind
    vocab_size: int
    document_tokens: int
    training_tokens: int
    num_targets: int


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What was drawn; nothing of it but the files is ever shown to a script."""

    record: WorldRecord
    training: NDArray[np.uint16]
    tape: Tape
    target_bytes: NDArray[np.int64]  # (N,)
    tokenizer: bytes


def draw_world(size: WorldSize, secret: str | None = None) -> World:
    """Draw a world that nobody could foresee, or one again whose secret is known.

    Raises:
        UsageError: the vocabulary is too small or too large.
    """
    secret = secret or secrets.token_hex(SECRET_BYTES)
    rng = np.random.default_rng(int(secret, 16))
    pieces = make_pieces(size.vocab_size)
    words = np.array([token for token, piece in enumerate(pieces) if piece.is_word])
    source = Source(size.source, Alphabet(bos=BOS, words=words), size.document_tokens, rng)
    training, tape = source.draw_training(size.training_tokens), source.draw_tape(size.num_targets)
    num_bytes = target_bytes(pieces, tape.tokens)
    record = WorldRecord(
        source=size.source,
        secret=secret,
        vocab_size=size.vocab_size,
        document_tokens=size.document_tokens,
        training_tokens=size.training_tokens,
        num_targets=size.num_targets,
        num_bytes=int(num_bytes.sum()),
        floor_nats=tape.floor_nats,
        num_parameters=source.num_parameters,
    )
    return World(
        record=record,
        training=training,
        tape=tape,
        target_bytes=num_bytes,
        tokenizer=encode_model(pieces),
    )


def write_world(world: World, folder: Path, *, with_sidecar: bool = False) -> None:
    """Write the files under the public names: `datasets/fineweb10B_sp<V>/`, `tokenizers/`.

    Args:
        world: what was drawn.
        folder: where it goes.
        with_sidecar: whether each validation token's bytes lie beside the validation shard.

    Raises:
        OSError: the disk refuses.
    """
    vocab_size = world.record.vocab_size
    dataset = folder / "datasets" / f"fineweb10B_sp{vocab_size}"
    tokenizers = folder / "tokenizers"
    dataset.mkdir(parents=True)
    tokenizers.mkdir()
    _write_shard(dataset / "fineweb_train_000000.bin", world.training)
    _write_shard(dataset / "fineweb_val_000000.bin", world.tape.tokens)
    if with_sidecar:
        _write_shard(dataset / "fineweb_val_bytes_000000.bin", np.append(0, world.target_bytes))
    (tokenizers / f"fineweb_{vocab_size}_bpe.model").write_bytes(world.tokenizer)
    made = time.time() - int(world.record.secret, 16) % YEAR_SECONDS
    for path in folder.rglob("*"):
        os.utime(path, (made, made))


def _write_shard(path: Path, tokens: NDArray[np.uint16]) -> None:
    header = struct.pack("<3i", SHARD_MAGIC, SHARD_VERSION, len(tokens)).ljust(HEADER_BYTES, b"\0")
    path.write_bytes(header + tokens.astype("<u2").tobytes())
