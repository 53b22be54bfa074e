# demo_baseline: Two small layers and a low, constant learning rate; about 15 s a seed on one CPU core.
# Written by `pgolf-train`; RECIPE holds every option.


import hashlib
import io
import json
import math
import numpy as np
import os
import platform
import random
import sentencepiece
import sys
import time
import torch
import torch.distributed as dist
import torch.nn.functional as F
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import Field, dataclass, field, fields
from functools import partial
from itertools import cycle
from pathlib import Path
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from typing import Any, Literal, TextIO, TypeVar, get_args


RECIPE = {
    "run.seed": 1337,
    "run.run_id": "run",
    "run.data_path": "./data/datasets/fineweb10B_sp1024",
    "run.tokenizer_path": "./data/tokenizers/fineweb_1024_bpe.model",
    "device.torch_compile": "gpu",
    "device.cpu_threads": 1,
    "batch.train_batch_tokens": 1024,
    "batch.train_seq_len": 128,
    "batch.micro_batches_per_step": 1,
    "batch.val_batch_size": 4096,
    "model.vocab_size": 1024,
    "model.num_layers": 2,
    "model.model_dim": 96,
    "model.num_heads": 2,
    "model.num_kv_heads": 1,
    "model.mlp_mult": 2,
    "model.tie_embeddings": True,
    "model.tied_embed_init_std": 0.005,
    "model.qk_gain_init": 1.5,
    "model.rope_base": 10000.0,
    "model.logit_softcap": 30.0,
    "optimizer.embed_lr": 0.6,
    "optimizer.head_lr": 0.008,
    "optimizer.tied_embed_lr": 0.02,
    "optimizer.matrix_lr": 0.01,
    "optimizer.scalar_lr": 0.01,
    "optimizer.muon_momentum": 0.95,
    "optimizer.muon_momentum_warmup_start": 0.85,
    "optimizer.muon_momentum_warmup_steps": 500,
    "optimizer.muon_backend_steps": 5,
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.95,
    "optimizer.adam_eps": 1e-08,
    "optimizer.grad_clip_norm": 0.0,
    "optimizer.control_tensor_name_patterns": "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,skip_weight,skip_weights",
    "schedule.iterations": 300,
    "schedule.max_wallclock_seconds": 0.0,
    "schedule.warmup_steps": 0,
    "schedule.warmdown_iters": 0,
    "schedule.train_log_every": 25,
    "schedule.val_loss_every": 0,
    "quantization.int8_keep_float_fp32_name_patterns": "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,skip_weight,skip_weights",
    "evaluation.score_tail": True,
}


# ---- trainer/errors.py
# What stops the trainer.


class TrainerError(Exception):
    """One line that may be shown to a user as it is."""

    exit_code = 4


class RecipeError(TrainerError):
    """A recipe or a setting is missing, malformed or contradicts itself."""

    exit_code = 2


class DataError(TrainerError):
    """Data or tokenizer are missing, damaged, or do not fit together."""

    exit_code = 2


class LaunchError(TrainerError):
    """A training process could not be started, or died."""


# ---- trainer/recipe.py
# A recipe: every option of a training run, its default and its bounds.


CONTROL_TENSORS = (
    "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,"
    "skip_weight,skip_weights"
)


Value = int | float | bool | str
T = TypeVar("T", bound=Value)


def option(default: T, *, at_least: float | None = None, above: float | None = None) -> T:
    """A recipe option with its default and, for numbers, a lower bound."""
    return field(default=default, metadata={"at_least": at_least, "above": above})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Where a run reads and what tells it apart from its siblings."""

    seed: int = option(1337, at_least=0)
    run_id: str = option("run")  # names the log: logs/<run_id>.txt
    data_path: str = option("./data/datasets/fineweb10B_sp1024")
    tokenizer_path: str = option("./data/tokenizers/fineweb_1024_bpe.model")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceOptions:
    """How the arithmetic is carried out."""

    torch_compile: Literal["gpu", "always", "never"] = option("gpu")
    # 0: one a core. A fixed number makes sums come out alike everywhere; 1 is also the fastest on
    # a busy machine, where threads would mostly wait for each other.
    cpu_threads: int = option(0, at_least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOptions:
    """How tokens are grouped."""

    train_batch_tokens: int = option(524_288, at_least=1)  # of all processes, one step
    train_seq_len: int = option(1024, at_least=1)  # tokens
    micro_batches_per_step: int = option(8, at_least=1)  # of all processes
    val_batch_size: int = option(524_288, at_least=1)  # tokens of all processes and micro-batches


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """The shape of the transformer."""

    vocab_size: int = option(1024, at_least=1)
    num_layers: int = option(9, at_least=1)
    model_dim: int = option(512, at_least=1)
    num_heads: int = option(8, at_least=1)
    num_kv_heads: int = option(4, at_least=1)
    mlp_mult: int = option(2, at_least=1)
    tie_embeddings: bool = option(True)
    tied_embed_init_std: float = option(0.005, above=0)
    qk_gain_init: float = option(1.5)
    rope_base: float = option(10_000.0, above=0)
    logit_softcap: float = option(30.0, above=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerOptions:
    """Muon for the matrices, Adam for the rest."""

    embed_lr: float = option(0.6, at_least=0)  # when embeddings are not tied
    head_lr: float = option(0.008, at_least=0)  # when embeddings are not tied
    tied_embed_lr: float = option(0.05, at_least=0)
    matrix_lr: float = option(0.04, at_least=0)
    scalar_lr: float = option(0.04, at_least=0)
    muon_momentum: float = option(0.95, at_least=0)
    muon_momentum_warmup_start: float = option(0.85, at_least=0)
    muon_momentum_warmup_steps: int = option(500, at_least=0)
    muon_backend_steps: int = option(5, at_least=1)  # Newton-Schulz iterations
    beta1: float = option(0.9, at_least=0)
    beta2: float = option(0.95, at_least=0)
    adam_eps: float = option(1e-8, above=0)
    grad_clip_norm: float = option(0.0, at_least=0)  # 0: no clipping
    control_tensor_name_patterns: str = option(CONTROL_TENSORS)  # kept in fp32, trained by Adam


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleOptions:
    """How long training lasts, and what is printed meanwhile."""

    iterations: int = option(20_000, at_least=1)  # steps
    max_wallclock_seconds: float = option(600.0, at_least=0)  # 0: no limit
    warmup_steps: int = option(20, at_least=0)  # priming the compiled code; then undone
    warmdown_iters: int = option(1200, at_least=0)  # steps over which the learning rate falls to 0
    train_log_every: int = option(200, at_least=0)  # steps; 0: first ten and last only
    val_loss_every: int = option(0, at_least=0)  # steps; 0: validation data stay closed


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizationOptions:
    """What the artifact keeps of each tensor."""

    int8_keep_float_fp32_name_patterns: str = option(CONTROL_TENSORS)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """What is scored."""

    # Public scripts leave out the last tokens that fill no sequence, up to train_seq_len - 1.
    score_tail: bool = option(False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that determines a training run."""

    run: RunOptions = RunOptions()
    device: DeviceOptions = DeviceOptions()
    batch: BatchOptions = BatchOptions()
    model: ModelOptions = ModelOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    quantization: QuantizationOptions = QuantizationOptions()
    evaluation: EvaluationOptions = EvaluationOptions()


def section_types() -> dict[str, Any]:
    """The parts of a recipe: section → the dataclass of its options."""
    return {section.name: section.type for section in fields(Recipe)}


def options_by_path() -> dict[str, Field[Any]]:
    """Every option of a recipe: path → field."""
    return {
        f"{section}.{option.name}": option
        for section, options in section_types().items()
        for option in fields(options)
    }


def public_names() -> dict[str, str]:
    """The alias table: an option's name in the environment → its path."""
    return {path.split(".")[1].upper(): path for path in options_by_path()}


def matches_any(tensor_name: str, patterns: str) -> bool:
    """Whether a tensor's name contains one of the comma-separated patterns."""
    return any(pattern in tensor_name for pattern in patterns.split(",") if pattern)


def environment_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that an environment makes by public names."""
    names = public_names()
    return {names[name]: text for name, text in environment.items() if name in names}


def build_recipe(
    settings: Mapping[str, object], origins: Mapping[str, str] | None = None
) -> Recipe:
    """A recipe from settings; an option that is left out keeps its default.

    Args:
        settings: known path → value; a number may be a string, as the environment gives it.
        origins: path → where that setting was made, for messages.

    Raises:
        RecipeError: with all mistakes, one a line, each naming its origin and its path.
    """
    values: dict[str, dict[str, Any]] = {section: {} for section in section_types()}
    mistakes: list[str] = []
    known = options_by_path()
    for path, raw in settings.items():
        section, _, name = path.partition(".")
        try:
            values[section][name] = parse_value(known[path], raw)
        except RecipeError as mistake:
            mistakes.append(f"{(origins or {}).get(path, 'recipe')}: {path}: {mistake}")
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    parts = section_types()
    recipe = Recipe(**{section: parts[section](**options) for section, options in values.items()})
    if found := contradictions(recipe):
        raise RecipeError("\n".join(f"recipe: {what}" for what in found))
    return recipe


def parse_value(option: Field[Any], raw: object) -> Value:
    """One option's value, converted to its type and held to its bounds.

    Raises:
        RecipeError: the value is of another type or out of bounds.
    """
    if words := get_args(option.type):
        if raw not in words:
            raise RecipeError(f"expected one of {', '.join(words)}, not {raw!r}")
        return str(raw)
    value = _convert(option.type, raw)
    if isinstance(value, str):
        return value
    at_least, above = option.metadata["at_least"], option.metadata["above"]
    if at_least is not None and value < at_least:
        raise RecipeError(f"must be at least {at_least}, not {value}")
    if above is not None and value <= above:
        raise RecipeError(f"must be above {above}, not {value}")
    return value


def _convert(kind: object, raw: object) -> Value:
    text = str(raw).strip().lower()
    try:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text]
        if kind is str and isinstance(raw, str):
            return raw
        if kind is int and not isinstance(raw, bool | float):
            return int(text)
        if kind is float and math.isfinite(float(text)):
            return float(text)
    except (KeyError, ValueError):
        pass
    wanted: dict[object, str] = {
        bool: "0 or 1",
        str: "text",
        int: "a whole number",
        float: "a number",
    }
    raise RecipeError(f"expected {wanted[kind]}, not {raw!r}")


def contradictions(recipe: Recipe) -> list[str]:
    """What is wrong between options that are each right on their own."""
    model, batch = recipe.model, recipe.batch
    micro_batch_tokens, rest = divmod(batch.train_batch_tokens, batch.micro_batches_per_step)
    head_dim = model.model_dim // model.num_heads
    checks = {
        f"batch.train_batch_tokens {batch.train_batch_tokens} must be a multiple of "
        f"micro_batches_per_step {batch.micro_batches_per_step} x train_seq_len "
        f"{batch.train_seq_len}": rest == 0 and micro_batch_tokens % batch.train_seq_len == 0,
        f"batch.val_batch_size {batch.val_batch_size} must be at least micro_batches_per_step "
        f"{batch.micro_batches_per_step} x train_seq_len {batch.train_seq_len}": (
            batch.val_batch_size >= batch.micro_batches_per_step * batch.train_seq_len
        ),
        f"model.model_dim {model.model_dim} must be a multiple of num_heads {model.num_heads}": (
            model.model_dim % model.num_heads == 0
        ),
        f"model.model_dim / num_heads = {head_dim} must be even for rotary positions": (
            head_dim % 2 == 0
        ),
        f"model.num_heads {model.num_heads} must be a multiple of num_kv_heads "
        f"{model.num_kv_heads}": model.num_heads % model.num_kv_heads == 0,
    }
    return [message for message, holds in checks.items() if not holds]


# ---- trainer/quantization/rounding.py
# Rounding to eight bits, row by row, as the public baseline does it.


MAX_KEPT_ELEMENTS = 65_536  # tensors up to this size are kept as floats
CLIP_QUANTILE = 0.9999984  # of the absolute values of a row
MAX_CODE = 127


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """What the artifact keeps of one tensor."""

    values: Tensor  # int8 codes (R, C) with a scale; else the tensor itself, fp16 or fp32
    scale: Tensor | None  # (R,) fp16: the value of one code step of each row
    dtype: torch.dtype  # of the tensor before it was stored

    @property
    def num_bytes(self) -> int:
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)


def quantize_state(state: Mapping[str, Tensor], keep_patterns: str) -> dict[str, StoredTensor]:
    """Store a model's tensors: control tensors as fp32, other small ones as fp16, the rest int8.

    Args:
        state: name → tensor.
        keep_patterns: comma-separated parts of the names of control tensors.
    """
    return {
        name: store_tensor(tensor.detach().cpu(), keep_exact=matches_any(name, keep_patterns))
        for name, tensor in state.items()
    }


def store_tensor(tensor: Tensor, *, keep_exact: bool) -> StoredTensor:
    """One tensor in its stored form."""
    if tensor.numel() > MAX_KEPT_ELEMENTS and tensor.ndim == 2:
        codes, scale = round_rows(tensor)
        return StoredTensor(values=codes, scale=scale, dtype=tensor.dtype)
    kept = tensor.float() if keep_exact else tensor.half()
    return StoredTensor(values=kept.contiguous(), scale=None, dtype=tensor.dtype)


def round_rows(
    matrix: Tensor,  # (R, C)
) -> tuple[Tensor, Tensor]:  # (R, C) int8 codes, (R,) fp16 value of a code step
    """Clip each row at a high quantile and round it to 255 levels.

    A step is never below 1/127: rows that stay within ±1 all share that step, so small weights
    use few codes and compress well.
    """
    rows = matrix.float()
    clip = torch.quantile(rows.abs(), CLIP_QUANTILE, dim=1)
    scale = (clip / MAX_CODE).clamp_min(1.0 / MAX_CODE)
    clipped = rows.clamp(-clip[:, None], clip[:, None])
    codes = (clipped / scale[:, None]).round().clamp(-MAX_CODE, MAX_CODE)
    return codes.to(torch.int8).contiguous(), scale.half()


def dequantize_state(stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """The tensors that the stored ones stand for, in their original types."""
    return {name: restore_tensor(tensor) for name, tensor in stored.items()}


def restore_tensor(stored: StoredTensor) -> Tensor:
    """One tensor from its stored form."""
    if stored.scale is None:
        return stored.values.to(stored.dtype)
    return (stored.values.float() * stored.scale.float()[:, None]).to(stored.dtype)


def payload_bytes(stored: Mapping[str, StoredTensor]) -> int:
    """Bytes of codes, scales and kept floats before compression."""
    return sum(tensor.num_bytes for tensor in stored.values())


# ---- trainer/artifact.py
# The artifact: stored tensors ↔ compressed bytes, the same bytes for the same tensors.


ARTIFACT_FORMAT = "pgolf int8 rows, version 1"
MAX_UNPACKED_BYTES = 1 << 30
STORED_TYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}
MODEL_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArtifact:
    """The artifact's bytes, and how many there were before compression."""

    compressed: bytes
    raw_bytes: int


def pack_artifact(stored: Mapping[str, StoredTensor]) -> PackedArtifact:
    """Write tensors as an artifact."""
    entries = []
    body = bytearray()
    for name in sorted(stored):
        tensor = stored[name]
        entries.append(
            {
                "name": name,
                "shape": list(tensor.values.shape),
                "stored": _type_name(tensor.values),
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "scaled": tensor.scale is not None,
            }
        )
        body += _tensor_bytes(tensor.values)
        body += b"" if tensor.scale is None else _tensor_bytes(tensor.scale)
    header = json.dumps({"format": ARTIFACT_FORMAT, "tensors": entries}).encode()
    raw = len(header).to_bytes(4, "little") + header + bytes(body)
    return PackedArtifact(compressed=zlib.compress(raw, 9), raw_bytes=len(raw))


def unpack_artifact(compressed: bytes) -> dict[str, StoredTensor]:
    """Read an artifact.

    Raises:
        DataError: the bytes are no artifact, or damaged.
    """
    try:
        decompressor = zlib.decompressobj()
        raw = decompressor.decompress(compressed, MAX_UNPACKED_BYTES)
        if not decompressor.eof:
            raise ValueError("cut short, or larger than any artifact")
        return _read_tensors(raw)
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the artifact is damaged ({error}); train it again") from None


def _read_tensors(raw: bytes) -> dict[str, StoredTensor]:
    body_start = 4 + int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4:body_start])
    if header["format"] != ARTIFACT_FORMAT:
        raise ValueError(f"format {header['format']!r}, not {ARTIFACT_FORMAT!r}")
    body = io.BytesIO(raw[body_start:])
    tensors: dict[str, StoredTensor] = {}
    for entry in header["tensors"]:
        shape = entry["shape"]
        tensors[entry["name"]] = StoredTensor(
            values=_read_tensor(body, shape, STORED_TYPES[entry["stored"]]),
            scale=_read_tensor(body, shape[:1], torch.float16) if entry["scaled"] else None,
            dtype=MODEL_TYPES[entry["dtype"]],
        )
    if body.read(1):
        raise ValueError("bytes left over after the last tensor")
    return tensors


def _read_tensor(body: io.BytesIO, shape: list[int], dtype: torch.dtype) -> Tensor:
    num_elements = math.prod(shape)
    content = bytearray(body.read(num_elements * dtype.itemsize))
    if len(content) != num_elements * dtype.itemsize:
        raise ValueError("cut short")
    if not content:  # one layer has no skips; frombuffer takes no empty buffer
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).view(shape)


def _tensor_bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


# ---- trainer/data/byte_lengths.py
# Bytes per token id: the denominator of bits per byte, as the challenge counts it.


SPACE_MARK = "▁"
PURE_BYTE_OFFSET = 4  # the published byte260 set: pad, bos, eos, unk, then the 256 bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteTable:
    """What each token id is worth; V is the vocabulary size."""

    base_bytes: np.ndarray  # (V,) int16: bytes of the piece without its leading space mark
    has_leading_space: np.ndarray  # (V,) bool: the piece starts with the space mark
    is_boundary: np.ndarray  # (V,) bool: after this token a leading space is not charged


def load_byte_table(tokenizer_path: Path | str, vocab_size: int) -> ByteTable:
    """The byte table of a SentencePiece model, or of the published pure-byte `.json`.

    Raises:
        DataError: the file is no tokenizer, or its vocabulary is not `vocab_size`.
    """
    path = Path(tokenizer_path)
    table = pure_byte_table(path) if path.suffix == ".json" else sentencepiece_byte_table(path)
    if table.base_bytes.size != vocab_size:
        raise DataError(
            f"{path}: the tokenizer has {table.base_bytes.size} tokens, but the vocabulary size "
            f"asked for is {vocab_size}; set the vocabulary size or the tokenizer to match"
        )
    return table


def sentencepiece_byte_table(path: Path) -> ByteTable:
    """The table of a SentencePiece model, token by token.

    Raises:
        DataError: the file is no SentencePiece model.
    """
    pieces = load_sentencepiece(path)
    size = pieces.vocab_size()
    base_bytes = np.zeros(size, dtype=np.int16)
    has_leading_space = np.zeros(size, dtype=np.bool_)
    is_boundary = np.zeros(size, dtype=np.bool_)
    for token in range(size):
        piece = pieces.id_to_piece(token)
        if pieces.is_control(token) or pieces.is_unknown(token) or pieces.is_unused(token):
            is_boundary[token] = True
        elif pieces.is_byte(token):
            base_bytes[token] = 1
        else:
            has_leading_space[token] = piece.startswith(SPACE_MARK)
            base_bytes[token] = len(piece.removeprefix(SPACE_MARK).encode())
    return ByteTable(
        base_bytes=base_bytes, has_leading_space=has_leading_space, is_boundary=is_boundary
    )


def load_sentencepiece(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Read a SentencePiece model.

    Raises:
        DataError: the file is missing or no SentencePiece model.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such tokenizer; give the path of a SentencePiece .model file")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):
        raise DataError(f"{path}: not a SentencePiece model; fetch or train it again") from None


def pure_byte_table(path: Path) -> ByteTable:
    """The table of the published byte260 tokenizer: every token but the first four is one byte.

    Raises:
        DataError: the file does not describe that tokenizer.
    """
    try:
        description = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise DataError(
            f"{path}: cannot read it as a pure-byte tokenizer; fetch it again"
        ) from None
    if not isinstance(description, dict) or description.get("tokenizer_type") != "pure_byte":
        raise DataError(f"{path}: not a pure-byte tokenizer; give a .model or the published .json")
    is_boundary = np.arange(PURE_BYTE_OFFSET + 256) < PURE_BYTE_OFFSET
    return ByteTable(
        base_bytes=(~is_boundary).astype(np.int16),
        has_leading_space=np.zeros_like(is_boundary),
        is_boundary=is_boundary,
    )


def count_bytes(table: ByteTable, previous_ids: np.ndarray, target_ids: np.ndarray) -> int:
    """Bytes that the targets stand for.

    Args:
        table: the tokenizer's byte table.
        previous_ids: (n,) the token before each target.
        target_ids: (n,) the tokens to be charged.
    """
    charged_space = table.has_leading_space[target_ids] & ~table.is_boundary[previous_ids]
    return int(table.base_bytes[target_ids].sum(dtype=np.int64)) + int(charged_space.sum())


# ---- trainer/data/token_shards.py
# The published token-shard format.


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


def shard_paths(folder: Path | str, split: str) -> list[Path]:
    """All shards of a split ("train" or "val") in reading order.

    Raises:
        DataError: the folder holds none.
    """
    paths = sorted(Path(folder).glob(f"fineweb_{split}_*.bin"))
    if not paths:
        raise DataError(
            f"{folder}: no fineweb_{split}_*.bin shards; "
            "make them with `pgolf-train data build` or `pgolf-train data get`"
        )
    return paths


# ---- trainer/process_group.py
# One code path for one process and for eight: with one process, communication does nothing.


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessGroup:
    """The processes of a run, seen from one of them."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_master(self) -> bool:
        return self.rank == 0

    def sum_in_place(self, tensor: torch.Tensor) -> None:
        if self.world_size > 1:
            dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process. A host sync with more than one."""
        if self.world_size == 1:
            return flag
        raised = torch.tensor(int(flag), device=self.device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return bool(raised.item())

    def barrier(self) -> None:
        if self.world_size > 1:
            dist.barrier()

    def synchronize(self) -> None:
        """Wait until the device has done what it was given, so that a clock means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over all processes during the backward pass."""
        if self.world_size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def join_process_group() -> ProcessGroup:
    """The group that torchrun set up (RANK, WORLD_SIZE, LOCAL_RANK), or a group of one.

    Raises:
        LaunchError: there are more processes on this machine than GPUs.
    """
    rank = int(os.environ.get("RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if local_rank >= torch.cuda.device_count():
            raise LaunchError(
                f"process {local_rank} has no GPU: this machine has {torch.cuda.device_count()}; "
                "start fewer processes"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if world_size > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, device_id=device if device.type == "cuda" else None)
    return ProcessGroup(rank=rank, world_size=world_size, device=device)


def leave_process_group() -> None:
    """Take leave of the other processes, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def gradient_sync(forward: nn.Module, *, wanted: bool) -> AbstractContextManager[None]:
    """Within it, a backward pass averages gradients over the processes only if wanted.

    While micro-batches accumulate, only the last backward pass need pay for communication.
    """
    if wanted or not isinstance(forward, DistributedDataParallel):
        return nullcontext()
    return forward.no_sync()


# ---- trainer/data/batches.py
# Tokens on the device, in a fixed order: every process draws its own share of one stream.


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B sequences of T tokens on the device."""

    input_ids: Tensor  # (B, T) int64
    target_ids: Tensor  # (B, T) int64: the token after each input


def train_batches(paths: list[Path], recipe: Recipe, group: ProcessGroup) -> Iterator[Batch]:
    """This process's micro-batches, for ever, from the first token of the first shard.

    The stream is cut into spans, one a micro-batch, dealt out to the processes in turn: the
    micro-batches of a step are the same for any number of processes.

    Raises:
        DataError: all shards together are shorter than one draw.
    """
    span = recipe.batch.train_batch_tokens // recipe.batch.micro_batches_per_step + 1
    num_tokens = sum(shard_num_tokens(path) for path in paths)
    if num_tokens < span * group.world_size:
        raise DataError(
            f"{paths[0].parent}: {num_tokens} training tokens, but one micro-batch of all "
            f"processes takes {span * group.world_size}; add data or lower train_batch_tokens"
        )
    for chunk in endless_chunks(paths, span * group.world_size):
        own = chunk[span * group.rank : span * (group.rank + 1)]
        yield batch_on_device(own, recipe, group.device)


def endless_chunks(paths: list[Path], chunk_tokens: int) -> Iterator[np.ndarray]:
    """Consecutive chunks of the shards read one after the other, again and again."""
    pieces: list[np.ndarray] = []
    missing = chunk_tokens
    for path in cycle(paths):
        shard, position = read_shard(path), 0
        while shard.size - position >= missing:
            yield np.concatenate([*pieces, shard[position : position + missing]])
            position += missing
            pieces, missing = [], chunk_tokens
        pieces.append(shard[position:])
        missing -= shard.size - position


def batch_on_device(
    tokens: np.ndarray,  # (B * T + 1,) uint16
    recipe: Recipe,
    device: torch.device,
) -> Batch:
    """Consecutive tokens as sequences whose targets are the next tokens.

    Raises:
        DataError: a token id is outside the vocabulary (a GPU would only say "assert triggered").
    """
    if (largest := int(tokens.max())) >= recipe.model.vocab_size:
        raise DataError(
            f"token id {largest} in the shards, but vocab_size is {recipe.model.vocab_size}; "
            "use the shards that belong to the tokenizer, or mend model.vocab_size"
        )
    ids = torch.from_numpy(tokens.astype(np.int64))
    if device.type == "cuda":
        ids = ids.pin_memory()  # without it the copy would wait for all work on the device
    shape = (-1, recipe.batch.train_seq_len)
    return Batch(
        input_ids=ids[:-1].view(shape).to(device, non_blocking=True),
        target_ids=ids[1:].view(shape).to(device, non_blocking=True),
    )


# ---- trainer/evaluation/bits_per_byte.py
# Bits per byte: the code length of the validation text over its length.


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A model's score on a validation set."""

    loss_nats: float  # mean over tokens
    bits_per_byte: float
    num_tokens: int
    num_bytes: int


def load_validation_tokens(
    folder: Path | str, seq_len: int, *, keep_tail: bool = False
) -> np.ndarray:  # (N + 1,) uint16
    """All validation tokens in order; without the tail, whole sequences and the last one's target.

    Raises:
        DataError: there are no shards, or not one sequence in them.
    """
    tokens = np.concatenate([read_shard(path) for path in shard_paths(folder, "val")])
    usable = (tokens.size - 1) // seq_len * seq_len
    if usable == 0:
        raise DataError(
            f"{folder}: {tokens.size} validation tokens, but one sequence takes {seq_len + 1}; "
            "add data or lower train_seq_len"
        )
    return tokens if keep_tail else tokens[: usable + 1]


@torch.inference_mode()
def score_tokens(
    forward: nn.Module,
    tokens: np.ndarray,  # (N + 1,) uint16
    recipe: Recipe,
    group: ProcessGroup,
) -> Tensor:  # (N,) fp32
    """The loss of every token but the first, in nats, in order; on every process all of them.

    Each process scores a run of consecutive sequences.
    """
    seq_len = recipe.batch.train_seq_len
    batch_seqs = recipe.batch.val_batch_size // recipe.batch.micro_batches_per_step // seq_len
    num_seqs = math.ceil((tokens.size - 1) / seq_len)
    first = num_seqs * group.rank // group.world_size
    end = num_seqs * (group.rank + 1) // group.world_size
    losses = torch.zeros(tokens.size - 1, device=group.device)
    for start in range(first, end, batch_seqs):
        num_tokens = min(min(batch_seqs, end - start) * seq_len, tokens.size - 1 - start * seq_len)
        window = tokens[start * seq_len : start * seq_len + num_tokens + 1]
        # A shorter last batch would be compiled anew: fill it up, and drop what that adds.
        window = np.pad(window, (0, batch_seqs * seq_len - num_tokens))
        batch = batch_on_device(window, recipe, group.device)
        with torch.autocast(group.device.type, torch.bfloat16, enabled=group.device.type == "cuda"):
            scored = forward(batch.input_ids, batch.target_ids)
        losses[start * seq_len : start * seq_len + num_tokens] = scored[:num_tokens]
    group.sum_in_place(losses)
    return losses


def bits_per_byte(
    losses: Tensor,  # (N,) fp32, nats
    tokens: np.ndarray,  # (N + 1,) uint16
    table: ByteTable,
) -> Score:
    """The score that these losses make on these tokens."""
    total_nats = float(losses.sum(dtype=torch.float64).item())
    num_tokens = losses.numel()
    num_bytes = count_bytes(table, tokens[:-1], tokens[1:])
    return Score(
        loss_nats=total_nats / num_tokens,
        bits_per_byte=total_nats / math.log(2.0) / num_bytes,
        num_tokens=num_tokens,
        num_bytes=num_bytes,
    )


def write_token_losses(losses: Tensor, path: Path) -> None:
    """Write every token's loss in scoring order, float32 little-endian, nothing else."""
    path.write_bytes(losses.cpu().numpy().astype("<f4").tobytes())


# ---- trainer/model/linear.py
# The linear layer that every block uses.


class CastedLinear(nn.Linear):
    """No bias; weights stay fp32 for the optimizer and are cast to the input's type at use."""

    def __init__(self, num_inputs: int, num_outputs: int, *, zero_init: bool = False) -> None:
        super().__init__(num_inputs, num_outputs, bias=False)
        if zero_init:
            nn.init.zeros_(self.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight.to(inputs.dtype))


def rms_norm(inputs: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one; no weight."""
    return F.rms_norm(inputs, (inputs.size(-1),))


# ---- trainer/model/rotary.py
# Rotary positions: each pair of channels is turned by an angle that grows with the position.


def rotary_tables(
    num_positions: int, head_dim: int, base: float
) -> tuple[Tensor, Tensor]:  # (T, D/2) cosine, (T, D/2) sine, fp32
    """The turning angles' cosines and sines; channel pair i has wavelength 2π·base^(2i/D).

    In fp32: the public script casts its tables to bf16, which rounds positions above 256.
    """
    inverse_frequency = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(num_positions, dtype=torch.float32), inverse_frequency)
    return angles.cos(), angles.sin()


def apply_rotary(
    heads: Tensor,  # (B, H, T, D)
    cosine: Tensor,  # (T, D/2)
    sine: Tensor,  # (T, D/2)
) -> Tensor:  # (B, H, T, D)
    """Turn each head; a channel's partner is half a head away."""
    cosine, sine = cosine.to(heads.dtype), sine.to(heads.dtype)
    first, second = heads.chunk(2, dim=-1)
    turned = (first * cosine + second * sine, second * cosine - first * sine)
    return torch.cat(turned, dim=-1)


# ---- trainer/model/attention.py
# Causal attention with fewer key-value heads than query heads.


class CausalSelfAttention(nn.Module):
    """Queries and keys are normed and turned; a learnt gain per head sets the sharpness."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.head_dim = options.model_dim // options.num_heads
        self.shares_keys = options.num_kv_heads != options.num_heads
        kv_dim = options.num_kv_heads * self.head_dim
        self.c_q = CastedLinear(options.model_dim, options.model_dim)
        self.c_k = CastedLinear(options.model_dim, kv_dim)
        self.c_v = CastedLinear(options.model_dim, kv_dim)
        self.proj = CastedLinear(options.model_dim, options.model_dim, zero_init=True)
        self.q_gain = nn.Parameter(torch.full((options.num_heads,), options.qk_gain_init))

    def forward(
        self,
        inputs: Tensor,  # (B, T, C)
        cosine: Tensor,  # (T, D/2)
        sine: Tensor,  # (T, D/2)
    ) -> Tensor:  # (B, T, C)
        """What each position gathers from itself and the positions before it."""
        queries = apply_rotary(rms_norm(self._heads(self.c_q, inputs)), cosine, sine)
        keys = apply_rotary(rms_norm(self._heads(self.c_k, inputs)), cosine, sine)
        gathered = F.scaled_dot_product_attention(
            queries * self.q_gain.to(queries.dtype)[:, None, None],
            keys,
            self._heads(self.c_v, inputs),
            is_causal=True,
            enable_gqa=self.shares_keys,
        )
        merged: Tensor = self.proj(gathered.transpose(1, 2).flatten(2))
        return merged

    def _heads(self, projection: CastedLinear, inputs: Tensor) -> Tensor:  # (B, H, T, D)
        projected: Tensor = projection(inputs)
        return projected.view(*projected.shape[:-1], -1, self.head_dim).transpose(1, 2)


# ---- trainer/model/feed_forward.py
# The squared-relu feed-forward layer. B batch, T tokens, C channels.


class FeedForward(nn.Module):
    """Widen, relu², narrow; the second matrix starts at zero, so that a block starts as nothing."""

    def __init__(self, model_dim: int, multiple: int) -> None:
        super().__init__()
        self.fc = CastedLinear(model_dim, multiple * model_dim)
        self.proj = CastedLinear(multiple * model_dim, model_dim, zero_init=True)

    def forward(self, inputs: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        narrowed: Tensor = self.proj(torch.relu(self.fc(inputs)).square())
        return narrowed


# ---- trainer/model/transformer.py
# The public baseline's transformer, top to bottom.


class Block(nn.Module):
    """Attention, then feed-forward; the embedding is mixed in again before each."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.attn = CausalSelfAttention(options)
        self.mlp = FeedForward(options.model_dim, options.mlp_mult)
        self.attn_scale = nn.Parameter(torch.ones(options.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(options.model_dim))
        keep, add = torch.ones(options.model_dim), torch.zeros(options.model_dim)
        self.resid_mix = nn.Parameter(torch.stack((keep, add)))

    def forward(
        self,
        stream: Tensor,  # (B, T, C) residual stream
        embedded: Tensor,  # (B, T, C) what the stream began as
        cosine: Tensor,  # (T, D/2)
        sine: Tensor,  # (T, D/2)
    ) -> Tensor:  # (B, T, C)
        """The stream after this block."""
        keep, add = self.resid_mix.to(stream.dtype)
        stream = keep * stream + add * embedded
        gathered = self.attn(rms_norm(stream), cosine, sine)
        stream = stream + self.attn_scale.to(stream.dtype) * gathered
        stream = stream + self.mlp_scale.to(stream.dtype) * self.mlp(rms_norm(stream))
        return stream


class GPT(nn.Module):
    """Token ids and targets in, the loss of each target in nats out.

    The first half of the blocks leaves its outputs on a stack, the second half adds them back,
    last in, first out, each channel with a learnt weight (a U-Net over depth).
    """

    cosine: Tensor  # (T, D/2)
    sine: Tensor  # (T, D/2)

    def __init__(self, options: ModelOptions, num_positions: int) -> None:
        super().__init__()
        self.softcap = options.logit_softcap
        self.num_encoder_layers = options.num_layers // 2
        self.tok_emb = nn.Embedding(options.vocab_size, options.model_dim)
        self.skip_weights = nn.Parameter(torch.ones(self.num_encoder_layers, options.model_dim))
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.num_layers))
        self.lm_head = None
        if options.tie_embeddings:
            nn.init.normal_(self.tok_emb.weight, std=options.tied_embed_init_std)
        else:
            self.lm_head = CastedLinear(options.model_dim, options.vocab_size, zero_init=True)
        head_dim = options.model_dim // options.num_heads
        cosine, sine = rotary_tables(num_positions, head_dim, options.rope_base)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(
        self,
        input_ids: Tensor,  # (B, T) int64
        target_ids: Tensor,  # (B, T) int64
    ) -> Tensor:  # (B * T,) fp32
        """The cross-entropy of each target, in nats."""
        stream = self._final_stream(input_ids)
        head = self.tok_emb.weight if self.lm_head is None else self.lm_head.weight
        raw = F.linear(stream.flatten(0, 1), head.to(stream.dtype))
        logits = self.softcap * torch.tanh(raw / self.softcap)
        return F.cross_entropy(logits.float(), target_ids.flatten(), reduction="none")

    def _final_stream(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T, C)
        num_tokens = input_ids.size(1)
        tables = self.cosine[:num_tokens], self.sine[:num_tokens]
        embedded = stream = rms_norm(self.tok_emb(input_ids))
        skips: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            if index >= self.num_encoder_layers and skips:
                weight = self.skip_weights[index - self.num_encoder_layers]
                stream = stream + weight.to(stream.dtype) * skips.pop()
            stream = block(stream, embedded, *tables)
            if index < self.num_encoder_layers:
                skips.append(stream)
        return rms_norm(stream)


# ---- trainer/optimizer/muon.py
# Muon: momentum whose update is made orthogonal before it is applied.


NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def newton_schulz(
    matrices: Tensor,  # (N, R, C)
    num_iterations: int,
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """Push all singular values of each matrix towards one (they end within about 0.7 to 1.2).

    The quintic's coefficients trade exactness for a steep slope at zero. CPUs compute in fp32:
    most have no bf16 units.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    iterate = matrices.bfloat16() if matrices.is_cuda else matrices
    iterate = iterate / (iterate.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    is_tall = iterate.size(-2) > iterate.size(-1)
    if is_tall:  # the Gram matrix below has the size of the shorter side
        iterate = iterate.mT
    for _ in range(num_iterations):
        gram = iterate @ iterate.mT
        iterate = a * iterate + (b * gram + c * gram @ gram) @ iterate
    orthogonal: Tensor = iterate.mT if is_tall else iterate
    return orthogonal


Orthogonalize = Callable[[Tensor, int], Tensor]


class Muon(torch.optim.Optimizer):
    """Muon over matrices, one parameter group per shape so that a group is one batched update.

    With several processes, matrix i of a group is the work of process i mod world size; the
    updates are then summed, so that every process applies all of them.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        group: ProcessGroup,
        orthogonalize: Orthogonalize = newton_schulz,
    ) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": 0.0, "num_iterations": 5})
        self.process_group = group
        self.orthogonalize = orthogonalize

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update to every matrix from its gradient."""
        for options in self.param_groups:
            params: list[Tensor] = options["params"]
            updates = self._updates(params, options)
            torch._foreach_add_(params, list(updates.unbind()), alpha=-options["lr"])

    def _updates(
        self,
        params: list[Tensor],  # N of (R, C)
        options: dict[str, Any],
    ) -> Tensor:  # (N, R, C)
        rank, world_size = self.process_group.rank, self.process_group.world_size
        own = params[rank::world_size]
        updates = torch.zeros(
            (len(params), *params[0].shape),
            dtype=torch.bfloat16 if params[0].is_cuda else params[0].dtype,
            device=params[0].device,
        )
        if own:
            nesterov = self._nesterov(own, options["momentum"])
            updates[rank::world_size] = self.orthogonalize(nesterov, options["num_iterations"])
        self.process_group.sum_in_place(updates)
        num_rows, num_columns = params[0].shape
        scale = max(1.0, num_rows / num_columns) ** 0.5
        scaled: Tensor = (updates * scale).to(params[0].dtype)
        return scaled

    def _nesterov(self, own: list[Tensor], momentum: float) -> Tensor:  # (N, R, C)
        gradients = torch.stack([param.grad for param in own if param.grad is not None])
        state = self.state[own[0]]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(gradients)
        velocity: Tensor = state["velocity"]
        velocity.mul_(momentum).add_(gradients)
        return gradients.add(velocity, alpha=momentum)


# ---- trainer/optimizer/parameter_groups.py
# Which tensor is trained by which rule, and how fast.


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterGroups:
    """A model's parameters by the rule that trains them."""

    embedding: list[Tensor]
    head: list[Tensor]
    matrices: list[Tensor]
    scalars: list[Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizers:
    """Adam and Muon, stepped together."""

    adam: torch.optim.Adam
    muon: Muon

    def step(self, learning_rate_scale: float, momentum: float) -> None:
        """One step of both, at the base learning rates times the scale; gradients are dropped."""
        for optimizer in (self.adam, self.muon):
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * learning_rate_scale
        for group in self.muon.param_groups:
            group["momentum"] = momentum
        self.adam.step()
        self.muon.step()
        self.adam.zero_grad()
        self.muon.zero_grad()

    def forget(self) -> None:
        """Drop all momentum, as if no step had been taken."""
        self.adam.state.clear()
        self.muon.state.clear()


def group_parameters(model: nn.Module, control_patterns: str) -> ParameterGroups:
    """Sort a model's parameters by rule; each belongs to exactly one group.

    Args:
        model: the transformer.
        control_patterns: comma-separated parts of names that make a tensor a scalar.
    """
    groups = ParameterGroups(embedding=[], head=[], matrices=[], scalars=[])
    for name, parameter in model.named_parameters():
        if name == "tok_emb.weight":
            groups.embedding.append(parameter)
        elif name == "lm_head.weight":
            groups.head.append(parameter)
        elif parameter.ndim < 2 or matches_any(name, control_patterns):
            groups.scalars.append(parameter)
        else:
            groups.matrices.append(parameter)
    return groups


def build_optimizers(
    model: nn.Module,
    options: OptimizerOptions,
    group: ProcessGroup,
    orthogonalize: Orthogonalize,
) -> Optimizers:
    """Both optimizers of a model, at the recipe's learning rates."""
    groups = group_parameters(model, options.control_tensor_name_patterns)
    embed_lr = options.embed_lr if groups.head else options.tied_embed_lr
    adam = torch.optim.Adam(
        [
            {"params": params, "base_lr": lr}
            for params, lr in (
                (groups.embedding, embed_lr),
                (groups.head, options.head_lr),
                (groups.scalars, options.scalar_lr),
            )
            if params
        ],
        betas=(options.beta1, options.beta2),
        eps=options.adam_eps,
        fused=True,
    )
    muon_groups = [
        {
            "params": params,
            "base_lr": options.matrix_lr,
            "num_iterations": options.muon_backend_steps,
        }
        for params in _by_shape(groups.matrices)
    ]
    return Optimizers(adam=adam, muon=Muon(muon_groups, group, orthogonalize))


def _by_shape(matrices: list[Tensor]) -> list[list[Tensor]]:
    by_shape: defaultdict[Any, list[Tensor]] = defaultdict(list)
    for matrix in matrices:
        by_shape[matrix.shape].append(matrix)
    return list(by_shape.values())


# ---- trainer/run_log.py
# What a run says and leaves: the lines of the public scripts, which verifiers already read.


ARTIFACT_NAME = "final_model.int8.ptz"  # in the working directory


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLog:
    """Writes to stdout and to the log file; on any process but the first, nowhere."""

    file: TextIO | None

    def write(self, line: str, *, console: bool = True) -> None:
        if self.file is None:
            return
        print(line, file=self.file, flush=True)
        if console:
            print(line, flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens within, and say how long it took."""
        started = time.perf_counter()
        yield
        self.write(f"phase:{name} seconds:{time.perf_counter() - started:.3f}")


def open_run_log(run_id: str, *, is_master: bool) -> RunLog:
    """The log of a run: logs/<run_id>.txt in the working directory."""
    if not is_master:
        return RunLog(file=None)
    path = Path("logs") / f"{run_id}.txt"
    path.parent.mkdir(exist_ok=True)
    print(path, flush=True)
    return RunLog(file=path.open("a", encoding="utf-8"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far training has come."""

    step: int
    num_steps: int
    train_seconds: float

    def __str__(self) -> str:
        train_ms = 1000.0 * self.train_seconds
        return f"train_time:{train_ms:.0f}ms step_avg:{train_ms / max(self.step, 1):.2f}ms"

    def train_line(self, loss_nats: float) -> str:
        return f"step:{self.step}/{self.num_steps} train_loss:{loss_nats:.4f} {self}"

    def validation_line(self, loss_nats: float, bits_per_byte: float) -> str:
        return (
            f"step:{self.step}/{self.num_steps} val_loss:{loss_nats:.4f} "
            f"val_bpb:{bits_per_byte:.4f} {self}"
        )

    def stopping_line(self) -> str:
        return (
            f"stopping_early: wallclock_cap train_time:{1000.0 * self.train_seconds:.0f}ms "
            f"step:{self.step}/{self.num_steps}"
        )


# ---- trainer/optimizer/schedules.py
# Schedules: pure functions of step and time.


def learning_rate_scale(options: ScheduleOptions, step: int, elapsed_seconds: float) -> float:
    """The factor on every learning rate: 1, then a straight line to 0 over the last steps.

    With a time limit, the end is where the time runs out: the seconds that the last
    `warmdown_iters` steps will take are estimated from the steps so far.

    Args:
        options: the recipe's schedule.
        step: steps done.
        elapsed_seconds: training time so far.
    """
    if options.warmdown_iters == 0:
        return 1.0
    if options.max_wallclock_seconds == 0:
        return min(1.0, max(0.0, (options.iterations - step) / options.warmdown_iters))
    warmdown_seconds = options.warmdown_iters * elapsed_seconds / max(step, 1)
    remaining_seconds = max(options.max_wallclock_seconds - elapsed_seconds, 0.0)
    return min(1.0, remaining_seconds / max(warmdown_seconds, 1e-12))


def muon_momentum(options: OptimizerOptions, step: int) -> float:
    """Muon's momentum: a straight line from its start value over the first steps, then constant."""
    if options.muon_momentum_warmup_steps == 0:
        return options.muon_momentum
    done = min(step / options.muon_momentum_warmup_steps, 1.0)
    return (1 - done) * options.muon_momentum_warmup_start + done * options.muon_momentum


# ---- trainer/training_loop.py
# The training loop: steps until the recipe's last one, or until the time is up.


ALWAYS_LOGGED_STEPS = 10  # the first ones, where a run that goes wrong usually shows it


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """All that training touches."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: nn.Module  # holds the parameters
    forward: nn.Module  # the same, compiled and replicated
    optimizers: Optimizers
    train_paths: list[Path]

    def batches(self) -> Iterator[Batch]:
        """The training data from their beginning."""
        return train_batches(self.train_paths, self.recipe, self.group)


class TrainingClock:
    """Seconds of training; stands still while paused."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.banked_seconds = 0.0
        self.resume()

    def seconds(self) -> float:
        """Training time so far, without waiting for the device."""
        return self.banked_seconds + time.perf_counter() - self.started

    def pause(self) -> float:
        """Stop when the device is done; returns the training time so far."""
        self.group.synchronize()
        self.banked_seconds = self.seconds()
        self.started = time.perf_counter()
        return self.banked_seconds

    def resume(self) -> None:
        self.group.synchronize()
        self.started = time.perf_counter()


def warm_up(run: TrainingRun) -> None:
    """Take some steps so that everything is compiled, then undo them."""
    num_steps = run.recipe.schedule.warmup_steps
    initial = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    batches = run.batches()
    for step in range(num_steps):
        take_step(run, batches, step=0, learning_rate=1.0)
        if num_steps <= 20 or (step + 1) % 10 == 0 or step + 1 == num_steps:
            run.log.write(f"warmup_step:{step + 1}/{num_steps}")
    run.model.load_state_dict(initial)
    run.optimizers.forget()


def train(run: TrainingRun, validate: Callable[[Progress], None]) -> Progress:
    """Train to the end of the schedule.

    Args:
        run: all that training touches.
        validate: scores the model and says so; its time is not counted. Called every
            `val_loss_every` steps and after the last one; never if that is 0.

    Returns:
        The steps taken and the seconds they took.
    """
    schedule = run.recipe.schedule
    batches = run.batches()
    clock = TrainingClock(run.group)
    step = 0
    is_last = False
    while not is_last:
        if schedule.val_loss_every > 0 and step % schedule.val_loss_every == 0:
            validate(_progress(schedule, step, clock.pause()))
            clock.resume()
        scale = learning_rate_scale(schedule, step, clock.seconds())
        loss = take_step(run, batches, step, scale)
        step += 1
        progress = _progress(schedule, step, clock.seconds())
        is_last = step == schedule.iterations or run.group.any(_is_over(progress, schedule))
        if is_last or _is_logged(step, schedule):
            run.log.write(progress.train_line(loss.item()))
    progress = _progress(schedule, step, clock.pause())
    if schedule.val_loss_every > 0:
        validate(progress)
    if step < schedule.iterations:
        run.log.write(progress.stopping_line())
    return progress


def take_step(
    run: TrainingRun, batches: Iterator[Batch], step: int, learning_rate: float
) -> Tensor:  # () fp32 on the device, nats a token
    """One optimizer step over this process's micro-batches; returns their mean loss.

    Nothing here waits for the device.
    """
    num_micro_batches = run.recipe.batch.micro_batches_per_step // run.group.world_size
    is_cuda = run.group.device.type == "cuda"
    total = torch.zeros((), device=run.group.device)
    for index in range(num_micro_batches):
        batch = next(batches)
        with gradient_sync(run.forward, wanted=index == num_micro_batches - 1):
            with torch.autocast(run.group.device.type, torch.bfloat16, enabled=is_cuda):
                loss = run.forward(batch.input_ids, batch.target_ids).mean()
            (loss / num_micro_batches).backward()
        total += loss.detach()
    options = run.recipe.optimizer
    if options.grad_clip_norm > 0:
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), options.grad_clip_norm)
    run.optimizers.step(learning_rate, muon_momentum(options, step))
    return total / num_micro_batches


def _progress(schedule: ScheduleOptions, step: int, train_seconds: float) -> Progress:
    return Progress(step=step, num_steps=schedule.iterations, train_seconds=train_seconds)


def _is_over(progress: Progress, schedule: ScheduleOptions) -> bool:
    return 0 < schedule.max_wallclock_seconds <= progress.train_seconds


def _is_logged(step: int, schedule: ScheduleOptions) -> bool:
    every = schedule.train_log_every
    return step <= ALWAYS_LOGGED_STEPS or (every > 0 and step % every == 0)


# ---- trainer/train_gpt.py
# The training script: what ships is what ran.


VERBS = ("train", "evaluate")


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """What training and evaluation both start from."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: GPT
    forward: nn.Module  # the model, compiled where the recipe says so


def main(settings: Mapping[str, object], script: Path) -> int:
    """Run the verbs of the command line; returns the exit code.

    Args:
        settings: the recipe, option path → value.
        script: the source that is running, for the log and for the count of code bytes.
    """
    try:
        verbs = sys.argv[1:] or VERBS
        if unknown := set(verbs) - set(VERBS):
            raise RecipeError(f"no verb {min(unknown)!r}; expected {' or '.join(VERBS)}")
        run = prepare_run(build_recipe({**settings, **environment_settings(os.environ)}), script)
        if "train" in verbs:
            train_and_pack(run, script)
        run.group.barrier()
        if "evaluate" in verbs:
            evaluate_artifact(run)
    except TrainerError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        leave_process_group()
    return 0


def prepare_run(recipe: Recipe, script: Path) -> PreparedRun:
    """Join the other processes, begin the log, build the model from the seed.

    Raises:
        RecipeError: the micro-batches of a step cannot be dealt out to the processes.
        LaunchError: there are more processes than GPUs.
    """
    group = join_process_group()
    if recipe.batch.micro_batches_per_step % group.world_size:
        raise RecipeError(
            f"micro_batches_per_step {recipe.batch.micro_batches_per_step} must be a multiple of "
            f"the number of processes, {group.world_size}"
        )
    log = open_run_log(recipe.run.run_id, is_master=group.is_master)
    set_up_device(recipe.device)
    log_environment(log, group, script)
    model = build_model(recipe, group)
    forward: nn.Module = model
    if is_compiled(recipe, group):
        forward = torch.compile(model, dynamic=False, fullgraph=True)  # type: ignore[assignment]
    return PreparedRun(recipe=recipe, group=group, log=log, model=model, forward=forward)


def is_compiled(recipe: Recipe, group: ProcessGroup) -> bool:
    """Whether the recipe wants compiled code on this device."""
    wanted = recipe.device.torch_compile
    return wanted == "always" or (wanted == "gpu" and group.device.type == "cuda")


def set_up_device(options: DeviceOptions) -> None:
    """On GPUs: TF32 for what is left in fp32, and flash attention or none."""
    if options.cpu_threads:
        torch.set_num_threads(options.cpu_threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if torch.cuda.is_available():
        torch.backends.cuda.enable_math_sdp(False)


def build_model(recipe: Recipe, group: ProcessGroup) -> GPT:
    """The model that the seed gives, on this process's device.

    On GPUs the embedding table is bf16, with bf16 optimizer state, as in the public baseline.
    """
    random.seed(recipe.run.seed)
    np.random.seed(recipe.run.seed)
    torch.manual_seed(recipe.run.seed)
    model = GPT(recipe.model, num_positions=recipe.batch.train_seq_len).to(group.device)
    if group.device.type == "cuda":
        model.tok_emb.to(torch.bfloat16)
    return model


def train_and_pack(run: PreparedRun, script: Path) -> None:
    """Train, then write the artifact. Validation data stay closed unless the recipe asks.

    Raises:
        DataError: training data or tokenizer are missing, damaged or do not fit the recipe.
    """
    recipe, group, log = run.recipe, run.group, run.log
    load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    orthogonalize: Orthogonalize = newton_schulz
    if is_compiled(recipe, group):
        orthogonalize = torch.compile(newton_schulz, dynamic=False, fullgraph=True)
    training = TrainingRun(
        recipe=recipe,
        group=group,
        log=log,
        model=run.model,
        forward=group.replicate(run.forward),
        optimizers=build_optimizers(run.model, recipe.optimizer, group, orthogonalize),
        train_paths=shard_paths(recipe.run.data_path, "train"),
    )
    log_training_setup(training)
    with log.phase("warm_up"):
        warm_up(training)
    with log.phase("training"):
        train(training, partial(log_validation, run))
    log_peak_memory(log, group)
    with log.phase("serialise"):
        write_artifact(run, script)


def log_validation(run: PreparedRun, progress: Progress) -> None:
    """Score the model as it is, in the middle of training."""
    score, _ = score_model(run)
    run.log.write(progress.validation_line(score.loss_nats, score.bits_per_byte))


def write_artifact(run: PreparedRun, script: Path) -> None:
    """Quantise, compress, write, and say how many bytes that makes."""
    if not run.group.is_master:
        return
    state = run.model.state_dict()
    stored = quantize_state(state, run.recipe.quantization.int8_keep_float_fp32_name_patterns)
    artifact = pack_artifact(stored)
    Path(ARTIFACT_NAME).write_bytes(artifact.compressed)
    model_bytes = sum(tensor.nbytes for tensor in state.values())
    payload, artifact_bytes = payload_bytes(stored), len(artifact.compressed)
    code_bytes = script.stat().st_size
    for line in (
        f"Serialized model: {model_bytes} bytes",
        f"Code size: {code_bytes} bytes",
        f"Total submission size: {model_bytes + code_bytes} bytes",
        f"Serialized model int8+zlib: {artifact_bytes} bytes (payload:{payload} "
        f"raw_torch:{artifact.raw_bytes} payload_ratio:{model_bytes / payload:.2f}x)",
        f"Total submission size int8+zlib: {artifact_bytes + code_bytes} bytes",
    ):
        run.log.write(line)


def evaluate_artifact(run: PreparedRun) -> None:
    """Load the artifact from its file and score it on the whole validation set.

    Raises:
        DataError: artifact, tokenizer or validation data are missing, damaged or do not fit.
    """
    with run.log.phase("load"):
        load_artifact(run.model)
    started = time.perf_counter()
    with run.log.phase("evaluate"):
        score, losses = score_model(run)
    eval_ms = 1000.0 * (time.perf_counter() - started)
    label, nats, bpb = "final_int8_zlib_roundtrip", score.loss_nats, score.bits_per_byte
    run.log.write(f"{label} val_loss:{nats:.4f} val_bpb:{bpb:.4f} eval_time:{eval_ms:.0f}ms")
    run.log.write(f"{label}_exact val_loss:{nats:.8f} val_bpb:{bpb:.8f}")
    if (path := os.environ.get("PGOLF_TOKEN_LOSSES")) and run.group.is_master:
        write_token_losses(losses, Path(path))


def load_artifact(model: GPT) -> None:
    """Put the artifact's weights into the model.

    Raises:
        DataError: there is no artifact, or it belongs to another model.
    """
    try:
        stored = unpack_artifact(Path(ARTIFACT_NAME).read_bytes())
        model.load_state_dict(dequantize_state(stored))
    except OSError:
        raise DataError(f"{ARTIFACT_NAME}: no such file here; run the verb train first") from None
    except RuntimeError:
        raise DataError(f"{ARTIFACT_NAME}: belongs to a model of another shape") from None


def score_model(run: PreparedRun) -> tuple[Score, torch.Tensor]:  # …, (N,) fp32 nats
    """Score the model as it is: the figures, and the loss of every token."""
    recipe = run.recipe
    table = load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    tokens = load_validation_tokens(
        recipe.run.data_path,
        recipe.batch.train_seq_len,
        keep_tail=recipe.evaluation.score_tail,
    )
    pattern = Path(recipe.run.data_path) / "fineweb_val_*.bin"
    run.log.write(f"val_loader:shards pattern={pattern} tokens:{tokens.size - 1}")
    losses = score_tokens(run.forward, tokens, recipe, run.group)
    return bits_per_byte(losses, tokens, table), losses


def log_environment(log: RunLog, group: ProcessGroup, script: Path) -> None:
    """Begin the log with the source, the versions and the hardware."""
    source = script.read_text(encoding="utf-8")
    log.write(source, console=False)
    log.write("=" * 100, console=False)
    log.write(f"script_sha256:{hashlib.sha256(source.encode()).hexdigest()}")
    log.write(f"Running Python {sys.version}")
    log.write(f"Running PyTorch {torch.__version__}")
    is_cuda = group.device.type == "cuda"
    name = torch.cuda.get_device_name(group.device) if is_cuda else platform.machine()
    log.write(f"device:{group.device.type} {name} threads:{torch.get_num_threads()}")


def log_training_setup(training: TrainingRun) -> None:
    """Say what is about to be trained, on what, and how."""
    recipe, log, world_size = training.recipe, training.log, training.group.world_size
    model, optimizer, batch, schedule = (
        recipe.model,
        recipe.optimizer,
        recipe.batch,
        recipe.schedule,
    )
    token_lr = optimizer.tied_embed_lr if model.tie_embeddings else optimizer.embed_lr
    head_lr = 0.0 if model.tie_embeddings else optimizer.head_lr
    num_parameters = sum(parameter.numel() for parameter in training.model.parameters())
    for line in (
        "val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=" + recipe.run.tokenizer_path,
        f"train_loader:dataset:{Path(recipe.run.data_path).resolve().name} "
        f"train_shards:{len(training.train_paths)}",
        f"model_params:{num_parameters}",
        f"world_size:{world_size} grad_accum_steps:{batch.micro_batches_per_step // world_size}",
        f"attention_mode:gqa num_heads:{model.num_heads} num_kv_heads:{model.num_kv_heads}",
        f"tie_embeddings:{model.tie_embeddings} embed_lr:{token_lr} head_lr:{head_lr} "
        f"matrix_lr:{optimizer.matrix_lr} scalar_lr:{optimizer.scalar_lr}",
        f"train_batch_tokens:{batch.train_batch_tokens} train_seq_len:{batch.train_seq_len} "
        f"iterations:{schedule.iterations} warmup_steps:{schedule.warmup_steps} "
        f"max_wallclock_seconds:{schedule.max_wallclock_seconds:.3f}",
        f"seed:{recipe.run.seed}",
    ):
        log.write(line)


def log_peak_memory(log: RunLog, group: ProcessGroup) -> None:
    """Say how much GPU memory training took; CPUs keep no such count."""
    if group.device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated() // 1024**2
        reserved = torch.cuda.max_memory_reserved() // 1024**2
        log.write(f"peak memory allocated: {allocated} MiB reserved: {reserved} MiB")


if __name__ == "__main__":
    sys.exit(main(RECIPE, Path(__file__)))
