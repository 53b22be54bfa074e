# pr1886: Dense gates on attention heads in place of sparse ones; larger adapters that decay faster.
# Written by `pgolf-train`; RECIPE and BUILT_IN hold every option, and the script no code
# for others of BUILT_IN's.


import copy
import hashlib
import importlib.util
import inspect
import io
import json
import lzma
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
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import Field, dataclass, field, fields, replace
from functools import cache, partial
from itertools import chain, cycle, islice, pairwise, takewhile
from pathlib import Path
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.parallel import DistributedDataParallel
from types import SimpleNamespace
from typing import Any, BinaryIO, Literal, Protocol, TextIO, TypeVar, get_args


RECIPE = {
    "run.seed": 1337,
    "run.run_id": "run",
    "run.data_path": "./data/datasets/fineweb10B_sp1024",
    "run.tokenizer_path": "./data/tokenizers/fineweb_1024_bpe.model",
    "run.stop_after_seconds": 0.0,
    "device.torch_compile": "gpu",
    "device.deterministic": False,
    "device.cpu_threads": 0,
    "batch.train_batch_tokens": 786432,
    "batch.train_seq_len": 2048,
    "batch.micro_batches_per_step": 8,
    "batch.val_batch_size": 524288,
    "batch.pack_documents": True,
    "model.vocab_size": 8192,
    "model.num_layers": 11,
    "model.model_dim": 512,
    "model.num_heads": 8,
    "model.num_kv_heads": 4,
    "model.mlp_mult": 4.0,
    "model.mlp_hidden": 0,
    "model.leaky_relu_slope": 0.5,
    "model.tie_embeddings": True,
    "model.tied_embed_init_std": 0.005,
    "model.qk_gain_init": 5.0,
    "model.rope_base": 10000.0,
    "model.rope_dims": 16,
    "model.xsa_last_n": 11,
    "model.logit_softcap": 30.0,
    "model.attn_out_gate_enabled": False,
    "model.sparse_attn_gate_enabled": False,
    "model.gated_attn_enabled": True,
    "model.gated_attn_init_std": 0.005,
    "model.num_loops": 2,
    "model.loop_start": 3,
    "model.loop_end": 5,
    "model.parallel_start_layer": 8,
    "optimizer.embed_lr": 0.6,
    "optimizer.head_lr": 0.008,
    "optimizer.tied_embed_lr": 0.03,
    "optimizer.matrix_lr": 0.026,
    "optimizer.scalar_lr": 0.02,
    "optimizer.muon_momentum": 0.97,
    "optimizer.muon_momentum_warmup_start": 0.92,
    "optimizer.muon_momentum_warmup_steps": 1500,
    "optimizer.muon_backend_steps": 5,
    "optimizer.muon_row_normalize": True,
    "optimizer.muon_weight_decay": 0.095,
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.95,
    "optimizer.adam_eps": 1e-08,
    "optimizer.adam_weight_decay": 0.02,
    "optimizer.embed_weight_decay": 0.085,
    "optimizer.grad_clip_norm": 0.3,
    "optimizer.gradient_reduction": "reduce_scatter",
    "optimizer.ema_decay": 0.9965,
    "optimizer.swa_every": 50,
    "optimizer.swa_start_frac": 0.5,
    "optimizer.control_tensor_name_patterns": "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,skip_weight,skip_weights,skip_gates,parallel_post_lambdas,parallel_resid_lambdas,lane_merge,attn_gate_w,smear_gate",
    "schedule.iterations": 20000,
    "schedule.max_wallclock_seconds": 600.0,
    "schedule.clock": "loop_plus_calibration",
    "schedule.reserve_seconds": 6.0,
    "schedule.warmup_steps": 20,
    "schedule.warmdown_iters": 1200,
    "schedule.warmdown_frac": 0.75,
    "schedule.min_lr": 0.1,
    "schedule.enable_looping_at": 0.35,
    "schedule.train_log_every": 200,
    "schedule.val_loss_every": 0,
    "quantization.int8_keep_float_fp32_name_patterns": "",
    "quantization.fp16_passthrough_patterns": "",
    "quantization.matrix_bits": 6,
    "quantization.int8_full_range_patterns": "",
    "quantization.int4_layers": "",
    "quantization.int4_step": 16,
    "quantization.embed_bits": 7,
    "quantization.gptq_calibration_batches": 16,
    "quantization.matrix_clip_sigmas": 12.85,
    "quantization.attn_clip_sigmas": 13.0,
    "quantization.mlp_clip_sigmas": 12.0,
    "quantization.embed_clip_sigmas": 15.0,
    "quantization.step_mantissa_bits": 0,
    "quantization.fit_total_bytes": 16000000,
    "quantization.code_packing": "bytes",
    "quantization.compressor": "brotli",
    "evaluation.eval_seq_len": 0,
    "evaluation.eval_stride": 0,
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_lora_rank": 128,
    "evaluation.ttt_lora_alpha": 144.0,
    "evaluation.ttt_lora_lr": 0.0001,
    "evaluation.ttt_beta1": 0.0,
    "evaluation.ttt_beta2": 0.999,
    "evaluation.ttt_weight_decay": 2.0,
    "evaluation.ttt_chunk_size": 48,
    "evaluation.ttt_first_chunk_sizes": "",
    "evaluation.ttt_eval_seq_len": 2048,
    "evaluation.ttt_batch_size": 64,
    "evaluation.ttt_recorded_window": 1024,
    "evaluation.phased_ttt_num_phases": 3,
    "evaluation.phased_ttt_prefix_docs": 2000,
    "evaluation.global_ttt_lr": 0.001,
    "evaluation.global_ttt_momentum": 0.9,
    "evaluation.global_ttt_epochs": 1,
    "evaluation.global_ttt_chunk_tokens": 32768,
    "evaluation.global_ttt_grad_clip": 1.0,
}
BUILT_IN = {
    "batch.pack_documents": True,
    "model.tie_embeddings": True,
    "model.rope_train_seq_len": 0,
    "model.ln_scale": True,
    "model.asym_logit_rescale": False,
    "model.use_smeargate": False,
    "model.bigram_hash_buckets": 0,
    "model.bigram_hash_dim": 128,
    "model.orthogonal_init": True,
    "model.overtone_init": False,
    "model.phased_resid_mix": False,
    "model.gate_window": 12,
    "model.attn_out_gate_enabled": False,
    "model.sparse_attn_gate_enabled": False,
    "model.sparse_attn_gate_init_std": 0.0,
    "model.sparse_attn_gate_scale": 1.0,
    "model.gated_attn_enabled": True,
    "model.smear_gate_enabled": False,
    "model.smear_gate_bos_fix": True,
    "model.ve_enabled": False,
    "model.ve_dim": 128,
    "model.ve_layers": "",
    "model.skip_gates_enabled": True,
    "model.parallel_residual_start": -1,
    "model.parallel_lanes": "routed",
    "model.parallel_final_lane": "mean",
    "model.attention_backend": "flash_3",
    "model.fused_ce_enabled": True,
    "model.fused_mlp_enabled": True,
    "model.fused_qk_enabled": True,
    "model.fused_qkv_enabled": True,
    "model.fused_xsa_enabled": True,
    "model.fused_mix_enabled": False,
    "model.folded_scales_enabled": True,
    "model.bf16_stream_enabled": True,
    "optimizer.newton_schulz": "polar_express",
    "optimizer.muon_row_normalize": True,
    "optimizer.wd_taper_final_mult": 1.0,
    "optimizer.wd_taper_start_frac": 0.7,
    "optimizer.grad_clip": "local",
    "optimizer.gradient_reduction": "reduce_scatter",
    "optimizer.swa_enabled": False,
    "schedule.clock": "loop_plus_calibration",
    "schedule.train_seq_schedule": "",
    "schedule.train_seq_schedule_mode": "wallclock",
    "schedule.seq_change_warmup_steps": 0,
    "schedule.checkpoint_every": 0,
    "quantization.int8_full_range_patterns": "",
    "quantization.int4_layers": "",
    "quantization.qat_enabled": False,
    "quantization.gptq_enabled": True,
    "quantization.step_mantissa_bits": 0,
    "quantization.gated_attn_quant_gate": True,
    "quantization.lqer_enabled": False,
    "quantization.lqer_rank": 4,
    "quantization.lqer_top_k": 3,
    "quantization.lqer_asym_group": 64,
    "quantization.awq_lite_enabled": False,
    "quantization.awq_lite_group_size": 64,
    "quantization.awq_lite_group_top_k": 1,
    "quantization.code_packing": "bytes",
    "quantization.byte_shuffle": True,
    "quantization.compressor": "brotli",
    "evaluation.score_tail": False,
    "evaluation.caseops_enabled": False,
    "evaluation.eval_batch_seqs": 0,
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_q_lora": True,
    "evaluation.ttt_k_lora": True,
    "evaluation.ttt_v_lora": True,
    "evaluation.ttt_o_lora": True,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.ttt_head_lora": True,
    "evaluation.ttt_warm_start_a": True,
    "evaluation.ttt_warm_start_limit": 0.0,
    "evaluation.ttt_first_chunk_sizes": "",
    "evaluation.ttt_batch_tokens": 0,
    "evaluation.ttt_compile_unit": "block",
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


class PausedError(TrainerError):
    """The time that was given to this command is over; what it did is kept for the next one."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


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
            f"asked for is {vocab_size}: set model.vocab_size, or take the data of that vocabulary"
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


# ---- trainer/quantization/codecs.py
# Lossless compression, each codec at its strongest setting; the same bytes for the same input.


MAX_UNPACKED_BYTES = 1 << 30
OPTIONAL_PACKAGES = {"zstd": "zstandard", "brotli": "brotli"}  # codec → package on PyPI


def check_codec(codec: str) -> None:
    """See to it that this machine has the codec, before hours of training depend on it.

    Raises:
        RecipeError: its package is not installed.
    """
    package = OPTIONAL_PACKAGES.get(codec)
    if package is not None and importlib.util.find_spec(package) is None:
        raise RecipeError(
            f"quantization.compressor {codec}: the package {package} is not installed; "
            f"install it (pip install {package}), or choose zlib or lzma"
        )


def compress(raw: bytes, codec: str) -> bytes:
    """Compress."""
    if codec == "zstd":
        import zstandard

        return bytes(zstandard.ZstdCompressor(level=22).compress(raw))
    if codec == "brotli":
        import brotli

        return bytes(brotli.compress(raw, quality=11, lgwin=24))
    if codec == "lzma":
        return lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)
    return zlib.compress(raw, 9)


def decompress(compressed: bytes, codec: str) -> bytes:
    """What `compress` was given, if that is no longer than any artifact.

    Raises:
        DataError: the bytes were not written by this codec, or are damaged.
    """
    try:
        return _decompress(compressed, codec)
    except (zlib.error, lzma.LZMAError, ValueError) as error:
        raise DataError(f"not {codec}, or damaged: {error}") from None


def _decompress(compressed: bytes, codec: str) -> bytes:
    if codec == "zstd":
        import zstandard

        try:
            return bytes(
                zstandard.ZstdDecompressor().decompress(compressed, allow_extra_data=False)
            )
        except zstandard.ZstdError as error:
            raise ValueError(error) from None
    if codec == "brotli":
        import brotli

        try:
            return bytes(brotli.decompress(compressed))
        except brotli.error as error:
            raise ValueError(error) from None
    decompressor = lzma.LZMADecompressor() if codec == "lzma" else zlib.decompressobj()
    raw = decompressor.decompress(compressed, MAX_UNPACKED_BYTES)
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError("cut short, or longer than it should be")
    return raw


# ---- trainer/quantization/matrix_coding.py
# Matrices of codes, entropy coded; each code by how large those of its row and column are.


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedMatrices:
    """Matrices as bytes; it takes their shapes to read them."""

    side: bytes  # means, levels and frequencies, which still compress
    words: bytes  # which do not


# ---- trainer/recipe.py
# A recipe: every option of a training run, its default and its bounds.


CONTROL_TENSORS = (
    "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,"
    "skip_weight,skip_weights,skip_gates,parallel_post_lambdas,parallel_resid_lambdas,lane_merge,"
    "attn_gate_w,smear_gate"
)
BOS_ID = 1  # the token that every document of a shard begins with


Value = int | float | bool | str
T = TypeVar("T", bound=Value)


def option(default: T, *, at_least: float | None = None, above: float | None = None) -> T:
    """A recipe option with its default and, for numbers, a lower bound."""
    return field(default=default, metadata={"at_least": at_least, "above": above})


def lever(default: T, *, at_least: float | None = None) -> T:
    """An option whose default means that it is not used, so that no code is needed for it."""
    return field(default=default, metadata={"at_least": at_least, "above": None, "lever": True})


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Where a run reads and what tells it apart from its siblings."""

    seed: int = option(1337, at_least=0)
    run_id: str = option("run")  # names the log: logs/<run_id>.txt
    data_path: str = option("./data/datasets/fineweb10B_sp1024")
    tokenizer_path: str = option("./data/tokenizers/fineweb_1024_bpe.model")
    # Of start, warm-up and training in this process: then a checkpoint and the end; 0: no such end.
    stop_after_seconds: float = option(0.0, at_least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceOptions:
    """How the arithmetic is carried out."""

    torch_compile: Literal["gpu", "always", "never"] = option("gpu")
    deterministic: bool = option(False)  # the same bits again from the same seed, slower on GPUs
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
    # Attention within documents alone (#1530): a micro-batch is one row, cut where a document
    # begins and every train_seq_len tokens. Scored windows are cut at documents too.
    pack_documents: bool = option(False)

    @property
    def row_tokens(self) -> int:
        """Tokens that stand in one row in training."""
        micro_batch_tokens = self.train_batch_tokens // self.micro_batches_per_step
        return micro_batch_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOptions:
    """The shape of the transformer."""

    vocab_size: int = option(1024, at_least=1)
    num_layers: int = option(9, at_least=1)
    model_dim: int = option(512, at_least=1)
    num_heads: int = option(8, at_least=1)
    num_kv_heads: int = option(4, at_least=1)
    mlp_mult: float = option(2.0, above=0)
    mlp_hidden: int = option(0, at_least=0)  # of the feed-forward layers; 0: mlp_mult x model_dim
    leaky_relu_slope: float = lever(0.0)  # below zero, before the square (#493: 0.5); 0: relu²
    tie_embeddings: bool = option(True)
    tied_embed_init_std: float = option(0.005, above=0)
    qk_gain_init: float = option(1.5)
    rope_base: float = option(10_000.0, above=0)
    rope_dims: int = lever(0, at_least=0)  # channels of a head that are turned (#315); 0: all
    xsa_last_n: int = lever(0, at_least=0)  # blocks whose attention leaves out a token's own (#265)
    logit_softcap: float = option(30.0, above=0)
    attn_out_gate_enabled: bool = option(False)  # 2 sigmoid(W x), at first 1 (#1667)
    sparse_attn_gate_enabled: bool = option(False)  # sigmoid(scale W x), at first 1/2 (#1787)
    gated_attn_enabled: bool = option(False)  # sigmoid(W x) of all channels (#1736)
    gated_attn_init_std: float = option(0.01, at_least=0)
    # Blocks loop_start to loop_end are gone through num_loops times more (#1204, #1394).
    num_loops: int = lever(0, at_least=0)
    loop_start: int = option(0, at_least=0)
    loop_end: int = option(-1, at_least=-1)
    # From this block on attention and feed-forward have a stream each; 0: from none.
    parallel_start_layer: int = lever(0, at_least=0)

    @property
    def hidden_dim(self) -> int:
        """Channels of the feed-forward layers."""
        return self.mlp_hidden or int(self.mlp_mult * self.model_dim)

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.model_dim // self.num_heads

    @property
    def kv_dim(self) -> int:
        """Channels of all keys, and of all values."""
        return self.num_kv_heads * self.head_dim


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
    muon_row_normalize: bool = option(False)  # rows of an update to length 1 first (#1217)
    muon_weight_decay: float = lever(0.0, at_least=0)  # a step shrinks by lr x this (#60, #65)
    beta1: float = option(0.9, at_least=0)
    beta2: float = option(0.95, at_least=0)
    adam_eps: float = option(1e-8, above=0)
    adam_weight_decay: float = option(0.0, at_least=0)  # likewise, of head and scalars (#60)
    embed_weight_decay: float = option(0.0, at_least=0)  # likewise, of embeddings (#60)
    grad_clip_norm: float = lever(0.0, at_least=0)  # 0: no clipping
    # Averaged whole while they arise, or after it, Muon's each where its update is computed (#549).
    gradient_reduction: Literal["all_reduce", "reduce_scatter"] = option("all_reduce")
    ema_decay: float = lever(0.0, at_least=0)  # a step, of the averaged weights (#287); 0: none
    swa_every: int = option(50, at_least=1)  # steps
    swa_start_frac: float = option(0.5, at_least=0)  # once learning rates are below this share
    control_tensor_name_patterns: str = option(CONTROL_TENSORS)  # kept in fp32, trained by Adam


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleOptions:
    """How long training lasts, and what is printed meanwhile."""

    iterations: int = option(20_000, at_least=1)  # steps
    max_wallclock_seconds: float = option(600.0, at_least=0)  # 0: no limit
    # What the limit covers: the training loop, as in the public baseline; also calibration on
    # training data; or all from the start of the process until the artifact is written.
    clock: Literal["loop", "loop_plus_calibration", "everything"] = option("loop")
    reserve_seconds: float = option(0.0, at_least=0)  # kept for what is covered after the loop
    warmup_steps: int = option(20, at_least=0)  # priming the compiled code; then undone
    warmdown_iters: int = option(1200, at_least=0)  # steps over which the learning rate falls to 0
    warmdown_frac: float = lever(0.0, at_least=0)  # or share of the run (#1218); 0: in steps
    min_lr: float = option(0.0, at_least=0)  # share of the learning rate that it never falls below
    enable_looping_at: float = lever(0.0, at_least=0)  # share of the run without loops (#1394)
    train_log_every: int = option(200, at_least=0)  # steps; 0: first ten and last only
    val_loss_every: int = option(0, at_least=0)  # steps; 0: validation data stay closed


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizationOptions:
    """What the artifact keeps of each tensor, and how it is packed.

    Patterns are comma-separated parts of tensors' names.
    """

    int8_keep_float_fp32_name_patterns: str = option(CONTROL_TENSORS)  # fp32, where small
    fp16_passthrough_patterns: str = option("")  # fp16 at any size (#42: the tied embedding)
    matrix_bits: int = option(8, at_least=2)  # of a large matrix's codes, 8 at most (#61: 6)
    int8_full_range_patterns: str = lever("")  # eight bits even so (#65: the embedding)
    int4_layers: str = lever("")  # layer numbers whose codes are rounded once more (#39)
    int4_step: int = option(16, at_least=1)  # to multiples of this
    embed_bits: int = lever(0, at_least=0)  # of the token embedding's codes; 0: matrix_bits
    gptq_calibration_batches: int = option(64, at_least=1)  # micro-batches of all processes
    matrix_clip_sigmas: float = option(12.85, above=0)
    attn_clip_sigmas: float = lever(0.0, at_least=0)  # 0: matrix_clip_sigmas
    mlp_clip_sigmas: float = lever(0.0, at_least=0)  # 0: matrix_clip_sigmas
    embed_clip_sigmas: float = option(20.0, above=0)
    step_mantissa_bits: int = lever(0, at_least=0)  # of a row's fp16 step; 0: all ten
    fit_total_bytes: int = lever(0, at_least=0)  # of artifact and script, by all clips; 0: as said
    # One code a byte, or back to back, or large matrices in no more than their codes' entropy.
    code_packing: Literal["bytes", "bits", "rans"] = option("bytes")
    compressor: Literal["zlib", "zstd", "lzma", "brotli"] = option("zlib")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """What is scored."""

    eval_seq_len: int = option(0, at_least=0)  # tokens; 0: train_seq_len
    # Sliding windows: each but the first scores its last eval_stride tokens. 0: no overlap.
    eval_stride: int = option(0, at_least=0)
    # Low-rank adapters that learn from each document's scored tokens (#77), in place of windows.
    ttt_enabled: bool = option(False)
    ttt_lora_rank: int = option(8, at_least=1)
    ttt_lora_alpha: float = option(0.0, at_least=0)  # what they add times this / rank; 0: times 1
    ttt_lora_lr: float = option(0.01, at_least=0)
    ttt_beta1: float = option(0.9, at_least=0)  # of Adam, which moves them
    ttt_beta2: float = option(0.95, at_least=0)
    ttt_weight_decay: float = option(0.0, at_least=0)  # a step shrinks by learning rate x this
    ttt_chunk_size: int = option(256, at_least=1)  # tokens scored, then learnt from, at once
    # Smaller chunks where documents begin: "256:8,2000:24" is 8 up to token 256, then 24 (#2014
    # goes by the document's length instead, which no reader knows before its end).
    ttt_first_chunk_sizes: str = lever("")
    ttt_eval_seq_len: int = option(1024, at_least=1)  # tokens that a forward pass sees
    ttt_batch_size: int = option(64, at_least=2)  # documents of one process at once, at most
    # On a GPU, passes over windows of up to so many tokens are recorded and played (CUDA graphs),
    # which spares the host their launches and takes memory for the largest of them; 0: none.
    ttt_recorded_window: int = lever(0, at_least=0)
    # So many times, all weights learn from all documents scored so far (#1610, #1626): whenever
    # another part of the prefix_docs longest documents, which are scored first, is done.
    phased_ttt_num_phases: int = lever(0, at_least=0)
    phased_ttt_prefix_docs: int = option(2000, at_least=0)
    global_ttt_lr: float = option(0.001, at_least=0)  # of SGD at first; falls as a cosine to 0
    global_ttt_momentum: float = option(0.9, at_least=0)
    global_ttt_epochs: int = option(1, at_least=1)  # steps on each chunk
    global_ttt_chunk_tokens: int = option(32_768, at_least=1)  # of all processes, one step
    global_ttt_grad_clip: float = option(1.0, at_least=0)  # 0: no clipping


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthPhase:
    """A part of a run with sequences of one length."""

    seq_len: int  # tokens
    end: float  # share of the run that is done when the next phase begins


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

    @property
    def length_phases(self) -> tuple[LengthPhase, ...]:
        """What `schedule.train_seq_schedule` says, in its order; without one a single phase."""
        return (LengthPhase(seq_len=self.batch.train_seq_len, end=1.0),)


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


def matches_any(tensor_name: str, patterns: str) -> bool:
    """Whether a tensor's name contains one of the comma-separated patterns."""
    return any(pattern in tensor_name for pattern in patterns.split(",") if pattern)


# ---- trainer/quantization/rounding.py
# Rounding to few bits, row by row, as the public scripts do it.


MAX_KEPT_ELEMENTS = 65_536  # tensors up to this size are kept as floats
CLIP_QUANTILE = 0.9999984  # of the absolute values of a row
SMALLEST_STEP = 2.0**-24  # the smallest positive fp16


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """What the artifact keeps of one tensor."""

    values: Tensor  # int8 codes (R, C) with a scale; else the tensor itself, fp16 or fp32
    scale: Tensor | None  # (R,) fp16: the value of one code step of each row
    dtype: torch.dtype  # of the tensor before it was stored
    bits: int = 8  # of a code: from -max_code(bits) to max_code(bits)

    @property
    def num_bytes(self) -> int:
        """Bytes with one code a byte."""
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)


def max_code(bits: int) -> int:
    """The largest code: 127 for eight bits, 31 for six. The most negative code is not used."""
    return (1 << bits - 1) - 1


def store_tensor(name: str, tensor: Tensor, options: QuantizationOptions) -> StoredTensor:
    """One tensor in its stored form."""
    if name.endswith("attn_gate_w"):
        codes, scale = round_rows_to_largest(tensor)
        return StoredTensor(values=codes, scale=scale, dtype=tensor.dtype)
    if is_rounded(name, tensor, options):
        bits = code_bits(name, options)
        codes, scale = round_rows(tensor, bits)
        if layer_number(name) in layer_numbers(options.int4_layers):
            codes = round_to_multiples(codes, options.int4_step, bits)
        return StoredTensor(values=codes, scale=scale, dtype=tensor.dtype, bits=bits)
    is_fp16 = matches_any(name, options.fp16_passthrough_patterns)
    is_control = matches_any(name, options.int8_keep_float_fp32_name_patterns)
    kept = tensor.float() if is_control and not is_fp16 else tensor.half()
    return StoredTensor(values=kept.contiguous(), scale=None, dtype=tensor.dtype)


def is_rounded(name: str, tensor: Tensor, options: QuantizationOptions) -> bool:
    """Whether a tensor is stored as codes: a large matrix that the recipe does not keep in fp16."""
    is_large = tensor.numel() > MAX_KEPT_ELEMENTS and tensor.ndim == 2
    return is_large and not matches_any(name, options.fp16_passthrough_patterns)


def code_bits(name: str, options: QuantizationOptions) -> int:
    """How many bits each code of a large matrix has."""
    if matches_any(name, options.int8_full_range_patterns):
        return 8
    is_embedding = name.startswith("tok_emb")
    return options.embed_bits if is_embedding and options.embed_bits else options.matrix_bits


def layer_number(name: str) -> int | None:
    """The layer that a tensor belongs to: 3 for `blocks.3.mlp.fc.weight`."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" else None


def layer_numbers(text: str) -> set[int]:
    """The numbers of a comma-separated list."""
    return {int(word) for word in text.split(",") if word.strip()}


def round_rows(
    matrix: Tensor,  # (R, C)
    bits: int,
) -> tuple[Tensor, Tensor]:  # (R, C) int8 codes, (R,) fp16 value of a code step
    """Clip each row at a high quantile and round it to 2^bits - 1 levels.

    A step is never below 1 / max_code: rows that stay within ±1 all share that step, so small
    weights use few codes and compress well.
    """
    rows, largest = matrix.float(), max_code(bits)
    clip = torch.quantile(rows.abs(), CLIP_QUANTILE, dim=1)
    scale = (clip / largest).clamp_min(1.0 / largest)
    clipped = rows.clamp(-clip[:, None], clip[:, None])
    codes = (clipped / scale[:, None]).round().clamp(-largest, largest)
    return codes.to(torch.int8).contiguous(), scale.half()


def round_rows_to_largest(
    matrix: Tensor,  # (R, C)
) -> tuple[Tensor, Tensor]:  # (R, C) int8 codes, (R,) fp16 value of a code step
    """Round each row to eight bits, the largest code for its largest value (gates, #1736)."""
    rows, largest = matrix.float(), max_code(8)
    scale = (rows.abs().amax(dim=1) / largest).half().clamp_min(SMALLEST_STEP)
    codes = (rows / scale.float()[:, None]).round().clamp(-largest, largest)
    return codes.to(torch.int8).contiguous(), scale


def round_to_multiples(
    codes: Tensor,  # (R, C) int8
    step: int,
    bits: int,
) -> Tensor:  # (R, C) int8
    """Codes rounded to multiples of a step: fewer distinct ones, at the scale that they have."""
    coarse = (codes.float() / step).round() * step
    return coarse.clamp(-max_code(bits), max_code(bits)).to(torch.int8)


def dequantize_state(stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """The tensors that the stored ones stand for, in their original types."""
    return {name: restore_tensor(tensor) for name, tensor in stored.items()}


def restore_tensor(stored: StoredTensor) -> Tensor:
    """One tensor from its stored form."""
    if stored.scale is None:
        return stored.values.to(stored.dtype)
    return (stored.values.float() * stored.scale.float()[:, None]).to(stored.dtype)


def payload_bytes(stored: Mapping[str, StoredTensor]) -> int:
    """Bytes of codes (one a byte), scales and kept floats before compression."""
    return sum(tensor.num_bytes for tensor in stored.values())


# ---- trainer/artifact.py
# The artifact: stored tensors ↔ compressed bytes, the same bytes for the same tensors.


ARTIFACT_FORMAT = "pgolf rows, version 4"
LENGTH_BYTES = 4  # of the lengths before the compressed part and before the header
STORED_TYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}
MODEL_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArtifact:
    """The artifact's bytes, and how many there were before compression."""

    compressed: bytes
    raw_bytes: int
    payload_bytes: int  # of codes (one a byte), scales and floats alone

    @property
    def num_bytes(self) -> int:
        """What counts."""
        return len(self.compressed)


def pack_artifact(
    stored: Mapping[str, StoredTensor], options: QuantizationOptions
) -> PackedArtifact:
    """Write tensors as an artifact.

    Raises:
        TrainerError: a tensor is not finite as stored, so that no model could be read back.
    """
    names = sorted(stored)
    refuse_non_finite(stored)
    coded = CodedMatrices(side=b"", words=b"")
    header = {
        "format": ARTIFACT_FORMAT,
        "packing": options.code_packing,
        "side_bytes": len(coded.side),
        "tensors": [_entry(name, stored[name]) for name in names],
    }
    encoded = json.dumps(header).encode()
    body = b"".join(stored_content(stored[name], options) for name in names)
    raw = len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded + body + coded.side
    compressed = compress(raw, options.compressor)
    return PackedArtifact(
        compressed=compressed,
        raw_bytes=len(raw) + len(coded.words),
        payload_bytes=payload_bytes(stored),
    )


def refuse_non_finite(stored: Mapping[str, StoredTensor]) -> None:
    """See to it that all that is stored is a number.

    Raises:
        TrainerError: something is not; the message names the first few tensors.
    """
    names = [
        name
        for name, tensor in stored.items()
        if not all(bool(p.isfinite().all()) for p in (tensor.values, tensor.scale) if p is not None)
    ]
    if names:
        raise TrainerError(
            f"{', '.join(names[:3])} ({len(names)} in all): not finite as stored, trained to no "
            "number or beyond fp16; lower the learning rates, or clip gradients"
        )


def is_entropy_coded(dtype: torch.dtype, shape: Sequence[int], packing: str) -> bool:
    """Whether codes leave the compressed part; where they are few, their levels would cost more."""
    return packing == "rans" and dtype == torch.int8 and math.prod(shape) > MAX_KEPT_ELEMENTS


def stored_content(tensor: StoredTensor, options: QuantizationOptions) -> bytes:
    """What stands of a tensor in the compressed part."""
    if tensor.scale is None:
        return _tensor_bytes(tensor.values, options)
    scale = _tensor_bytes(tensor.scale, options)
    if is_entropy_coded(tensor.values.dtype, tensor.values.shape, options.code_packing):
        return scale
    return _tensor_bytes(tensor.values, options) + scale


def unpack_artifact(artifact: bytes, options: QuantizationOptions) -> dict[str, StoredTensor]:
    """Read an artifact.

    Raises:
        DataError: the bytes are no artifact, or damaged.
    """
    compressed, words = artifact, b""
    try:
        return TensorReader(decompress(compressed, options.compressor), words, options).read_all()
    except (DataError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"the artifact is damaged ({error}); train it again") from None


class TensorReader:
    """Reads tensors one after the other, as the entries of the header describe them."""

    def __init__(self, raw: bytes, words: bytes, options: QuantizationOptions) -> None:
        """Check the header.

        Raises:
            ValueError, LookupError, TypeError: it is damaged, or of another format.
        """
        body_start = LENGTH_BYTES + int.from_bytes(raw[:LENGTH_BYTES], "little")
        header = json.loads(raw[LENGTH_BYTES:body_start])
        found = (header["format"], header["packing"])
        if found != (ARTIFACT_FORMAT, options.code_packing):
            raise ValueError(f"{found}, not {(ARTIFACT_FORMAT, options.code_packing)}")
        self.entries: list[dict[str, Any]] = header["tensors"]
        self.options = options
        side_start = len(raw) - int(header["side_bytes"])
        self.body = io.BytesIO(raw[body_start:side_start])
        self.matrices: Iterator[np.ndarray] = iter(())

    def read_all(self) -> dict[str, StoredTensor]:
        """All tensors.

        Raises:
            ValueError, LookupError, TypeError: the bytes do not fit the entries.
        """
        tensors = {entry["name"]: self._read(entry) for entry in self.entries}
        if self.body.read(1):
            raise ValueError("bytes left over after the last tensor")
        return tensors

    def _read(self, entry: Mapping[str, Any]) -> StoredTensor:
        shape, bits = entry["shape"], int(entry["bits"])
        if bits and self._is_coded(entry):
            values = torch.from_numpy(next(self.matrices))
        else:
            values = self._read_tensor(shape, STORED_TYPES[entry["stored"]])
        return StoredTensor(
            values=values,
            scale=self._read_tensor(shape[:1], torch.float16) if bits else None,
            dtype=MODEL_TYPES[entry["dtype"]],
            bits=bits or 8,
        )

    def _is_coded(self, entry: Mapping[str, Any]) -> bool:
        stored = STORED_TYPES[entry["stored"]]
        return is_entropy_coded(stored, entry["shape"], self.options.code_packing)

    def _read_tensor(self, shape: list[int], dtype: torch.dtype) -> Tensor:
        content = self._read_bytes(math.prod(shape) * dtype.itemsize)
        if not content:  # one layer has no skips; frombuffer takes no empty buffer
            return torch.empty(shape, dtype=dtype)
        content = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1).T.tobytes()
        return torch.frombuffer(bytearray(content), dtype=dtype).view(shape)

    def _read_bytes(self, num_bytes: int) -> bytes:
        content = self.body.read(num_bytes)
        if len(content) != num_bytes:
            raise ValueError("cut short")
        return content


def _entry(name: str, tensor: StoredTensor) -> dict[str, object]:
    return {
        "name": name,
        "shape": list(tensor.values.shape),
        "stored": _type_name(tensor.values.dtype),
        "dtype": _type_name(tensor.dtype),
        "bits": tensor.bits if tensor.scale is not None else 0,
    }


def _tensor_bytes(tensor: Tensor, options: QuantizationOptions) -> bytes:
    content: bytes = tensor.contiguous().numpy().tobytes()
    return np.frombuffer(content, np.uint8).reshape(-1, tensor.dtype.itemsize).T.tobytes()


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
    paths = sorted(Path(folder).glob(f"fineweb_{split}_[0-9]*.bin"))
    if not paths:
        raise DataError(
            f"{folder}: no fineweb_{split}_*.bin shards; "
            "make them with `pgolf-train data build` or `pgolf-train data get`"
        )
    return paths


# ---- trainer/evaluation/bits_per_byte.py
# Bits per byte: the code length of the validation text over its length.


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A model's score on a validation set."""

    loss_nats: float  # mean over tokens
    bits_per_byte: float
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


def score_over(losses: Tensor, num_bytes: int) -> Score:  # (N,) fp32, nats
    """The score that these losses make on so many bytes."""
    total_nats = float(losses.sum(dtype=torch.float64).item())
    num_tokens = losses.numel()
    return Score(
        loss_nats=total_nats / num_tokens,
        bits_per_byte=total_nats / math.log(2.0) / num_bytes,
        num_bytes=num_bytes,
    )


def write_token_losses(losses: Tensor, path: Path) -> None:
    """Write every token's loss in scoring order, float32 little-endian, nothing else."""
    path.write_bytes(losses.cpu().numpy().astype("<f4").tobytes())


# ---- trainer/evaluation/document_batches.py
# Which documents are read side by side, when, and by which process.


# What a pass costs however little it sees, in tokens of a large one: on an H100 the public #1855
# takes 69 ms for any pass, and 0.24 s for one over 64 x 2,048 tokens.
PASS_COST_TOKENS = 50_000
FEWEST_DOCUMENTS = 2  # of a batch: compiled code treats one as another shape
STAYING_SHARE = 7 / 8  # of a batch's documents go on: any less, and those that are over leave it


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One document; its last target is the beginning of the next one."""

    start: int  # place of its first token
    num_targets: int


NO_DOCUMENT = Document(start=0, num_targets=0)
DocumentBatch = list[Document]


def find_documents(tokens: np.ndarray) -> list[Document]:
    """The documents of a token stream; what comes before the first BOS is one too."""
    begins = np.union1d([0], np.flatnonzero(tokens[:-1] == BOS_ID))
    ends = np.append(begins[1:], tokens.size - 1)
    return [
        Document(start=int(begin), num_targets=int(end - begin))
        for begin, end in zip(begins, ends, strict=True)
    ]


def chunks_from_the_start(options: EvaluationOptions) -> Iterator[range]:
    """The chunks of a document, as places in it, without end: how long it is does not matter."""
    steps = [tuple(map(int, s.split(":"))) for s in options.ttt_first_chunk_sizes.split(",") if s]
    first = 0
    while True:
        sizes = [size for place, size in steps if first < place]
        chunk = range(first, first + (sizes[0] if sizes else options.ttt_chunk_size))
        yield chunk
        first = chunk.stop


def chunks_of_length(num_targets: int, options: EvaluationOptions) -> Iterator[range]:
    """The chunks that it takes to score so many targets; the last may reach beyond them."""
    return takewhile(lambda chunk: chunk.start < num_targets, chunks_from_the_start(options))


def window_of(chunk: range, options: EvaluationOptions) -> range:
    """The places in a document that the pass over a chunk sees."""
    return range(max(chunk.stop - options.ttt_eval_seq_len, 0), chunk.stop)


def parts_between_phases(
    documents: list[Document], options: EvaluationOptions
) -> list[DocumentBatch]:
    """Documents, the longest first, in parts: after each but the last, all weights learn."""
    ordered = sorted(documents, key=lambda document: -document.num_targets)
    num_phases = options.phased_ttt_num_phases
    num_early = min(options.phased_ttt_prefix_docs, len(ordered))
    cuts = [num_early * (phase + 1) // num_phases for phase in range(num_phases)]
    parts = [ordered[start:end] for start, end in pairwise([0, *cuts, len(ordered)])]
    return [part for part in parts if part]


def dealt_batches(
    documents: list[Document],  # the longest first
    options: EvaluationOptions,
    num_processes: int,
) -> list[list[DocumentBatch]]:
    """The batches of each process: always the costliest one left to who has the least to do."""
    batches = batches_of(documents, options, num_processes)
    costs = [batch_cost(batch, options) for batch in batches]
    dealt: list[list[DocumentBatch]] = [[] for _ in range(num_processes)]
    loads = [0] * num_processes
    for index in sorted(range(len(batches)), key=lambda index: -costs[index]):
        least = loads.index(min(loads))
        dealt[least].append(batches[index])
        loads[least] += costs[index]
    return dealt


def passes_of(batch: DocumentBatch, options: EvaluationOptions) -> Iterator[tuple[range, int]]:
    """The passes over a batch, the longest documents first: chunk, how many documents are read."""
    num_read = len(batch)
    for chunk in chunks_of_length(batch[0].num_targets, options):
        num_there = sum(document.num_targets > chunk.start for document in batch[:num_read])
        if num_there <= STAYING_SHARE * num_read:
            num_read = max(num_there, FEWEST_DOCUMENTS)
        yield chunk, num_read


def batches_of(
    documents: list[Document],  # the longest first
    options: EvaluationOptions,
    num_processes: int,
) -> list[DocumentBatch]:
    """Documents of about the same length side by side.

    As many as the recipe says, unless all other processes would wait for such a batch: then half as
    many, and again, as long as that saves a quarter of its time.
    """
    plain = _cut(documents, options, most_cost=math.inf)
    total = sum(batch_cost(batch, options) for batch in plain)
    return _cut(documents, options, most_cost=total / num_processes)


def _cut(
    documents: list[Document], options: EvaluationOptions, *, most_cost: float
) -> list[DocumentBatch]:
    batches, first = [], 0
    while first < len(documents):
        longest = documents[first]
        size = most_documents(longest.num_targets, options)
        while (cost := batch_cost([longest] * size, options)) > most_cost:
            half = max(size // 2, FEWEST_DOCUMENTS)
            if batch_cost([longest] * half, options) > 0.75 * cost:
                break
            size = half
        batch = documents[first : first + size]
        batches.append(batch + [NO_DOCUMENT] * (FEWEST_DOCUMENTS - len(batch)))
        first += size
    return batches


def most_documents(num_targets: int, options: EvaluationOptions) -> int:
    """How many documents of a length are read at once at most."""
    size = options.ttt_batch_size
    return max(size, FEWEST_DOCUMENTS)


def batch_cost(batch: DocumentBatch, options: EvaluationOptions) -> int:
    """What a batch costs, in tokens of a large pass."""
    return sum(
        PASS_COST_TOKENS + num_read * len(window_of(chunk, options))
        for chunk, num_read in passes_of(batch, options)
    )


# ---- trainer/process_group.py
# One code path for one process and for eight: with one process, communication does nothing.


KEPT_GROUPS: list[object] = []


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
        """Overwrite a tensor with its sum over the processes; all of them must call it."""
        if self.world_size > 1:
            dist.all_reduce(tensor)

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean over the processes; the tensor itself may be overwritten."""
        self.sum_in_place(tensor)
        return tensor / self.world_size

    def start_average(self, tensors: list[torch.Tensor]) -> Callable[[], None]:
        """Begin to average tensors, one message for each type; calling the result puts them in."""
        if self.world_size == 1:
            return lambda: None
        messages = []
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in one order everywhere
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in alike]) / self.world_size
            messages.append((alike, flat, dist.all_reduce(flat, async_op=True)))

        def wait() -> None:
            for alike, flat, work in messages:
                work.wait()
                parts = torch.split_with_sizes(flat, [tensor.numel() for tensor in alike])
                for tensor, part in zip(alike, parts, strict=True):
                    tensor.copy_(part.view_as(tensor))

        return wait

    def start_scatter(self, whole: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to average a tensor of equal shares; calling the result waits for the own one."""
        if self.world_size == 1:
            return lambda: whole
        shares = list((whole / self.world_size).chunk(self.world_size))
        own = torch.empty_like(shares[0])
        work = dist.reduce_scatter(own, shares, async_op=True)

        def wait() -> torch.Tensor:
            work.wait()
            return own

        return wait

    def largest(self, number: float) -> float:
        """The largest of the processes' numbers.

        Hosts wait for one another, but for no device: there, the answer would come after all work
        that was given before, and nothing be left to do when the next step begins.
        """
        if self.world_size == 1:
            return number
        numbers = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
        return numbers.item()

    def start_gather(self, share: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to collect equal shares; calling the result waits for all, rank after rank."""
        if self.world_size == 1:
            return lambda: share
        share = share.contiguous()
        gathered = share.new_empty((self.world_size * share.size(0), *share.shape[1:]))
        shares = list(gathered.chunk(self.world_size))
        work = dist.all_gather(shares, share, async_op=True)

        def wait() -> torch.Tensor:
            work.wait()
            return gathered

        return wait

    def start_fetch(self, scalar: torch.Tensor) -> Callable[[], float]:
        """Begin to copy a number off the device; calling the result waits for that copy alone.

        What the device was given to do after it goes on meanwhile.
        """
        if self.device.type != "cuda":
            return scalar.item
        pinned = torch.empty((), dtype=scalar.dtype, pin_memory=True)
        pinned.copy_(scalar, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()

        def wait() -> float:
            arrived.synchronize()
            return pinned.item()

        return wait

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            dist.barrier()

    def synchronize(self) -> None:
        """Wait until the device has done what it was given, so that a clock means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


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
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, device_id=device if device.type == "cuda" else None)
        KEPT_GROUPS.append(dist.group.WORLD)
    return ProcessGroup(rank=rank, world_size=world_size, device=device)


def leave_process_group() -> None:
    """Take leave of the other processes, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def end_process(exit_code: int) -> int:
    """The exit code, of one process; of several, each ends here with it.

    Gloo's threads outlive the group that a replicated model was in. If one of them asks for the
    interpreter's lock while that ends, the process is aborted ("terminate called").
    """
    if KEPT_GROUPS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


def gradient_sync(forward: nn.Module, *, wanted: bool) -> AbstractContextManager[None]:
    """Within it, a backward pass averages gradients over the processes only if wanted.

    While micro-batches accumulate, only the last backward pass need pay for communication.
    """
    if wanted or not isinstance(forward, DistributedDataParallel):
        return nullcontext()
    return forward.no_sync()


# ---- trainer/evaluation/order_ledger.py
# The order of scoring and learning, noted while it happens: one JSON object a line.


LEDGER_VERSION = 1


def ledger_path(losses: Path, process: int) -> Path:
    """Where a process's ledger lies: beside the losses."""
    return losses.with_name(f"{losses.name}.order.{process}.jsonl")


class OrderLedger:
    """What one process has scored and learnt, in order."""

    def __init__(self, group: ProcessGroup, num_targets: int) -> None:
        self.events: list[dict[str, object]] = [
            {
                "event": "run",
                "version": LEDGER_VERSION,
                "process": group.rank,
                "processes": group.world_size,
                "targets": num_targets,
            }
        ]
        self.phase = self.adapter_steps = self.all_weights_steps = 0
        self._sums: list[Tensor] = []  # of the scores so far, still on the device

    def note_batch(self, batch: DocumentBatch) -> None:
        """These documents are read from now on."""
        self.events.append(
            {
                "event": "batch",
                "phase": self.phase,
                "all_weights_steps": self.all_weights_steps,
                "documents": spans_of_documents(batch),
            }
        )

    def note_score(self, chunk: range, total_nats: Tensor) -> None:
        """A chunk of them was scored; nothing here waits for the device."""
        self._sums.append(total_nats)
        self.events.append(
            {
                "event": "score",
                "chunk": [chunk.start, chunk.stop],
                "adapter_steps": self.adapter_steps,
            }
        )

    def note_learning(self, chunk: range) -> None:
        """Adapters have learnt from it."""
        self.adapter_steps += 1
        self.events.append(
            {
                "event": "learn",
                "chunk": [chunk.start, chunk.stop],
                "adapter_steps": self.adapter_steps,
            }
        )

    def note_all_weights(self, documents: DocumentBatch, num_steps: int) -> None:
        """All weights have learnt from these documents, and adapters begin anew."""
        self.all_weights_steps += num_steps
        self.events.append(
            {
                "event": "all_weights",
                "phase": self.phase,
                "all_weights_steps": self.all_weights_steps,
                "documents": spans_of_documents(documents),
            }
        )
        self.phase += 1
        self.adapter_steps = 0

    def write(self, path: Path) -> None:
        """Write everything that was noted."""
        sums = iter(torch.stack(self._sums).tolist() if self._sums else ())
        with path.open("w", encoding="utf-8") as file:
            for event in self.events:
                told = {"nats": next(sums)} if event["event"] == "score" else {}
                file.write(json.dumps(event | told) + "\n")


def spans_of_documents(documents: DocumentBatch) -> list[list[int]]:
    """Documents as a ledger tells them; those that only fill a batch are left out."""
    return [[d.start, d.num_targets] for d in documents if d.num_targets > 0]


# ---- trainer/evaluation/order_check.py
# Whether a ledger of `order_ledger` tells of an honest order: everything scored before it teaches.


SAME_NATS = 1e-4  # of a noted sum, by which fp32 sums of the same losses may differ
NOT_SCORED = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSummary:
    """What an honest ledger tells."""

    num_targets: int  # each scored once
    num_learnt: int  # of them, from which adapters learnt afterwards
    num_phases: int  # in which all weights learnt
    num_all_weights_steps: int


class OrderReader:
    """Goes through the ledger of one process."""

    def __init__(self, losses: np.ndarray, scored_in: np.ndarray, *, process: int = 0) -> None:
        """Begin to read.

        Args:
            losses: (N,) fp32 nats, as they were written.
            scored_in: (N,) int, the phase in which each target was scored; shared by all processes.
            process: whose ledger it is.
        """
        self.losses, self.scored_in = losses, scored_in
        self.process, self.num_processes = process, 0
        self.documents = np.zeros((0, 2), np.int64)
        self.scored, self.learnt_to, self.num_learnt = range(0), 0, 0
        self.phase = self.adapter_steps = self.all_weights_steps = 0
        self.pauses: list[tuple[int, list[list[int]]]] = []

    def read(self, event: dict[str, object]) -> None:
        """Take the next event.

        Raises:
            ValueError: it is none, or not honest.
        """
        if self.num_processes == 0:
            self._run(event)
            return
        readers = {
            "batch": self._batch,
            "score": self._score,
            "learn": self._learn,
            "all_weights": self._all_weights,
        }
        kind = str(event.get("event"))
        if kind not in readers:
            raise ValueError(f"is no event of a ledger: {kind!r}")
        readers[kind](event)

    def _run(self, event: dict[str, object]) -> None:
        _expect(event, event="run", version=LEDGER_VERSION, process=self.process)
        _expect(event, targets=self.losses.size)
        self.num_processes = max(int(str(event["processes"])), 1)

    def _batch(self, event: dict[str, object]) -> None:
        _expect(event, phase=self.phase, all_weights_steps=self.all_weights_steps)
        self.documents = np.array(event["documents"], np.int64).reshape(-1, 2)
        self.scored, self.learnt_to = range(0), 0

    def _score(self, event: dict[str, object]) -> None:
        _expect(event, adapter_steps=self.adapter_steps)
        chunk = _chunk(event)
        if chunk.start != self.scored.stop:
            raise ValueError(f"scores {_name(chunk)} behind {_name(self.scored)}")
        self.scored = chunk
        places = self._places(chunk)
        if (self.scored_in[places] != NOT_SCORED).any():
            raise ValueError(f"scores {_name(chunk)}, of which some were scored before")
        self.scored_in[places] = self.phase
        noted, written = float(str(event["nats"])), float(self.losses[places].sum(dtype=np.float64))
        if not abs(noted - written) <= SAME_NATS * max(abs(noted), 1.0):
            raise ValueError(
                f"scores {_name(chunk)} at {noted:.4f} nats, but {written:.4f} were written"
            )

    def _learn(self, event: dict[str, object]) -> None:
        _expect(event, adapter_steps=self.adapter_steps + 1)
        chunk = _chunk(event)
        if chunk != self.scored:
            raise ValueError(f"learns from {_name(chunk)}, where {_name(self.scored)} was scored")
        if chunk.start < self.learnt_to:
            raise ValueError(f"learns from {_name(chunk)} again")
        self.learnt_to = chunk.stop
        self.adapter_steps += 1
        self.num_learnt += int((self.documents[:, 1] > chunk.stop).sum()) * len(chunk)

    def _all_weights(self, event: dict[str, object]) -> None:
        _expect(event, phase=self.phase)
        steps, told = int(str(event["all_weights_steps"])), event["documents"]
        if steps < self.all_weights_steps or not isinstance(told, list):
            raise ValueError("tells of no steps from documents")
        self.pauses.append((self.phase, told))
        self.all_weights_steps, self.adapter_steps = steps, 0
        self.phase += 1

    def _places(self, chunk: range) -> np.ndarray:
        """Where a chunk's targets stand among all."""
        parts = [
            np.arange(start + chunk.start, start + min(chunk.stop, length))
            for start, length in self.documents.tolist()
        ]
        return np.concatenate([*parts, np.zeros(0, np.int64)])


def check_order(losses_path: Path) -> OrderSummary:
    """Check the ledgers of all processes that lie beside the losses.

    Raises:
        DataError: one is missing or damaged, or what they tell is not honest.
    """
    losses = np.fromfile(losses_path, "<f4")
    scored_in = np.full(losses.size, NOT_SCORED, np.int32)
    readers = [read_ledger(ledger_path(losses_path, 0), OrderReader(losses, scored_in))]
    for process in range(1, readers[0].num_processes):
        reader = OrderReader(losses, scored_in, process=process)
        readers.append(read_ledger(ledger_path(losses_path, process), reader))
    first = ledger_path(losses_path, 0).name
    if missing := int((scored_in == NOT_SCORED).sum()):
        raise DataError(f"{first}: {missing} of {losses.size} targets were never scored")
    pauses = readers[0].pauses
    if any(reader.pauses != pauses for reader in readers):
        raise DataError(f"{first}: processes tell of different pauses")
    for phase, documents in pauses:
        for start, length in documents:
            if (scored_in[start : start + length] > phase).any():
                raise DataError(
                    f"{first}: all weights learn in phase {phase} from the document at {start}, "
                    "which was not scored by then"
                )
    return OrderSummary(
        num_targets=losses.size,
        num_learnt=sum(reader.num_learnt for reader in readers),
        num_phases=len(pauses),
        num_all_weights_steps=readers[0].all_weights_steps,
    )


def read_ledger(path: Path, reader: OrderReader) -> OrderReader:
    """The reader, behind the last event of a ledger.

    Raises:
        DataError: it is missing or damaged, or what it tells is not honest.
    """
    for number, event in _events(path):
        try:
            reader.read(event)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{path.name}:{number}: {error}") from None
    return reader


def _events(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """The events of a ledger with their line numbers.

    Raises:
        DataError: there is no such file, or something else in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise DataError(
            f"{path.name}: no such file; each process should have written one"
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise DataError(f"{path.name}:{number}: is no event of a ledger")
        yield number, event


def _expect(told: dict[str, object], /, **expected: object) -> None:
    for name, value in expected.items():
        if told[name] != value:
            raise ValueError(f"says {name} {told[name]!r} where {value!r} is due")


def _chunk(event: dict[str, object]) -> range:
    first, end = map(int, str(event["chunk"]).strip("[]").split(","))
    return range(first, end)


def _name(chunk: range) -> str:
    return f"chunk {chunk.start} to {chunk.stop}"


# ---- trainer/data/batches.py
# Tokens on the device, in a fixed order: every process draws its own share of one stream.


Item = TypeVar("Item")
MADE_AHEAD = 3  # micro-batches
TOKENS_PER_BOUNDARY = 128  # few enough: documents of FineWeb have about 800


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B sequences of T tokens on the device."""

    input_ids: Tensor  # (B, T) int64
    target_ids: Tensor  # (B, T) int64: the token after each input
    boundaries: Tensor | None  # (S,) int32: where documents begin, rows end to end


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyBatch:
    """Consecutive tokens in the host's memory, for sequences of any length that divides them."""

    ids: np.ndarray  # (N + 1,) int64
    begins: np.ndarray | None  # (D,) int64: where documents do, where they are packed into one row

    def on(self, device: torch.device, seq_len: int) -> Batch:
        """Sequences on a device, whose targets are the next tokens."""
        row_tokens, boundaries = seq_len, None
        if self.begins is not None:
            row_tokens = self.ids.size - 1
            boundaries = on_device(cut_documents(self.begins, row_tokens, seq_len), device)
        ids = on_device(self.ids, device)
        return Batch(
            input_ids=ids[:-1].view(-1, row_tokens),
            target_ids=ids[1:].view(-1, row_tokens),
            boundaries=boundaries,
        )


def train_batches(
    paths: list[Path], recipe: Recipe, group: ProcessGroup, *, first: int = 0
) -> Iterator[ReadyBatch]:
    """This process's micro-batches, for ever, from the first token of the first shard.

    With `first`, so many of them are left out at the beginning.

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
    drawn = span * group.world_size
    chunks = endless_chunks(paths, drawn, skipped_tokens=first * drawn)
    own = (chunk[span * group.rank : span * (group.rank + 1)] for chunk in chunks)
    return prefetched(prepare_batch(tokens, recipe) for tokens in own)


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, made in a thread while the ones before them are used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting: deque[Future[Item | None]] = deque()
        while True:
            while len(waiting) < MADE_AHEAD:
                waiting.append(thread.submit(next, items, None))
            item = waiting.popleft().result()
            if item is None:
                return
            yield item


def endless_chunks(
    paths: list[Path], chunk_tokens: int, *, skipped_tokens: int = 0
) -> Iterator[np.ndarray]:
    """Consecutive chunks of the shards read one after the other, again and again.

    Shards that are skipped whole are not read.
    """
    pieces: list[np.ndarray] = []
    missing, position = chunk_tokens, skipped_tokens
    for path in cycle(paths):
        if position >= (num_tokens := shard_num_tokens(path)):
            position -= num_tokens
            continue
        shard = read_shard(path)
        while shard.size - position >= missing:
            yield np.concatenate([*pieces, shard[position : position + missing]])
            position += missing
            pieces, missing = [], chunk_tokens
        pieces.append(shard[position:])
        missing -= shard.size - position
        position = 0


def prepare_batch(
    tokens: np.ndarray,  # (N + 1,) uint16
    recipe: Recipe,
) -> ReadyBatch:
    """Consecutive tokens, checked.

    Raises:
        DataError: a token id is outside the vocabulary (a GPU would only say "assert triggered").
    """
    if (largest := int(tokens.max())) >= recipe.model.vocab_size:
        raise DataError(
            f"token id {largest} in the shards, but vocab_size is {recipe.model.vocab_size}; "
            "use the shards that belong to the tokenizer, or mend model.vocab_size"
        )
    begins = document_starts(tokens[None, :-1])
    return ReadyBatch(ids=tokens.astype(np.int64), begins=begins)


def document_boundaries(
    input_ids: np.ndarray,  # (B, T)
    longest: int,
) -> np.ndarray:  # (S,) int32
    """Where documents begin in rows end to end, as `cut_documents` says."""
    return cut_documents(document_starts(input_ids), input_ids.size, longest)


def document_starts(input_ids: np.ndarray) -> np.ndarray:  # (B, T) → (D,) int64
    """Where documents begin in rows end to end: with a row, and with a BOS."""
    begins = input_ids == BOS_ID
    begins[:, 0] = True
    return np.flatnonzero(begins)


def cut_documents(
    starts: np.ndarray,  # (D,) int64, the first one 0
    num_tokens: int,
    longest: int,
) -> np.ndarray:  # (S,) int32
    """Where documents begin of which none is longer than `longest`, and then their total length.

    The total length is repeated until there is one boundary for each 128 tokens, and then up to the
    next multiple of that: code is compiled for each S, and this S nearly always suffices.
    """
    num_parts = -(-np.diff(starts, append=num_tokens) // longest)
    first_parts = np.cumsum(num_parts) - num_parts
    place = np.arange(num_parts.sum()) - np.repeat(first_parts, num_parts)  # in its document
    boundaries = np.append(np.repeat(starts, num_parts) + longest * place, num_tokens)
    room = math.ceil(num_tokens / TOKENS_PER_BOUNDARY) + 1
    padding = (0, -boundaries.size % room)
    return np.pad(boundaries, padding, constant_values=num_tokens).astype(np.int32)


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor; the copy does not wait for the work that a GPU has been given."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


# ---- trainer/evaluation/scoring.py
# Which tokens a forward pass sees and which of them it scores.


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How the validation set is cut."""

    seq_len: int
    stride: int  # from 1 to seq_len
    batch_size: int  # windows of one process in one forward pass
    are_cut_at_documents: bool = False  # attention within documents alone

    @property
    def context(self) -> int:
        """Targets that a window sees again without scoring them."""
        return self.seq_len - self.stride

    def starts(self, num_targets: int) -> np.ndarray:  # (W,) int64
        """Where windows begin: as many as it takes to score every target."""
        return np.arange(0, max(num_targets - self.context, 1), self.stride)


def evaluation_windows(recipe: Recipe) -> Windows:
    """The windows of the final score; test-time training goes on by a chunk of a document."""
    options = recipe.evaluation
    return Windows(
        seq_len=options.ttt_eval_seq_len,
        stride=options.ttt_chunk_size,
        batch_size=options.ttt_batch_size,
    )


def training_windows(recipe: Recipe) -> Windows:
    """The windows of scores in the middle of training: training's own sequences."""
    seq_len = recipe.batch.train_seq_len
    batch_size = default_batch_size(recipe.batch, seq_len)
    return Windows(
        seq_len=seq_len,
        stride=seq_len,
        batch_size=batch_size,
        are_cut_at_documents=recipe.batch.pack_documents,
    )


def default_batch_size(batch: BatchOptions, seq_len: int) -> int:
    """Windows at once, as the public baseline divides VAL_BATCH_SIZE tokens over micro-batches."""
    return max(batch.val_batch_size // batch.micro_batches_per_step // seq_len, 1)


@torch.inference_mode()
def score_tokens(
    forward: Callable[..., Tensor],
    tokens: np.ndarray,  # (N + 1,) uint16
    windows: Windows,
    group: ProcessGroup,
) -> Tensor:  # (N,) fp32
    """The loss of every token but the first, in nats, in order; on every process all of them.

    Each process scores a run of consecutive windows.
    """
    num_targets = tokens.size - 1
    starts = windows.starts(num_targets)
    first = starts.size * group.rank // group.world_size
    end = starts.size * (group.rank + 1) // group.world_size
    padded = np.pad(tokens, (0, windows.seq_len)).astype(np.int32)
    device_tokens = torch.from_numpy(padded).to(group.device)
    losses = torch.zeros(num_targets + windows.seq_len, device=group.device)
    for index in range(first, end, windows.batch_size):
        own = starts[index : min(index + windows.batch_size, end)]
        # A shorter last batch would be compiled anew: fill it up with what it holds already.
        filled = np.resize(own, windows.batch_size)
        seeing = forward
        if windows.are_cut_at_documents:
            rows = padded[filled[:, None] + np.arange(windows.seq_len)]
            boundaries = on_device(document_boundaries(rows, windows.seq_len), group.device)
            seeing = partial(forward, boundaries=boundaries)
        score_batch(seeing, device_tokens, torch.from_numpy(filled), losses, windows)
    group.sum_in_place(losses)
    return losses[:num_targets]


def score_batch(
    forward: Callable[..., Tensor],
    tokens: Tensor,  # (N + 1 + seq_len,) int32
    starts: Tensor,  # (B,) int64, on the CPU
    losses: Tensor,  # (N + seq_len,) fp32: receives what these windows score
    windows: Windows,
) -> None:
    """Score one batch of windows. Nothing here waits for the device."""
    has_first = int(starts[0]) == 0
    starts = starts.to(tokens.device, non_blocking=True)[:, None]
    offsets = torch.arange(windows.seq_len + 1, device=tokens.device)
    ids = tokens[starts + offsets].long()
    device_type = tokens.device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"):
        scored = forward(ids[:, :-1], ids[:, 1:]).view(-1, windows.seq_len)
    if has_first:
        losses[: windows.seq_len] = scored[0]
    losses[starts + offsets[windows.context : -1]] = scored[:, windows.context :]


def check_token_ids(tokens: np.ndarray, vocab_size: int) -> None:
    """See to it that every token is in the vocabulary; a GPU would only say "assert triggered".

    Raises:
        DataError: one is not.
    """
    if (largest := int(tokens.max())) >= vocab_size:
        raise DataError(
            f"token id {largest} in the validation shards, but vocab_size is {vocab_size}; "
            "use the shards that belong to the tokenizer, or mend model.vocab_size"
        )


# ---- trainer/model/deltas.py
# What adapters add to a model's layers in a forward pass, each document its own.


Delta = Callable[[Tensor], Tensor]  # (B, T, inputs) → (B, T, outputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionDeltas:
    """Additions to attention's layers, (B, T, outputs) each.

    All are made of the normed input of attention, `out` too: it stands beside the output
    projection and not before it (#1530).
    """

    query: Tensor | None = None
    key: Tensor | None = None
    value: Tensor | None = None
    out: Tensor | None = None

    def onto_heads(self, projected: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values with what is added to them."""
        queries, keys, values = projected
        return plus(queries, self.query), plus(keys, self.key), plus(values, self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockDeltas:
    """Additions in one use of a block, each from the normed input of its sublayer."""

    attention: Callable[[Tensor], AttentionDeltas] | None = None
    mlp: Delta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deltas:
    """Additions in a forward pass."""

    blocks: Sequence[BlockDeltas]  # one for each step of the topology
    head: Delta | None = None  # to the logits, from the final stream


def plus(outputs: Tensor, added: Tensor | None) -> Tensor:
    """Outputs of a layer and what an adapter adds to them."""
    return outputs if added is None else outputs + added


# ---- trainer/kernels/triton_jit.py
# Triton where it is installed; elsewhere kernels are plain functions that nothing calls.


triton: Any = importlib.import_module("triton") if importlib.util.find_spec("triton") else None
TensorDescriptor: Any = (
    importlib.import_module("triton.tools.tensor_descriptor").TensorDescriptor if triton else None
)
# What the annotations of kernels name must be there all the same.
tl: Any = (
    triton.language
    if triton
    else SimpleNamespace(
        **dict.fromkeys(("pointer_type", "constexpr", "tensor", "tensor_descriptor"), object)
    )
)


class Kernel(Protocol):
    """A function in Triton's language: kernel[grid](…) launches it."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        """For that many programs."""


class Saved(Protocol):
    """What an autograd function keeps from its forward pass for its backward pass."""

    saved_tensors: tuple[Tensor, ...]
    number: float  # one that is no tensor
    needs_input_grad: tuple[bool, ...]  # of what it was called with: whose gradient is asked for

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors; None in the place of one that will not be needed."""


def jit(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - launched as kernel[grid](…)
    """A function in Triton's language as a kernel; torch.compile keeps the argument `stream`."""
    return triton.jit(function) if triton else function


def runs_kernels(tensor: Tensor) -> bool:
    """Whether Triton can work on a tensor: on a GPU where it is installed."""
    return triton is not None and tensor.is_cuda


def moves_tiles(tensor: Tensor) -> bool:
    """Whether kernels may take a tensor by tiles: on a GPU with a copy engine, from Hopper on."""
    return runs_kernels(tensor) and torch.cuda.get_device_properties(tensor.device).major >= 9


def num_processors(tensor: Tensor) -> int:
    """Of a tensor's GPU; 1 elsewhere."""
    if not tensor.is_cuda:
        return 1
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


def matrix_of_tiles(matrix: Tensor, num_rows: int, num_columns: int) -> Any:  # noqa: ANN401
    """A contiguous matrix that kernels load and store in tiles of one size, clipped at its edges.

    Its rows are multiples of 16 bytes: the copy engine takes no others.
    """
    return TensorDescriptor.from_tensor(matrix, [num_rows, num_columns])


def next_power_of_2(number: int) -> int:
    """The least power of 2 that is not below a positive number; blocks have such sizes."""
    return 1 << (number - 1).bit_length()


@jit
def load_wide(places: tl.tensor, is_inside: tl.tensor) -> tl.tensor:
    """Elements in fp32, zeros outside; for kernels."""
    return tl.load(places, is_inside, 0.0).to(tl.float32)


@jit
def store_narrow(places: tl.tensor, values: tl.tensor, is_inside: tl.tensor) -> None:
    """Values rounded to the type of where they go; for kernels."""
    tl.store(places, values.to(places.dtype.element_ty), is_inside)


# ---- trainer/kernels/softcapped_cross_entropy/triton_kernel.py
# The output layer and its loss, the gradient written over the logits while they are at hand.


MAX_SOFTCAP = 40.0  # exp(-2 * 40) is still a normal fp32 number, so that no sum is 0
MAX_VOCABULARY = 16_384  # one row in the registers of one program


def head_losses(
    stream: Tensor,  # (N, C)
    head: Tensor,  # (V, C) of the stream's type
    targets: Tensor,  # (N,) int64; negative: leave out
    softcap: float,
) -> Tensor:  # (N,) nats, fp32; 0 where left out
    """The cross-entropy of each target under c tanh(stream headᵀ / c), differentiable.

    Raises:
        ValueError: the cap is above 40 or the vocabulary above 16,384.
    """
    if softcap > MAX_SOFTCAP or head.size(0) > MAX_VOCABULARY:
        raise ValueError(
            f"fused_ce_enabled: logit_softcap {softcap} must be at most {MAX_SOFTCAP} and "
            f"vocab_size {head.size(0)} at most {MAX_VOCABULARY}; switch it off"
        )
    if not torch.is_grad_enabled():
        return losses_over_logits(stream @ head.T, targets, softcap)
    losses: Tensor = _HeadLosses.apply(stream, head, targets, softcap)  # type: ignore[no-untyped-call]
    return losses


class _HeadLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Saved, stream: Tensor, head: Tensor, targets: Tensor, softcap: float
    ) -> Tensor:
        logits = stream @ head.T
        losses = losses_over_logits(logits, targets, softcap, wants_slopes=True)
        wants_stream, wants_head, _, _ = ctx.needs_input_grad
        ctx.save_for_backward(
            stream if wants_head else None, head if wants_stream else None, logits
        )
        return losses

    @staticmethod
    def backward(
        ctx: Saved,
        upstream: Tensor,  # (N,)
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        stream, head, slopes = ctx.saved_tensors
        wants_stream, wants_head, _, _ = ctx.needs_input_grad
        factors = upstream[:, None]
        to_stream, to_head = None, None
        if wants_stream:
            to_stream = (factors * (slopes @ head)).to(slopes.dtype)
        if wants_head:
            to_head = slopes.T @ (factors * stream).to(slopes.dtype)
        return to_stream, to_head, None, None


def losses_over_logits(
    logits: Tensor,  # (N, V) contiguous; overwritten where slopes are wanted
    targets: Tensor,  # (N,) int64; negative: leave out
    softcap: float,
    *,
    wants_slopes: bool = False,
) -> Tensor:  # (N,) nats, fp32
    """Each row's loss; each loss's gradient in place of its row of logits, if wanted."""
    num_rows, num_columns = logits.shape
    losses = torch.empty(num_rows, dtype=torch.float32, device=logits.device)
    block = next_power_of_2(num_columns)
    _softcapped_cross_entropy[(num_rows,)](
        logits,
        targets,
        losses,
        softcap,
        num_columns,
        wants_slopes,
        block,
        num_warps=min(max(block // 1024, 4), 16),
    )
    return losses


@jit
def _softcapped_cross_entropy(
    logits: tl.pointer_type,
    targets: tl.pointer_type,
    losses: tl.pointer_type,
    softcap: tl.constexpr,
    num_columns: tl.constexpr,
    wants_slopes: tl.constexpr,
    block: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    is_inside = columns < num_columns
    places = logits + row * num_columns + columns
    raw = load_wide(places, is_inside)
    target = tl.load(targets + row)
    below_one = 1.0 / (1.0 + tl.exp(raw * (2.0 / softcap)))
    weights = tl.where(is_inside, tl.exp(-2.0 * softcap * below_one), 0.0)
    total = tl.sum(weights, axis=0)
    is_target = columns == target
    at_target = tl.sum(tl.where(is_target, below_one, 0.0), axis=0)
    is_counted = target >= 0
    loss = tl.log(total) + 2.0 * softcap * at_target
    tl.store(losses + row, tl.where(is_counted, loss, 0.0))
    if wants_slopes:
        off_target = weights / total - tl.where(is_target, 1.0, 0.0)
        slopes = off_target * 4.0 * below_one * (1.0 - below_one)
        store_narrow(places, tl.where(is_counted, slopes, 0.0), is_inside)


# ---- trainer/kernels/own_value_gate/reference.py
# XSA and gate, one after the other.


def without_own_value(
    gathered: Tensor,  # (B, T, H, D)
    values: Tensor,  # (B, T, K, D)
) -> Tensor:  # (B, T, H, D)
    """Take out of each head what points along its own position's value (#265, arXiv 2603.09078).

    y becomes y - (y · u) u with u = v / |v|; the heads that share a value lose the same direction.
    """
    num_rows, num_tokens, num_kv_heads, head_dim = values.shape
    groups = gathered.reshape(num_rows, num_tokens, num_kv_heads, -1, head_dim)  # (B, T, K, H/K, D)
    direction = F.normalize(values, dim=-1)[:, :, :, None]
    along = (groups * direction).sum(dim=-1, keepdim=True) * direction
    return (groups - along).flatten(2, 3)


# ---- trainer/kernels/own_value_gate/triton_kernel.py
# XSA and gate in one pass over what attention gathered.


BLOCK_TOKENS_XSA = 32  # of one value's heads in one program
SMALLEST_SQUARE = 1e-24  # of a value's length, as in torch.nn.functional.normalize


def fused_gated_without_own_value(
    gathered: Tensor,  # (B, T, H, D)
    values: Tensor,  # (B, T, K, D)
    factors: Tensor,  # (B, T, H)
) -> Tensor:  # (B, T, H, D)
    """Each head less what points along its own value, times its factor; differentiable."""
    gated: Tensor = _GatedWithoutOwnValue.apply(  # type: ignore[no-untyped-call]
        gathered.contiguous(), values.contiguous(), factors.contiguous()
    )
    return gated


class _GatedWithoutOwnValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        gated = torch.empty_like(inputs[0])
        _launch_xsa(_gate_without_own_value, *inputs, gated)
        return gated

    @staticmethod
    def backward(ctx: Saved, upstream: Tensor) -> tuple[Tensor, ...]:
        gradients = tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors)
        inputs = *ctx.saved_tensors, upstream.contiguous()
        _launch_xsa(_gate_without_own_value_backward, *inputs, *gradients)
        return gradients


def _launch_xsa(kernel: Kernel, gathered: Tensor, values: Tensor, *others: Tensor) -> None:
    num_rows, row_tokens, num_kv_heads, num_channels = values.shape
    num_tokens = num_rows * row_tokens
    kernel[num_kv_heads, -(-num_tokens // BLOCK_TOKENS_XSA)](
        gathered,
        values,
        *others,
        SMALLEST_SQUARE,
        num_tokens,
        gathered.size(2),
        num_kv_heads,
        num_channels,
        BLOCK_TOKENS_XSA,
        next_power_of_2(num_channels),
    )


@jit
def _gate_without_own_value(
    gathered: tl.pointer_type,
    values: tl.pointer_type,
    factors: tl.pointer_type,
    gated: tl.pointer_type,
    smallest_square: tl.constexpr,
    num_tokens: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    tokens, value_places, is_inside = _places_of_values(
        num_tokens, num_kv_heads, num_channels, block_tokens, block_channels
    )
    value = load_wide(values + value_places, is_inside)
    square = tl.maximum(tl.sum(value * value, axis=1), smallest_square)
    num_shared: tl.constexpr = num_heads // num_kv_heads
    for index in tl.static_range(num_shared):
        rows = tokens * num_heads + tl.program_id(0) * num_shared + index
        places = (rows * num_channels)[:, None] + tl.arange(0, block_channels)[None, :]
        own = load_wide(gathered + places, is_inside)
        factor = load_wide(factors + rows, tokens < num_tokens)[:, None]
        share = (tl.sum(own * value, axis=1) / square)[:, None]
        store_narrow(gated + places, factor * (own - share * value), is_inside)


@jit
def _gate_without_own_value_backward(
    gathered: tl.pointer_type,
    values: tl.pointer_type,
    factors: tl.pointer_type,
    upstream: tl.pointer_type,
    to_gathered: tl.pointer_type,
    to_values: tl.pointer_type,
    to_factors: tl.pointer_type,
    smallest_square: tl.constexpr,
    num_tokens: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    tokens, value_places, is_inside = _places_of_values(
        num_tokens, num_kv_heads, num_channels, block_tokens, block_channels
    )
    value = load_wide(values + value_places, is_inside)
    square = tl.maximum(tl.sum(value * value, axis=1), smallest_square)
    to_value = tl.zeros((block_tokens, block_channels), dtype=tl.float32)
    num_shared: tl.constexpr = num_heads // num_kv_heads
    for index in tl.static_range(num_shared):
        rows = tokens * num_heads + tl.program_id(0) * num_shared + index
        places = (rows * num_channels)[:, None] + tl.arange(0, block_channels)[None, :]
        own = load_wide(gathered + places, is_inside)
        slope = load_wide(upstream + places, is_inside)
        share = (tl.sum(own * value, axis=1) / square)[:, None]
        to_factor = tl.sum(slope * (own - share * value), axis=1)
        store_narrow(to_factors + rows, to_factor, tokens < num_tokens)
        slope *= load_wide(factors + rows, tokens < num_tokens)[:, None]
        slope_share = (tl.sum(slope * value, axis=1) / square)[:, None]
        to_value -= share * slope + slope_share * own - 2.0 * share * slope_share * value
        store_narrow(to_gathered + places, slope - slope_share * value, is_inside)
    store_narrow(to_values + value_places, to_value, is_inside)


@jit
def _places_of_values(
    num_tokens: int,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """A program's tokens; where the values of its head lie, and which of them are there."""
    tokens = (tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)).to(tl.int64)
    channels = tl.arange(0, block_channels)[None, :]
    places = ((tokens * num_kv_heads + tl.program_id(0)) * num_channels)[:, None] + channels
    return tokens, places, (tokens < num_tokens)[:, None] & (channels < num_channels)


# ---- trainer/kernels/query_key_rotation/reference.py
# Norm, turn and gain, one after the other.


EPSILON = torch.finfo(torch.float32).eps  # within the root, as in fp32 arithmetic


# ---- trainer/kernels/query_key_rotation/triton_kernel.py
# Norm, turn and gain in one pass over queries or keys, or over queries, keys and values at once.


BLOCK_TOKENS = 64  # of one head in one program


def fused_normed_and_turned(
    heads: Tensor,  # (B, T, H, D)
    cosine: Tensor,  # (T, R/2) fp32
    sine: Tensor,  # (T, R/2) fp32
    gains: Tensor,  # (H,)
) -> Tensor:  # (B, T, H, D)
    """Channels normed, the first R turned, times the gain; differentiable in heads and gains."""
    turned: Tensor = _NormedAndTurned.apply(  # type: ignore[no-untyped-call]
        heads.contiguous(), cosine.contiguous(), sine.contiguous(), gains
    )
    return turned


def fused_heads_of_joint(
    joint: Tensor,  # (B, T, H + 2 K, D)
    cosine: Tensor,  # (T, R/2) fp32
    sine: Tensor,  # (T, R/2) fp32
    gains: Tensor,  # (H,)
) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H, D), (B, T, K, D) twice
    """Queries as above, keys likewise without a gain, values as they are; differentiable."""
    queries, keys, values = _HeadsOfJoint.apply(  # type: ignore[no-untyped-call]
        joint.contiguous(), cosine.contiguous(), sine.contiguous(), gains
    )
    return queries, keys, values


class _NormedAndTurned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        turned = torch.empty_like(inputs[0])
        nothing = inputs[-1], inputs[-1]  # in the place of keys and values
        _launch_rotation(_norm_and_turn, *inputs, turned, *nothing)
        return turned

    @staticmethod
    def backward(ctx: Saved, upstream: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        gains = ctx.saved_tensors[-1]
        return _joint_gradients(ctx, upstream.contiguous(), gains, gains)


class _HeadsOfJoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*inputs)
        joint, gains = inputs[0], inputs[-1]
        num_rows, row_tokens, num_joint_heads, num_channels = joint.shape
        num_kv_heads = (num_joint_heads - len(gains)) // 2
        heads = tuple(
            joint.new_empty(num_rows, row_tokens, number, num_channels)
            for number in (len(gains), num_kv_heads, num_kv_heads)
        )
        _launch_rotation(_norm_and_turn, *inputs, *heads)
        return heads

    @staticmethod
    def backward(ctx: Saved, *upstream: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        return _joint_gradients(ctx, *(one.contiguous() for one in upstream))


def _joint_gradients(ctx: Saved, *upstream: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
    joint, _, _, gains = ctx.saved_tensors
    wants_gains = ctx.needs_input_grad[-1]
    to_joint = torch.empty_like(joint)
    num_sums = _num_blocks(joint) if wants_gains else 0
    to_gains = torch.empty(num_sums, joint.size(2), dtype=torch.float32, device=joint.device)
    inputs = *ctx.saved_tensors, *upstream
    _launch_rotation(_norm_and_turn_backward, *inputs, to_joint, to_gains, wants_gains)
    summed = to_gains[:, : len(gains)].sum(0).to(gains.dtype) if wants_gains else None
    return to_joint, None, None, summed


def _launch_rotation(
    kernel: Kernel,
    joint: Tensor,
    cosine: Tensor,
    sine: Tensor,
    gains: Tensor,
    *others: Tensor | bool,
) -> None:
    num_rows, row_tokens, num_joint_heads, num_channels = joint.shape
    kernel[num_joint_heads, _num_blocks(joint)](
        joint,
        cosine,
        sine,
        gains,
        *others,
        EPSILON,
        num_rows * row_tokens,
        row_tokens,
        len(gains),
        (num_joint_heads - len(gains)) // 2,
        num_channels,
        2 * cosine.size(1),
        BLOCK_TOKENS,
        next_power_of_2(num_channels),
    )


def _num_blocks(heads: Tensor) -> int:  # of tokens
    return -(-heads.size(0) * heads.size(1) // BLOCK_TOKENS)


@jit
def _norm_and_turn(
    joint: tl.pointer_type,
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    gains: tl.pointer_type,
    queries: tl.pointer_type,
    keys: tl.pointer_type,
    values: tl.pointer_type,
    epsilon: tl.constexpr,
    num_tokens: int,
    num_positions: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    head = tl.program_id(0)
    channels, partners, is_inside = _channels_and_partners(
        num_tokens, num_channels, num_turned, block_tokens, block_channels
    )
    cosines, sines = _cosines_and_sines(
        cosine, sine, is_inside, num_positions, num_turned, block_tokens, block_channels
    )
    num_joint_heads: tl.constexpr = num_heads + 2 * num_kv_heads
    starts = _starts(head, num_joint_heads, num_channels, block_tokens)
    own = load_wide(joint + starts + channels, is_inside)
    other = load_wide(joint + starts + partners, is_inside)
    scale = tl.rsqrt(tl.sum(own * own, axis=1) / num_channels + epsilon)
    gain = tl.load(gains + tl.minimum(head, num_heads - 1)).to(tl.float32)
    scale *= tl.where(head < num_heads, gain, 1.0)
    turned = scale[:, None] * (own * cosines + other * sines)
    places = _starts(head, num_heads, num_channels, block_tokens) + channels
    heads = head + 0 * channels  # the interpreter knows no masks of one element
    store_narrow(queries + places, turned, is_inside & (heads < num_heads))
    if num_kv_heads > 0:
        is_key = (heads >= num_heads) & (heads < num_heads + num_kv_heads)
        places = _starts(head - num_heads, num_kv_heads, num_channels, block_tokens) + channels
        store_narrow(keys + places, turned, is_inside & is_key)
        places -= num_kv_heads * num_channels
        store_narrow(values + places, own, is_inside & (heads >= num_heads + num_kv_heads))


@jit
def _norm_and_turn_backward(
    joint: tl.pointer_type,
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    gains: tl.pointer_type,
    to_queries: tl.pointer_type,
    to_keys: tl.pointer_type,
    to_values: tl.pointer_type,
    to_joint: tl.pointer_type,
    to_gains: tl.pointer_type,
    wants_gains: tl.constexpr,
    epsilon: tl.constexpr,
    num_tokens: int,
    num_positions: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    head = tl.program_id(0)
    channels, partners, is_inside = _channels_and_partners(
        num_tokens, num_channels, num_turned, block_tokens, block_channels
    )
    cosines, sines = _cosines_and_sines(
        cosine, sine, is_inside, num_positions, num_turned, block_tokens, block_channels
    )
    num_joint_heads: tl.constexpr = num_heads + 2 * num_kv_heads
    places = _starts(head, num_joint_heads, num_channels, block_tokens) + channels
    own = load_wide(joint + places, is_inside)
    scale = tl.rsqrt(tl.sum(own * own, axis=1) / num_channels + epsilon)[:, None]
    normed = own * scale
    heads = head + 0 * channels
    is_asked = is_inside & (heads < num_heads)
    starts = _starts(head, num_heads, num_channels, block_tokens)
    upstream = load_wide(to_queries + starts + channels, is_asked)
    other = load_wide(to_queries + starts + partners, is_asked)
    if num_kv_heads > 0:
        is_asked = is_inside & (heads >= num_heads) & (heads < num_heads + num_kv_heads)
        starts = _starts(head - num_heads, num_kv_heads, num_channels, block_tokens)
        upstream += load_wide(to_keys + starts + channels, is_asked)
        other += load_wide(to_keys + starts + partners, is_asked)
    to_normed = upstream * cosines - other * sines
    along = tl.sum(to_normed * normed, axis=1)
    if wants_gains:
        sums = to_gains + tl.program_id(1) * num_joint_heads + head
        tl.store(sums, tl.sum(along, axis=0))
    gain = tl.load(gains + tl.minimum(head, num_heads - 1)).to(tl.float32)
    gain = tl.where(head < num_heads, gain, 1.0)
    result = gain * scale * (to_normed - normed * (along / num_channels)[:, None])
    if num_kv_heads > 0:
        is_value = is_inside & (heads >= num_heads + num_kv_heads)
        starts -= num_kv_heads * num_channels
        result += load_wide(to_values + starts + channels, is_value)
    store_narrow(to_joint + places, result, is_inside)


@jit
def _channels_and_partners(
    num_tokens: int,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """A head's channels and their partners, and which of a program's are there."""
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    channels = tl.arange(0, block_channels)
    half: tl.constexpr = num_turned // 2
    is_turned, is_first = channels < num_turned, channels < half
    partners = tl.where(is_first, channels + half, tl.where(is_turned, channels - half, channels))
    is_inside = (tokens < num_tokens)[:, None] & (channels < num_channels)[None, :]
    return channels[None, :], partners[None, :], is_inside


@jit
def _starts(
    head: tl.tensor,
    num_heads: tl.constexpr,
    num_channels: tl.constexpr,
    block_tokens: tl.constexpr,
) -> tl.tensor:
    """Where a head of each of a program's tokens lies, among so many heads."""
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    return ((tokens.to(tl.int64) * num_heads + head) * num_channels)[:, None]


@jit
def _cosines_and_sines(
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    is_inside: tl.tensor,
    num_positions: int,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """How far a program's channels are turned; a pair's second channel gets minus the sine."""
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    channels = tl.arange(0, block_channels)[None, :]
    half: tl.constexpr = num_turned // 2
    pairs = tl.where(channels < half, channels, channels - half)
    angles = (tokens % num_positions)[:, None] * half + pairs
    is_turned = is_inside & (channels < num_turned)  # all rows have angles, but so none spills
    signs = tl.where(channels < half, 1.0, -1.0)
    return tl.load(cosine + angles, is_turned, 1.0), signs * tl.load(sine + angles, is_turned, 0.0)


# ---- trainer/kernels/flash_attention_4.py
# FlashAttention-4 over packed documents, where it is installed.


# Queries (N, H, D), keys and values (N, K, D), where documents begin (S,) int32, the longest one's
# length → (N, H, D).
FlashDocuments = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


def spans_of(boundaries: Tensor, longest: int) -> dict[str, Tensor | int]:
    """Where documents begin, as FlashAttention is told."""
    return {
        "cu_seqlens_q": boundaries,
        "cu_seqlens_k": boundaries,
        "max_seqlen_q": longest,
        "max_seqlen_k": longest,
    }


# ---- trainer/model/attention_kernels.py
# Who attends to whom, and who computes it.


# Queries (B, T, H, D), keys and values (B, T, K, D) → (B, T, H, D).
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def causal_attention(
    queries: Tensor,  # (B, T, H, D)
    keys: Tensor,  # (B, T, K, D)
    values: Tensor,  # (B, T, K, D)
    mask: Tensor | None = None,  # (B, 1, T, T) bool: who may see whom, if not all before
) -> Tensor:  # (B, T, H, D)
    """Each row by itself."""
    gathered = F.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=queries.size(2) != keys.size(2),
    )
    return gathered.transpose(1, 2)


def flash_for_rows(options: ModelOptions) -> FlashDocuments | None:
    """The FlashAttention that the recipe names; None where PyTorch is to choose for itself."""
    return flash_attention_3()


def flash_for_documents(options: ModelOptions) -> FlashDocuments | None:
    """The same for packed documents, or the next best; None where FlexAttention must do.

    In rows PyTorch's own choice is faster than its FlashAttention over documents: 2.7 ms for 4.2
    on an H100 (benchmarks/RESULTS.md). Within documents it has none.
    """
    return flash_for_rows(options) or flash_attention_3() or flash_attention_2()


def row_attention(options: ModelOptions, *, flash: FlashDocuments | None = None) -> Attention:
    """Each row by itself, by the means that the recipe names; PyTorch chooses where it has none.

    Args:
        options: name the means.
        flash: as `flash_for_rows` gives it.
    """
    if flash is not None:
        return partial(rows_as_documents, flash)
    return causal_attention


def rows_as_documents(
    flash: FlashDocuments | None,
    queries: Tensor,  # (B, T, H, D)
    keys: Tensor,  # (B, T, K, D)
    values: Tensor,  # (B, T, K, D)
) -> Tensor:  # (B, T, H, D)
    """Each row by itself, as a document of its own."""
    num_rows, num_tokens = queries.shape[:2]
    end = num_rows * num_tokens + 1
    boundaries = torch.arange(0, end, num_tokens, dtype=torch.int32, device=queries.device)
    attention = document_attention(boundaries, queries.shape[:2], num_tokens, flash=flash)
    return attention(queries, keys, values)


def document_attention(
    boundaries: Tensor,  # (S,) int32
    shape: tuple[int, ...],
    longest: int,
    *,
    flash: FlashDocuments | None = None,
) -> Attention:
    """Each document by itself; none goes from one row into the next.

    On GPUs with the FlashAttention that is given, or with FlexAttention; on CPUs with a plain mask.

    Args:
        boundaries: where documents begin in the rows end to end; ends with their total length,
            once or more often.
        shape: B and T.
        longest: the most tokens of a document.
        flash: as `flash_for_documents` gives it.
    """
    if boundaries.is_cuda and flash is not None:
        return partial(_end_to_end, partial(flash_documents, flash, boundaries, longest))
    numbers = document_numbers(boundaries, math.prod(shape))
    if boundaries.is_cuda:
        return partial(_end_to_end, partial(flex_documents, flex_mask(numbers)))
    return partial(causal_attention, mask=document_mask(numbers.view(shape)))


def document_numbers(
    boundaries: Tensor,  # (S,) int32
    num_tokens: int,
) -> Tensor:  # (N,) int64: the document that each token belongs to
    """Tokens of one document share a number."""
    places = torch.arange(num_tokens, device=boundaries.device, dtype=boundaries.dtype)
    return torch.searchsorted(boundaries, places, right=True)


def document_mask(numbers: Tensor) -> Tensor:  # (B, T) → (B, 1, T, T) bool: may row see column
    """Whether both belong to one document and the column does not come later."""
    return (numbers[:, None, :, None] == numbers[:, None, None, :]).tril()


def flex_mask(numbers: Tensor) -> BlockMask:  # (N,)
    """The same mask in FlexAttention's form."""

    def may_see(batch: Tensor, head: Tensor, own: Tensor, other: Tensor) -> Tensor:
        return (numbers[own] == numbers[other]) & (own >= other)

    num_tokens = numbers.numel()
    return create_block_mask(may_see, None, None, num_tokens, num_tokens, device=numbers.device)


def flex_documents(mask: BlockMask, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """FlexAttention under a mask, in one row."""
    gathered = flex_attention(
        queries.to(values.dtype).transpose(1, 2),
        keys.to(values.dtype).transpose(1, 2),
        values.transpose(1, 2),
        block_mask=mask,
        enable_gqa=True,
    )
    assert isinstance(gathered, Tensor)
    return gathered.transpose(1, 2)


def flash_documents(
    flash: FlashDocuments,
    boundaries: Tensor,  # (S,) int32
    longest: int,
    *heads: Tensor,  # (1, N, H, D) queries, (1, N, K, D) keys and values
) -> Tensor:  # (1, N, H, D)
    """FlashAttention over packed documents, in one row."""
    # Not one[0]: its gradient would be written into a tensor of zeros, that of a view is a view.
    queries, keys, values = (one.squeeze(0).to(heads[-1].dtype) for one in heads)
    return flash(queries, keys, values, boundaries, longest)[None]


@cache
def flash_attention_3() -> FlashDocuments | None:
    """Causal attention within each document; None where FlashAttention-3 is not installed."""
    if importlib.util.find_spec("flash_attn_interface") is None:
        return None
    library = importlib.import_module("flash_attn_interface")

    def documents(
        queries: Tensor, keys: Tensor, values: Tensor, boundaries: Tensor, longest: int
    ) -> Tensor:
        gathered: Tensor = library.flash_attn_varlen_func(
            queries, keys, values, causal=True, **spans_of(boundaries, longest)
        )
        return gathered

    return documents


@cache
def flash_attention_2() -> FlashDocuments | None:
    """Causal attention within each document by PyTorch's own means; None before PyTorch 2.11."""
    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        return None
    attend = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    known = inspect.signature(attend).parameters
    if "window_size" not in known:
        return None
    # Later versions want to be told that query heads share keys; earlier ones see it.
    shared = {"enable_gqa": True} if "enable_gqa" in known else {}

    def documents(
        queries: Tensor, keys: Tensor, values: Tensor, boundaries: Tensor, longest: int
    ) -> Tensor:
        spans = (boundaries, boundaries, longest, longest)
        gathered: Tensor = attend(queries, keys, values, *spans, window_size=(-1, 0), **shared)
        return gathered

    return documents


def _end_to_end(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    rows = [heads.flatten(0, 1)[None] for heads in (queries, keys, values)]
    return attention(*rows).view(queries.shape)


# ---- trainer/model/linear.py
# The linear layer that every block uses.


class CastedLinear(nn.Linear):
    """No bias; weights stay fp32 for the optimizer and are cast to the input's type at use."""

    def __init__(self, num_inputs: int, num_outputs: int, *, zero_init: bool = False) -> None:
        super().__init__(num_inputs, num_outputs, bias=False)
        self.zero_init = zero_init
        if zero_init:
            nn.init.zeros_(self.weight)

    def forward(self, inputs: Tensor, scale: Tensor | None = None) -> Tensor:
        return F.linear(inputs, self.used_weight(inputs.dtype, scale))

    def used_weight(
        self,
        dtype: torch.dtype,
        scale: Tensor | None = None,  # (outputs,)
    ) -> Tensor:
        """The weight as inputs of a type meet it; with a scale, times that of each output.

        Outputs would come to the same, but the scale's gradient needs no sum over tokens here.
        """
        weight = self.weight if scale is None else self.weight * scale[:, None]
        weight = weight.to(dtype)
        return weight


def product_type(inputs: Tensor) -> torch.dtype:
    """The type in which matrices are multiplied: bf16 on GPUs; most CPUs have no units for it."""
    return torch.bfloat16 if inputs.is_cuda else inputs.dtype


def rms_norm(inputs: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one; no weight, the type of the inputs.

    Under autocast PyTorch 2.11 and before, as public scripts had it, keep that type too; later ones
    make it fp32, and with it all that is computed from it.
    """
    return F.rms_norm(inputs, (inputs.size(-1),)).to(inputs.dtype)


# ---- trainer/model/rotary.py
# Rotary positions: each pair of channels is turned by an angle that grows with the position.


def rotary_tables(
    num_positions: int, rope_dims: int, base: float
) -> tuple[Tensor, Tensor]:  # (T, R/2) cosine, (T, R/2) sine, fp32
    """The turning angles' cosines and sines; channel pair i has wavelength 2π·base^(2i/R).

    In fp32: the public script casts its tables to bf16, which rounds positions above 256.
    """
    inverse_frequency = base ** (-torch.arange(0, rope_dims, 2, dtype=torch.float32) / rope_dims)
    angles = torch.outer(torch.arange(num_positions, dtype=torch.float32), inverse_frequency)
    return angles.cos(), angles.sin()


def apply_rotary(
    heads: Tensor,  # (B, T, H, D)
    cosine: Tensor,  # (T, R/2)
    sine: Tensor,  # (T, R/2)
) -> Tensor:  # (B, T, H, D)
    """Turn the first R channels of each head; a channel's partner is R/2 channels away."""
    cosine, sine = cosine.to(heads.dtype)[:, None], sine.to(heads.dtype)[:, None]
    num_turned = 2 * cosine.size(-1)
    first, second = heads[..., :num_turned].chunk(2, dim=-1)
    turned = (first * cosine + second * sine, second * cosine - first * sine)
    return torch.cat((*turned, heads[..., num_turned:]), dim=-1)


# ---- trainer/model/attention.py
# Causal attention with fewer key-value heads than query heads: the one core of all passes.


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What attention in all blocks of a forward pass shares."""

    cosine: Tensor  # (T, R/2)
    sine: Tensor  # (T, R/2)
    attention: Attention  # who attends to whom


class CausalSelfAttention(nn.Module):
    """Queries and keys are normed and turned; a learnt gain per head sets the sharpness."""

    def __init__(self, options: ModelOptions, layer: int) -> None:
        super().__init__()
        self.options = options
        self.layer = layer
        self.head_dim = options.head_dim
        self.has_xsa = options.xsa_last_n > 0 and layer >= options.num_layers - options.xsa_last_n
        self.c_q = CastedLinear(options.model_dim, options.model_dim)
        self.c_k = CastedLinear(options.model_dim, options.kv_dim)
        self.c_v = CastedLinear(options.model_dim, options.kv_dim)
        self.proj = CastedLinear(options.model_dim, options.model_dim, zero_init=True)
        self.q_gain = nn.Parameter(torch.full((options.num_heads,), options.qk_gain_init))
        self.gate = head_gate(options)
        self.attn_gate_w = None
        if self.gate is not None:
            self.attn_gate_w = nn.Parameter(self.gate.initial_weight(options.num_heads))

    def forward(
        self,
        inputs: Tensor,  # (B, T, C)
        around: Surroundings,
        *,
        deltas: BlockDeltas | None = None,
        scale: Tensor | None = None,  # (C,) of the outputs
    ) -> Tensor:  # (B, T, C)
        """What each position gathers from itself and the positions before it."""
        added = None if deltas is None or deltas.attention is None else deltas.attention(inputs)
        queries, keys, values = self._projected(inputs, around, added)
        gathered = around.attention(queries, keys, values)
        factors = None
        if self.gate is not None and self.attn_gate_w is not None:
            factors = self.gate.factors(self.attn_gate_w, inputs)
        merged: Tensor = self.proj(self._gated(gathered, values, factors).flatten(2), scale)
        return merged if added is None else plus(merged, added.out)

    def _projected(
        self,
        inputs: Tensor,  # (B, T, C)
        around: Surroundings,
        added: AttentionDeltas | None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H, D), (B, T, K, D) twice
        # Without gradients there is nothing to add up, and calibration watches the layers.
        is_joint = torch.is_grad_enabled()
        if is_joint and added is None and runs_kernels(inputs):
            return self._joint(inputs, around)
        projected = self.c_q(inputs), self.c_k(inputs), self.c_v(inputs)
        if added is not None:
            projected = added.onto_heads(projected)
        queries, keys, values = map(self._heads, projected)
        return *self._turned(queries, keys, around), values

    def _joint(
        self, inputs: Tensor, around: Surroundings
    ) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H, D), (B, T, K, D) twice
        inputs = inputs.to(product_type(inputs))
        weights = [layer.used_weight(inputs.dtype) for layer in (self.c_q, self.c_k, self.c_v)]
        joint = self._heads(F.linear(inputs, torch.cat(weights)))
        return fused_heads_of_joint(joint, around.cosine, around.sine, self.q_gain)

    def _turned(
        self,
        queries: Tensor,  # (B, T, H, D)
        keys: Tensor,  # (B, T, K, D)
        around: Surroundings,
    ) -> tuple[Tensor, Tensor]:
        tables = around.cosine, around.sine
        if runs_kernels(queries):
            plain_gain = torch.ones_like(self.q_gain[: keys.size(2)])
            return (
                fused_normed_and_turned(queries, *tables, self.q_gain),
                fused_normed_and_turned(keys, *tables, plain_gain),
            )
        queries = apply_rotary(rms_norm(queries), *tables)
        keys = apply_rotary(rms_norm(keys), *tables)
        return queries * self.q_gain.to(queries.dtype)[:, None], keys

    def _gated(
        self,
        gathered: Tensor,  # (B, T, H, D)
        values: Tensor,  # (B, T, K, D)
        factors: Tensor | None,  # (B, T, H)
    ) -> Tensor:  # (B, T, H, D)
        if self.has_xsa and runs_kernels(gathered):
            if factors is None:
                factors = torch.ones_like(gathered[..., 0])
            return fused_gated_without_own_value(gathered, values, factors)
        if self.has_xsa:
            gathered = without_own_value(gathered, values)
        return gathered if factors is None else gathered * factors[..., None]

    def _heads(self, projected: Tensor) -> Tensor:  # (B, T, heads * D) → (B, T, heads, D)
        return projected.view(*projected.shape[:-1], -1, self.head_dim)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadGate:
    """A factor on each head's output: height * sigmoid(scale * W x), x the first channels."""

    window: int
    init_std: float
    scale: float = 1.0
    height: float = 1.0

    def initial_weight(self, num_heads: int) -> Tensor:  # (H, W)
        return torch.randn(num_heads, self.window) * self.init_std

    def factors(
        self,
        weight: Tensor,  # (H, W)
        inputs: Tensor,  # (B, T, C)
    ) -> Tensor:  # (B, T, H)
        seen = inputs[..., : self.window]
        return self.height * torch.sigmoid(self.scale * F.linear(seen, weight.to(seen.dtype)))


def head_gate(options: ModelOptions) -> HeadGate | None:
    """The gate that the recipe asks for, one at most."""
    return HeadGate(window=options.model_dim, init_std=options.gated_attn_init_std)


# ---- trainer/kernels/leaky_relu_squared/triton_kernel.py
# Two matrix products with the activation in the epilogue of the first (#1105, #1530).


# Tiles small enough for two programs on a processor, one computing while the other writes.
TILE_ROWS, TILE_COLUMNS = 128, 128  # of an output tile
TILE_INNER_BYTES = 128  # of a row of either input's tile
TILE_WARPS, TILE_STAGES = 4, 3
PROGRAMS_PER_PROCESSOR = 2


def fused_feed_forward(
    inputs: Tensor,  # (N, C)
    widen: Tensor,  # (H, C) of the same type
    narrow: Tensor,  # (C, H) of the same type
    slope: float,
) -> Tensor:  # (N, C)
    """leaky_relu(inputs widenᵀ)² narrowᵀ, differentiable; C and H fill multiples of 16 bytes."""
    outputs: Tensor = _FusedFeedForward.apply(  # type: ignore[no-untyped-call]
        inputs.contiguous(), widen.contiguous(), narrow.contiguous(), slope
    )
    return outputs


class _FusedFeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, inputs: Tensor, widen: Tensor, narrow: Tensor, slope: float) -> Tensor:
        wide = inputs.new_empty(inputs.size(0), widen.size(0))
        hidden = torch.empty_like(wide)
        _product_and_square(inputs, widen, (wide, hidden), slope, is_backward=False)
        wants_inputs, wants_widen, wants_narrow, _ = ctx.needs_input_grad
        ctx.save_for_backward(
            inputs if wants_widen else None,
            widen if wants_inputs else None,
            narrow,
            wide if wants_inputs or wants_widen else None,
            hidden if wants_narrow else None,
        )
        ctx.number = slope
        return hidden @ narrow.T

    @staticmethod
    def backward(
        ctx: Saved,
        upstream: Tensor,  # (N, C)
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, widen, narrow, wide, hidden = ctx.saved_tensors
        wants_inputs, wants_widen, wants_narrow, _ = ctx.needs_input_grad
        upstream = upstream.contiguous()
        to_inputs, to_widen, to_narrow = None, None, None
        if wants_inputs or wants_widen:
            to_wide = torch.empty_like(wide)
            _product_and_square(upstream, narrow, (wide, to_wide), ctx.number, is_backward=True)
            to_inputs = to_wide @ widen if wants_inputs else None
            to_widen = to_wide.T @ inputs if wants_widen else None
        if wants_narrow:
            to_narrow = upstream.T @ hidden
        return to_inputs, to_widen, to_narrow, None


def _product_and_square(
    left: Tensor,  # (N, C)
    right: Tensor,  # (H, C) forward, (C, H) backward
    outputs: tuple[Tensor, Tensor],  # (N, H) each
    slope: float,
    *,
    is_backward: bool,
) -> None:
    """Write left rightᵀ and its activation; or left right times the activation's derivative.

    Backward, the first of the outputs is the argument of the activation, and only read.
    All matrices are contiguous.
    """
    wide, written = outputs
    num_rows, num_columns = wide.shape
    num_tiles = -(-num_rows // TILE_ROWS) * -(-num_columns // TILE_COLUMNS)
    num_programs = min(num_tiles, PROGRAMS_PER_PROCESSOR * num_processors(left))
    inner = TILE_INNER_BYTES // left.element_size()
    half_a_tile = (TILE_ROWS, TILE_COLUMNS // 2)
    _matmul_leaky_relu_squared[(num_programs,)](
        matrix_of_tiles(left, TILE_ROWS, inner),
        matrix_of_tiles(right, *((inner, TILE_COLUMNS) if is_backward else (TILE_COLUMNS, inner))),
        matrix_of_tiles(wide, *half_a_tile),
        matrix_of_tiles(written, *half_a_tile),
        slope,
        num_rows,
        num_columns,
        left.size(1),
        is_backward,
        TILE_ROWS,
        TILE_COLUMNS,
        inner,
        num_warps=TILE_WARPS,
        num_stages=TILE_STAGES,
    )


@jit
def _matmul_leaky_relu_squared(
    left: tl.tensor_descriptor,
    right: tl.tensor_descriptor,
    wide: tl.tensor_descriptor,
    written: tl.tensor_descriptor,
    slope: tl.constexpr,
    num_rows: int,
    num_columns: tl.constexpr,
    num_inner: tl.constexpr,
    is_backward: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
) -> None:
    # Neighbours share rows of the left side; all of the right side stays in the cache.
    num_column_blocks: tl.constexpr = (num_columns + block_columns - 1) // block_columns
    num_tiles = tl.cdiv(num_rows, block_rows) * num_column_blocks
    # Backward, the argument of the activation is waited for: one loop of two gains nothing there.
    for tile in tl.range(tl.program_id(0), num_tiles, tl.num_programs(0), flatten=not is_backward):
        row, column = (
            tile // num_column_blocks * block_rows,
            tile % num_column_blocks * block_columns,
        )
        total = tl.zeros((block_rows, block_columns), dtype=tl.float32)
        for start in range(0, num_inner, block_inner):
            own = left.load([row, start])
            if is_backward:
                other = right.load([start, column])
            else:
                other = right.load([column, start]).T
            total = tl.dot(own, other, total, input_precision="ieee")
        # Half by half, so that less of the shared memory is kept for what goes out.
        halves = total.reshape(block_rows, 2, block_columns // 2).permute(0, 2, 1)
        first, second = halves.split()
        _finish(first, wide, written, row, column, slope, is_backward)
        _finish(second, wide, written, row, column + block_columns // 2, slope, is_backward)


@jit
def _finish(
    total: tl.tensor,
    wide: tl.tensor_descriptor,
    written: tl.tensor_descriptor,
    row: int,
    column: int,
    slope: tl.constexpr,
    is_backward: tl.constexpr,
) -> None:
    if is_backward:
        argument = wide.load([row, column]).to(tl.float32)
        factor = tl.where(argument > 0, 2.0, 2.0 * slope * slope)
        written.store([row, column], (total * factor * argument).to(written.dtype))
    else:
        bent = tl.where(total > 0, total, slope * total)
        wide.store([row, column], total.to(wide.dtype))
        written.store([row, column], (bent * bent).to(written.dtype))


# ---- trainer/model/feed_forward.py
# The feed-forward layer with a squared activation. B batch, T tokens, C channels.


class FeedForward(nn.Module):
    """Widen, bend, square, narrow; the second matrix starts at zero: a block starts as nothing.

    The bend is a leaky relu: with slope 0 the square is relu², with 0.5 it is x² or x²/4 (#493).
    """

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.options = options
        self.slope = options.leaky_relu_slope
        self.fc = CastedLinear(options.model_dim, options.hidden_dim)
        self.proj = CastedLinear(options.hidden_dim, options.model_dim, zero_init=True)

    def forward(
        self,
        inputs: Tensor,  # (B, T, C)
        *,
        scale: Tensor | None = None,  # (C,) of the outputs
    ) -> Tensor:  # (B, T, C)
        # Without gradients there is nothing to save, and calibration watches the layers.
        if torch.is_grad_enabled() and moves_tiles(inputs):
            return self._fused(inputs.to(product_type(inputs)), scale)
        widened = self.fc(inputs)
        bent = F.leaky_relu(widened, self.slope) if self.slope else F.relu(widened)
        narrowed: Tensor = self.proj(bent.square(), scale)
        return narrowed

    def _fused(self, inputs: Tensor, scale: Tensor | None) -> Tensor:  # (B, T, C) → (B, T, C)
        widen = self.fc.used_weight(inputs.dtype)
        narrow = self.proj.used_weight(inputs.dtype, scale)
        return fused_feed_forward(inputs.flatten(0, 1), widen, narrow, self.slope).view_as(inputs)


# ---- trainer/model/block.py
# A block of the transformer.


class Block(nn.Module):
    """Attention and feed-forward; the embedding is mixed in again before them."""

    def __init__(self, options: ModelOptions, layer: int) -> None:
        super().__init__()
        self.options = options
        self.layer = layer
        self.attn = CausalSelfAttention(options, layer)
        self.mlp = FeedForward(options)
        self.attn_scale = nn.Parameter(torch.ones(options.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(options.model_dim))
        keep, add = torch.ones(options.model_dim), torch.zeros(options.model_dim)
        self.resid_mix = nn.Parameter(torch.stack((keep, add)))
        # A tensor where code is compiled for all layers alike; else the number is a part of it.
        self.norm_scale: float | Tensor | None = (layer + 1) ** -0.5

    def forward(
        self,
        stream: Tensor,  # (B, T, C) residual stream
        embedded: Tensor,  # (B, T, C) what the stream began as
        around: Surroundings,
        *,
        deltas: BlockDeltas | None = None,
    ) -> Tensor:  # (B, T, C)
        """The stream after this block; in parallel, both sublayers read what came in (#1412)."""
        mixed, normed = self.mix(stream, embedded)
        attended = mixed + self.attend(normed, around, deltas=deltas)
        return attended + self.feed(attended, deltas=deltas)

    def mix(self, stream: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:  # (B, T, C) each
        """The stream with the embedding mixed in again, and its norm, from which to attend."""
        keep, add = self.resid_mix.to(stream.dtype).unbind()
        mixed = keep * stream + add * embedded
        return mixed, self._normed(mixed)

    def attend(
        self, normed: Tensor, around: Surroundings, *, deltas: BlockDeltas | None = None
    ) -> Tensor:  # (B, T, C)
        """What attention adds to a stream."""
        if deltas is None:
            folded: Tensor = self.attn(normed, around, scale=self.attn_scale)
            return folded
        gathered: Tensor = self.attn(normed, around, deltas=deltas)
        return self.attn_scale.to(gathered.dtype) * gathered

    def feed(self, stream: Tensor, *, deltas: BlockDeltas | None = None) -> Tensor:  # (B, T, C)
        """What the feed-forward layer adds to a stream."""
        normed = self._normed(stream)
        if deltas is None:
            folded: Tensor = self.mlp(normed, scale=self.mlp_scale)
            return folded
        fed: Tensor = self.mlp(normed)
        if deltas is not None and deltas.mlp is not None:
            fed = fed + deltas.mlp(normed)
        return self.mlp_scale.to(stream.dtype) * fed

    def _normed(self, stream: Tensor) -> Tensor:
        normed = rms_norm(stream)
        if isinstance(self.norm_scale, Tensor):  # in fp32, as a number meets it
            return (normed.float() * self.norm_scale).to(normed.dtype)
        return normed if self.norm_scale is None else normed * self.norm_scale


# ---- trainer/model/initialization.py
# Where weights start, when a recipe wants something else than the baseline.


def orthogonalize_(model: nn.Module) -> None:
    """Make every linear layer's matrix orthogonal that does not start at zero, in place (#65)."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and not getattr(module, "zero_init", False):
            nn.init.orthogonal_(module.weight)


# ---- trainer/model/lanes.py
# Two residual streams side by side: attention reads the first, feed-forward the second.


KEEP_INIT = 1.1  # of a lane, at each block (#1529)
MERGE_INIT = 0.5

Lanes = tuple[Tensor, Tensor]  # (B, T, C) each


class RoutedLanes(nn.Module):
    """Both sublayers add to both lanes, each with a learnt weight (#1204, in the form of #1529)."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        # Of all layers, as published, though only those from parallel_start_layer on use theirs.
        self.parallel_post_lambdas = nn.Parameter(torch.ones(options.num_layers, 2, 2))
        self.parallel_resid_lambdas = nn.Parameter(torch.full((options.num_layers, 2), KEEP_INIT))

    def of(self, layer: int) -> tuple[Tensor, Tensor]:  # (2,), (2, 2)
        """A layer's weights: of each lane, and of sublayer i into lane j."""
        return self.parallel_resid_lambdas[layer], self.parallel_post_lambdas[layer]

    @staticmethod
    def use(
        block: Block,
        lanes: Lanes,
        embedded: Tensor,  # (B, T, C)
        around: Surroundings,
        *weights: Tensor,  # as `of` gives them
        deltas: BlockDeltas | None = None,
    ) -> Lanes:
        """Lane i becomes keep_i * lane i + from_attention_i * A + from_feed_forward_i * M."""
        _, normed = block.mix(lanes[0], embedded)
        attended = block.attend(normed, around, deltas=deltas)
        fed = block.feed(lanes[1], deltas=deltas)
        keep, post = (weight.to(embedded.dtype) for weight in weights)
        from_attention, from_feed_forward = post.unbind()
        first, second = (
            keep[index] * lane + from_attention[index] * attended + from_feed_forward[index] * fed
            for index, lane in enumerate(lanes)
        )
        return first, second

    def open(self, stream: Tensor, with_skip: Tensor) -> Lanes:
        """The lanes before their first block; a skip goes into the first alone."""
        return with_skip, stream

    def join(self, lanes: Lanes) -> Tensor:  # (B, T, C)
        """One stream again."""
        return 0.5 * (lanes[0] + lanes[1])


class MergedLanes(nn.Module):
    """Each sublayer adds to its own lane; a learnt share of each makes the final stream (#1477)."""

    def __init__(self) -> None:
        super().__init__()
        self.lane_merge = nn.Parameter(torch.tensor(MERGE_INIT))

    def of(self, layer: int) -> tuple[()]:
        """No weights but those of all layers."""
        return ()

    @staticmethod
    def use(
        block: Block,
        lanes: Lanes,
        embedded: Tensor,  # (B, T, C)
        around: Surroundings,
        *,
        deltas: BlockDeltas | None = None,
    ) -> Lanes:
        """Both lanes after a block."""
        mixed, normed = block.mix(lanes[0], embedded)
        first = mixed + block.attend(normed, around, deltas=deltas)
        return first, lanes[1] + block.feed(lanes[1], deltas=deltas)

    def open(self, stream: Tensor, with_skip: Tensor) -> Lanes:
        """The lanes before their first block; the first skip goes into both."""
        return with_skip, with_skip

    def join(self, lanes: Lanes) -> Tensor:  # (B, T, C)
        """One stream again."""
        share = self.lane_merge.to(lanes[0].dtype)
        return share * lanes[0] + (1 - share) * lanes[1]


def two_lanes(options: ModelOptions) -> RoutedLanes | MergedLanes | None:
    """What the recipe asks for, if it does."""
    if options.parallel_start_layer == 0:
        return None
    return RoutedLanes(options)


# ---- trainer/model/memory.py
# What attention keeps of tokens that were read, so that the next one alone is computed.


EMBEDDED_BEFORE = 2  # tokens that an embedding looks back on: mixed with one that saw its own


class Memory:
    """Keys and values of rows of like length: read first in one go, then token by token."""

    def __init__(self, most_tokens: int) -> None:
        self.most_tokens = most_tokens
        self.num_read = 0
        self.last_ids: Tensor | None = None  # (B, 1 or 2) int64
        self._held: list[tuple[Tensor, Tensor]] = []  # (B, most, K, D) each, in order of use
        self._place = 0

    def attend(
        self,
        queries: Tensor,  # (B, T, H, D)
        keys: Tensor,  # (B, T, K, D)
        values: Tensor,  # (B, T, K, D)
    ) -> Tensor:  # (B, T, H, D)
        """Attention of the new tokens, all of the first reading or one, to all before."""
        if self._place == len(self._held):
            rows, _, heads, channels = keys.shape
            shape = (rows, self.most_tokens, heads, channels)
            self._held.append((keys.new_empty(shape), values.new_empty(shape)))
        held_keys, held_values = self._held[self._place]
        self._place += 1
        end = self.num_read + keys.size(1)
        held_keys[:, self.num_read : end] = keys
        held_values[:, self.num_read : end] = values
        if self.num_read == 0:
            return causal_attention(queries, keys, values)
        gathered = F.scaled_dot_product_attention(
            queries.transpose(1, 2),
            held_keys[:, :end].transpose(1, 2),
            held_values[:, :end].transpose(1, 2),
            enable_gqa=queries.size(2) != keys.size(2),
        )
        return gathered.transpose(1, 2)

    def with_last(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T and up to 2 more) int64
        """The new tokens behind those before them that some embeddings look at."""
        return input_ids if self.last_ids is None else torch.cat((self.last_ids, input_ids), dim=1)

    def advance(self, input_ids: Tensor) -> None:
        """A pass over the new tokens (B, T) is over."""
        self._place = 0
        self.num_read += input_ids.size(1)
        self.last_ids = self.with_last(input_ids)[:, -EMBEDDED_BEFORE:]


# ---- trainer/model/topology.py
# The order in which a forward pass goes through the blocks, as data.


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One use of a block; a looped block is used several times."""

    layer: int  # the block
    keeps: bool  # its output is put on the stack of skips
    skip: int | None  # row of the skip weights with which the top of that stack comes back
    has_two_lanes: bool  # attention and feed-forward work on a stream each


@cache  # the same steps again are the same object, so that compiled code knows them
def topology(options: ModelOptions, *, looped: bool) -> tuple[Step, ...]:
    """The steps of a forward pass: a U-Net over depth, whose first half keeps its outputs.

    Looped, the blocks from `loop_start` to `loop_end` are repeated `num_loops` times: with 11
    blocks, 3 to 5 and 2 the order is 0 1 2 3 4 5 3 4 | 5 3 4 5 6 7 8 9 10 (#1493).
    """
    layers = looped_layers(options) if looped else list(range(options.num_layers))
    half = len(layers) // 2
    lane_start = options.parallel_start_layer
    return tuple(
        Step(
            layer=layer,
            keeps=place < half,
            skip=place - half if half <= place < 2 * half else None,
            has_two_lanes=place >= half and 0 < lane_start <= layer,
        )
        for place, layer in enumerate(layers)
    )


def looped_layers(options: ModelOptions) -> list[int]:
    """The blocks in the order of their use, with repetitions."""
    if options.num_loops == 0:
        return list(range(options.num_layers))
    before, after = range(options.loop_start), range(options.loop_end + 1, options.num_layers)
    loop = range(options.loop_start, options.loop_end + 1)
    return [*before, *[*loop] * (1 + options.num_loops), *after]


def num_skips(options: ModelOptions) -> int:
    """Rows of the skip weights: what the longest order needs."""
    return len(looped_layers(options)) // 2


# ---- trainer/model/transformer.py
# The transformer, top to bottom.


Result = TypeVar("Result")


class Carrier(Protocol):
    """Carries out a part of a forward pass: a block, a skip, the head."""

    def __call__(self, part: Callable[..., Result], *inputs: object, **more: object) -> Result: ...


def carried_out(part: Callable[..., Result], *inputs: object, **more: object) -> Result:
    """What a part of a forward pass makes of its inputs."""
    return part(*inputs, **more)


class GPT(nn.Module):
    """Token ids and targets in, the loss of each target in nats out.

    The blocks are gone through in the order of `topology`: its first half leaves its outputs on a
    stack, its second half takes them back, last in, first out, each channel with a learnt weight
    (a U-Net over depth).
    """

    cosine: Tensor  # (T, R/2)
    sine: Tensor  # (T, R/2)

    def __init__(self, options: ModelOptions, num_positions: int) -> None:
        super().__init__()
        self.options = options
        self.row_flash = flash_for_rows(options)
        self.document_flash = self.row_flash  # whoever packs rows asks for the best there is
        self.softcap = options.logit_softcap
        self.tok_emb = nn.Embedding(options.vocab_size, options.model_dim)
        self.skip_weights = nn.Parameter(torch.ones(num_skips(options), options.model_dim))
        self.skip_gates = None
        self.skip_gates = nn.Parameter(torch.zeros(num_skips(options), options.model_dim))
        self.blocks = nn.ModuleList(Block(options, layer) for layer in range(options.num_layers))
        self.lanes = two_lanes(options)
        self.through: Carrier = carried_out
        self._initialize()
        self.use_positions(num_positions)
        self.use_loops(wanted=True)

    def _initialize(self) -> None:
        options = self.options
        nn.init.normal_(self.tok_emb.weight, std=options.tied_embed_init_std)
        orthogonalize_(self)

    def use_positions(self, num_positions: int, longest_document: int = 0) -> None:
        """Be ready for rows of up to so many tokens, turned as that length wants it.

        Args:
            num_positions: the most tokens of a row.
            longest_document: the most tokens of a document in packed rows; 0: of a row.
        """
        options = self.options
        self.longest_document = longest_document or num_positions
        rope_dims = options.rope_dims or options.head_dim
        base = options.rope_base
        device = self.tok_emb.weight.device
        for name, table in zip(
            ("cosine", "sine"), rotary_tables(num_positions, rope_dims, base), strict=True
        ):
            self.register_buffer(name, table.to(device), persistent=False)

    def use_loops(self, *, wanted: bool) -> None:
        """Go through looped blocks again and again, or through every block once."""
        self.is_looped = self.options.num_loops > 0 and wanted
        self.steps = topology(self.options, looped=self.is_looped)

    def forward(
        self,
        input_ids: Tensor,  # (B, T) int64
        target_ids: Tensor,  # (B, T) int64, or of scored inputs alone
        *,
        boundaries: Tensor | None = None,  # (S,) int32: of documents, if rows are not one each
        deltas: Deltas | None = None,  # what adapters add
        scored: Tensor | None = None,  # (L,) int64: which inputs' targets are asked for, if not all
    ) -> Tensor:  # (B * T,) fp32, or (B * L,)
        """The cross-entropy of each target, in nats."""
        stream = self.final_stream(input_ids, boundaries=boundaries, deltas=deltas)
        return self.through(self._losses, stream, target_ids, scored, deltas=deltas)

    def _losses(
        self,
        stream: Tensor,  # (B, T, C)
        target_ids: Tensor,  # (B, T) int64, or (B, L)
        scored: Tensor | None,  # (L,) int64
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B * T,) fp32, or (B * L,)
        if scored is not None:
            stream = stream.index_select(1, scored)
        if deltas is None and runs_kernels(stream):
            head = self.tok_emb.weight
            rows = stream.flatten(0, 1).to(product_type(stream))
            return head_losses(rows, head.to(rows.dtype), target_ids.flatten(), self.softcap)
        logits = self._logits(stream, deltas=deltas)
        return F.cross_entropy(logits, target_ids.flatten(), reduction="none")

    def read_on(
        self,
        input_ids: Tensor,  # (B, T) int64: what comes behind the tokens that the memory holds
        memory: Memory,
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B, V) fp32
        """The log-probabilities of each row's next token."""
        first, end = memory.num_read, memory.num_read + input_ids.size(1)
        around = Surroundings(
            cosine=self.cosine[first:end],
            sine=self.sine[first:end],
            attention=memory.attend,
        )
        embedded = self._embed(memory.with_last(input_ids))[:, first - end :]
        stream = self._through_blocks(embedded, around, deltas=deltas)
        memory.advance(input_ids)
        return self._logits(stream[:, -1:], deltas=deltas).log_softmax(dim=-1)

    def _logits(
        self,
        stream: Tensor,  # (B, T, C)
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B * T, V) fp32
        head = self.tok_emb.weight
        raw = F.linear(stream.flatten(0, 1), head.to(stream.dtype))
        if deltas is not None and deltas.head is not None:
            raw = raw + deltas.head(stream).flatten(0, 1)
        bounded = self.softcap * torch.tanh(raw / self.softcap)
        return bounded.float()

    def final_stream(
        self,
        input_ids: Tensor,  # (B, T) int64
        *,
        boundaries: Tensor | None = None,  # (S,) int32
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B, T, C)
        """What the head sees."""
        around = self._surroundings(input_ids, boundaries=boundaries)
        return self._through_blocks(self._embed(input_ids), around, deltas=deltas)

    def _through_blocks(
        self,
        embedded: Tensor,  # (B, T, C)
        around: Surroundings,
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B, T, C)
        stream = embedded
        skips: list[Tensor] = []
        lanes: Lanes | None = None
        for place, step in enumerate(self.steps):
            block = self.blocks[step.layer]
            own_deltas = None if deltas is None else deltas.blocks[place]
            before_skip = stream
            if step.skip is not None:
                stream = self.through(with_skip, stream, skips.pop(), *self._skip_rows(step.skip))
            if self.lanes is not None and step.has_two_lanes:
                lanes = (stream, lanes[1]) if lanes else self.lanes.open(before_skip, stream)
                inputs = block, lanes, embedded, around, *self.lanes.of(step.layer)
                lanes = self.through(self.lanes.use, *inputs, deltas=own_deltas)
                stream = lanes[0]
            else:
                stream = self.through(block, stream, embedded, around, deltas=own_deltas)
            if step.keeps:
                skips.append(stream)
        if self.lanes is not None and lanes is not None:
            stream = self.lanes.join(lanes)
        return rms_norm(stream)

    def _surroundings(self, input_ids: Tensor, *, boundaries: Tensor | None = None) -> Surroundings:
        num_tokens = input_ids.size(1)
        attention = row_attention(self.options, flash=self.row_flash)
        if boundaries is not None:
            attention = document_attention(
                boundaries, input_ids.shape, self.longest_document, flash=self.document_flash
            )
        return Surroundings(
            cosine=self.cosine[:num_tokens],
            sine=self.sine[:num_tokens],
            attention=attention,
        )

    def _skip_rows(self, row: int) -> tuple[Tensor, Tensor | None]:  # (C,) each
        gates = self.skip_gates
        return self.skip_weights[row], None if gates is None else gates[row]

    def _embed(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T, C)
        embedded = self.tok_emb(input_ids)
        embedded = embedded.to(product_type(embedded))
        return rms_norm(embedded)


def with_skip(
    stream: Tensor,  # (B, T, C)
    skip: Tensor,  # (B, T, C) what an earlier block left
    weight: Tensor,  # (C,)
    gate: Tensor | None,  # (C,)
) -> Tensor:  # (B, T, C)
    """The stream with a skip added, or mixed in by a gate's share."""
    weighted = weight.to(stream.dtype) * skip
    if gate is None:
        return stream + weighted
    return torch.lerp(weighted, stream, torch.sigmoid(gate.to(stream.dtype)))


# ---- trainer/evaluation/adapters.py
# Low-rank adapters: what a document adds to the model's layers, and learns.


ADAM_EPS = 1e-10
ADAPTER_SEED = 0
POWER_ITERATIONS = 8  # enough where it matters: what has grown far stands out from the rest


def fresh_norm(rank: int, num_inputs: int) -> float:
    """The largest singular value that a fresh A has on average.

    By Marchenko and Pastur's law, (√inputs + √rank) standard deviations of its entries, which are
    uniform in ±1/√inputs.
    """
    return float((1.0 + (rank / num_inputs) ** 0.5) / 3.0**0.5)


def zeros_as_gradients_come(
    num_documents: int, num_outputs: int, num_inputs: int, device: torch.device
) -> Tensor:  # (documents, outputs, inputs), the outputs side by side in memory
    """A factor in the order in which the gradient of x Wᵀ is made: else each is copied into it."""
    return torch.zeros(num_documents, num_inputs, num_outputs, device=device).transpose(1, 2)


class Adapter:
    """A low-rank addition to a layer, one for each document: x ↦ scale (x Aᵀ) Bᵀ, at first 0.

    Batches of any size use the same memory: as much of it as they have documents. A may lie beside
    that of other adapters which see the same inputs.
    """

    down: Tensor  # A: (B, K, inputs)
    up: Tensor  # B: (B, outputs, K)

    def __init__(self, all_down: Tensor, num_outputs: int, options: EvaluationOptions) -> None:
        most, self.rank, self.num_inputs = all_down.shape
        self.scale = options.ttt_lora_alpha / self.rank if options.ttt_lora_alpha else 1.0
        self._all_down = all_down
        self._all_up = zeros_as_gradients_come(most, num_outputs, self.rank, all_down.device)

    def __call__(self, inputs: Tensor) -> Tensor:  # (B, T, inputs) → (B, T, outputs)
        return self.widened(inputs @ self.down.transpose(1, 2))

    def widened(self, narrow: Tensor) -> Tensor:  # x Aᵀ (B, T, K) → (B, T, outputs)
        """The second half of the way."""
        added = narrow @ self.up.transpose(1, 2)
        return added if self.scale == 1.0 else added * self.scale

    def renew(self, random: torch.Generator) -> None:
        """A uniform in ±1/√inputs, the same for all documents."""
        bound = self.num_inputs**-0.5
        initial = torch.empty(self._all_down.shape[1:]).uniform_(-bound, bound, generator=random)
        self._all_down.copy_(initial.expand_as(self._all_down))

    def growth(self) -> Tensor:  # (B,)
        """The largest singular value of each A, over what that of a fresh one is on average.

        No input's (x Aᵀ), and so no step of B, is longer than this many times that of the input
        which a fresh A stretches most. Found by power iteration, from below.
        """
        down = self._all_down
        inputs = down[:, :1]  # (B, 1, inputs)
        for _ in range(POWER_ITERATIONS):
            inputs = F.normalize(inputs @ down.transpose(1, 2) @ down, dim=-1)
        stretched = inputs @ down.transpose(1, 2)  # (B, 1, K)
        largest: Tensor = torch.linalg.vector_norm(stretched, dim=(1, 2))
        return largest / fresh_norm(*down.shape[1:])

    def forget(self) -> None:
        """B zero."""
        self._all_up.zero_()

    def keep(self, down: Tensor) -> None:
        """Be the adapter of the first documents, as many as this part of A has."""
        self.down = down
        self.up = self._all_up[: len(down)].detach().requires_grad_()

    def shrink(self, documents: slice, factor: float) -> None:
        """Multiply A of some documents."""
        self._all_down[documents].mul_(factor)


class AdapterGroup:
    """Adapters that see the same inputs, by the names of what they are added to.

    Their As are one tensor: inputs are read once, and by one product, on the way there and back.
    """

    def __init__(
        self, layers: Mapping[str, Tensor], options: EvaluationOptions, device: torch.device
    ) -> None:  # layers: name → a weight (outputs, inputs) of its shape
        rank, num_inputs = options.ttt_lora_rank, next(iter(layers.values())).size(1)
        self._all_down = zeros_as_gradients_come(
            options.ttt_batch_size, rank * len(layers), num_inputs, device
        )
        parts = self._all_down.chunk(len(layers), dim=1)
        self.adapters = {
            name: Adapter(part, weight.size(0), options)
            for part, (name, weight) in zip(parts, layers.items(), strict=True)
        }

    def keep(self, num_documents: int) -> None:
        """Be the adapters of the first so many documents."""
        self.down = self._all_down[:num_documents].detach().requires_grad_()
        for index, adapter in enumerate(self.adapters.values()):
            own = slice(index * adapter.rank, (index + 1) * adapter.rank)
            adapter.keep(self.down if len(self.adapters) == 1 else self.down[:, own])

    def onto_attention(self, inputs: Tensor) -> AttentionDeltas:  # (B, T, inputs)
        """What each of them adds."""
        narrow = (inputs @ self.down.transpose(1, 2)).chunk(len(self.adapters), dim=-1)
        return AttentionDeltas(
            **{
                name: adapter.widened(part)
                for part, (name, adapter) in zip(narrow, self.adapters.items(), strict=True)
            }
        )

    def parts(self) -> list[Tensor]:
        """What an optimizer moves."""
        return [self.down, *(adapter.up for adapter in self.adapters.values())]


class Adapters:
    """All adapters of a batch of documents, with the optimizer that moves them.

    What they and the optimizer know lies in the same memory for all batches.
    """

    def __init__(self, model: GPT, options: EvaluationOptions) -> None:
        self.options = options
        self.device = model.tok_emb.weight.device
        self.groups: list[AdapterGroup] = []
        self.num_begun = self.num_documents = self.steps_missed = 0
        head = model.tok_emb.weight
        self.deltas = Deltas(
            blocks=[self._of_block(model, f"blocks.{step.layer}") for step in model.steps],
            head=self._alone(head),
        )
        self.all = [adapter for group in self.groups for adapter in group.adapters.values()]
        for group in self.groups:
            group.keep(options.ttt_batch_size)
        self._moments = [self._moments_of(part) for part in self.parts()]
        self.renew()
        self.begin(options.ttt_batch_size)

    def _of_block(self, model: GPT, block: str) -> BlockDeltas:
        """What the recipe adds in one use of a block; the feed-forward layer is gone round."""
        queries = model.get_parameter(f"{block}.attn.c_q.weight")  # as wide at both ends
        layers = {}
        layers["query"] = queries
        layers["key"] = model.get_parameter(f"{block}.attn.c_k.weight")
        layers["value"] = model.get_parameter(f"{block}.attn.c_v.weight")
        layers["out"] = queries
        return BlockDeltas(
            attention=self._new_group(layers).onto_attention if layers else None,
            mlp=self._alone(queries),
        )

    def _alone(self, weight: Tensor) -> Adapter:
        return self._new_group({"alone": weight}).adapters["alone"]

    def _new_group(self, layers: Mapping[str, Tensor]) -> AdapterGroup:
        self.groups.append(AdapterGroup(layers, self.options, self.device))
        return self.groups[-1]

    def renew(self) -> None:
        """Forget everything that was learnt from any document."""
        self.steps_missed = 0
        random = torch.Generator().manual_seed(ADAPTER_SEED)
        for adapter in self.all:
            adapter.renew(random)

    def begin(self, num_documents: int) -> None:
        """Be ready for a batch of so many documents, with an optimizer that knows of none before.

        What their predecessors learnt is forgotten, but for A where the recipe keeps it warm.
        """
        self._decay_of_those_over()
        for adapter in self.all:
            adapter.forget()
        for moment in chain.from_iterable(moments.values() for moments in self._moments):
            moment.zero_()
        self.num_begun = num_documents
        self.read(num_documents)

    def keep(self, num_documents: int) -> None:
        """Leave out all but the first documents: the others are over.

        In the public scripts they stay in the batch, and a warm A of theirs decays on; so it does
        here. (Its momentum, which no record has, ends.)
        """
        if num_documents == self.num_documents:
            return
        self._decay_of_those_over()
        self.read(num_documents)

    def read(self, num_documents: int) -> None:
        """Be the adapters of the first so many documents, with what the optimizer knows of them."""
        for group in self.groups:
            group.keep(num_documents)
        self.num_documents = num_documents
        self.optimizer = self._new_optimizer()
        for part, moments in zip(self.parts(), self._moments, strict=True):
            self.optimizer.state[part] = {
                name: moment[:num_documents] if moment.ndim else moment
                for name, moment in moments.items()
            }

    def put_first(self, order: Tensor) -> None:  # (B,) int64
        """Give each document the place that the order says; `keep` then leaves out the last."""
        for part in self.parts():
            part.data.copy_(part.data[order])
            for tensor in self.optimizer.state[part].values():
                if tensor.ndim:
                    tensor.copy_(tensor[order])

    def step(self) -> None:
        """One step along the gradients, which are dropped; the host notes it by `note_step`."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def note_step(self) -> None:
        """Documents that are over have missed a step."""
        self.steps_missed += 1

    def _decay_of_those_over(self) -> None:
        """Make up for the steps that documents no longer take part in."""
        over = slice(self.num_documents, self.num_begun)
        if self.num_documents < self.num_begun:
            rate = self.options.ttt_lora_lr * self.options.ttt_weight_decay
            for adapter in self.all:
                adapter.shrink(over, (1.0 - rate) ** self.steps_missed)
        self.steps_missed = 0

    def _moments_of(self, part: Tensor) -> dict[str, Tensor]:
        """What Adam notes of a part, by PyTorch's names."""
        return {
            "step": torch.zeros((), device=self.device),
            "exp_avg": torch.zeros_like(part, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(part, requires_grad=False),
        }

    @property
    def _is_on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def _new_optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.parts(),
            lr=self.options.ttt_lora_lr,
            betas=(self.options.ttt_beta1, self.options.ttt_beta2),
            eps=ADAM_EPS,
            weight_decay=self.options.ttt_weight_decay,
            fused=self._is_on_gpu,
            capturable=self._is_on_gpu,
        )

    def parts(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [part for group in self.groups for part in group.parts()]


# ---- trainer/evaluation/compiled_passes.py
# The model with adapters, compiled before anything is scored, for batches and windows of any size.


MOST_GRAPHS = 64  # of one model's parts: some layers may differ in more than their weights


class Forward(Protocol):
    """The model with adapters."""

    def __call__(
        self,
        input_ids: Tensor,  # (B, T) int64
        target_ids: Tensor,  # (B, L) int64
        *,
        scored: Tensor,  # (L,) int64: which inputs the targets follow
    ) -> Tensor:  # (B * L,) fp32, nats
        ...


def forward_pass(model: GPT, adapters: Adapters, backend: str | None) -> Forward:
    """The model with adapters, compiled once for batches, windows and chunks of any size.

    By the block, `through` and the blocks' `norm_scale` are changed: `borrowed` puts them back.
    """
    if backend is None:
        return partial(model, deltas=adapters.deltas)
    compiled = partial(torch.compile, backend=backend, fullgraph=True)
    forward = partial(model, deltas=adapters.deltas)
    for block in model.blocks:
        if block.norm_scale is not None:
            block.norm_scale = torch.tensor(block.norm_scale, device=adapters.device)
    compiled_part = compiled(carried_out)
    model.through = partial(carried_out_alike, partial(carried_out_at_any_size, compiled_part))
    compile_now(forward, model, adapters)
    model.through = partial(carried_out_alike, compiled_part)
    return forward


def compile_now(forward: Forward, model: GPT, adapters: Adapters) -> None:
    """Send random tokens through the model and back."""
    options, device = adapters.options, adapters.device
    shape = options.ttt_batch_size, options.ttt_eval_seq_len
    tokens = torch.randint(model.options.vocab_size, shape, device=device)
    scored = torch.arange(options.ttt_chunk_size, device=device)
    targets = tokens[:, scored]
    for tensor in (tokens, targets, scored, *adapters.parts()):
        torch._dynamo.mark_dynamic(tensor, 0)
    for ids in (tokens, targets):
        torch._dynamo.mark_dynamic(ids, 1)
    with (
        sizes_that_may_differ(),
        torch._dynamo.config.patch(recompile_limit=MOST_GRAPHS),
        torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
    ):
        losses = forward(tokens, targets, scored=scored)
    torch.autograd.backward(losses.sum())


def sizes_that_may_differ() -> AbstractContextManager[None]:
    """Within it, code is compiled for sizes that may differ though they are equal by chance."""
    patched: AbstractContextManager[None] = torch.fx.experimental._config.patch(  # type: ignore[attr-defined]
        use_duck_shape=False
    )
    return patched


def carried_out_alike(
    through: Carrier, part: Callable[..., Result], stream: object, *inputs: object, **more: object
) -> Result:
    """Hide what sets the first block's use apart, for which it would be compiled once more.

    Its stream is the embedding itself, and asks for no gradient.
    """
    if isinstance(stream, Tensor) and not stream.requires_grad:
        stream = stream.detach().requires_grad_()
    return through(part, stream, *inputs, **more)


def carried_out_at_any_size(
    through: Carrier, part: Callable[..., Result], *inputs: object, **more: object
) -> Result:
    """Have a part compiled for any number of documents and tokens."""
    for one in inputs:
        let_sizes_differ(one)
    return through(part, *inputs, **more)


def let_sizes_differ(one: object) -> None:
    """Mark what goes from part to part: streams (B, T, C), lanes, and tables of T positions."""
    if isinstance(one, tuple):
        for lane in one:
            let_sizes_differ(lane)
    elif isinstance(one, Surroundings):
        for table in (one.cosine, one.sine):
            torch._dynamo.mark_dynamic(table, 0)
        for values in ({}).values():
            let_sizes_differ(values)
    elif isinstance(one, Tensor) and one.ndim == 3:
        torch._dynamo.mark_dynamic(one, [0, 1])


# ---- trainer/evaluation/chunk_passes.py
# Passes over a chunk: score it, then learn from it; nothing else of test-time training is here.


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """One forward pass over the documents of a batch that are not over."""

    span: range  # of targets, as places in each document
    places: Tensor  # (B, T) int64: where among the tokens each input stands
    scored: Tensor  # (L,) int64: which inputs the chunk's targets follow: the last
    slots: Tensor  # (B, L) int64: where their losses go; to the end, N, if a document is over
    goes_on: Tensor  # (B,) bool: documents that go on after this chunk
    is_last: bool  # none goes on


def score(
    forward: Forward,
    chunk: Chunk,
    tape: Tensor,  # (N + 1,) int32
    losses: Tensor,  # (N + 1,) fp32: receives the chunk's scores
) -> Tensor:  # (B, L) fp32, with the graph that `learn` needs
    """Score a chunk with the adapters as they are."""
    inputs = tape[chunk.places].long()
    targets = tape[chunk.places[:, chunk.scored] + 1].long()
    device_type = tape.device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"):
        token_losses = forward(inputs, targets, scored=chunk.scored).view(targets.shape)
    is_there = chunk.slots < losses.numel() - 1
    losses[chunk.slots] = token_losses.detach().where(is_there, 0.0)
    return token_losses


def learn(adapters: Adapters, chunk: Chunk, token_losses: Tensor) -> None:
    """Move each document's adapters by what its chunk, already scored, has cost on average."""
    move(adapters, chunk, token_losses)
    adapters.note_step()


def move(adapters: Adapters, chunk: Chunk, token_losses: Tensor) -> None:
    """What of it the device does."""
    torch.autograd.backward((token_losses.mean(dim=1) * chunk.goes_on).sum())
    adapters.step()


def chunks_of(batch: DocumentBatch, options: EvaluationOptions, tape: Tensor) -> Iterator[Chunk]:
    """The forward passes that a batch takes, from left to right; its longest documents come first.

    A pass sees the chunk and what precedes it in its document, `ttt_eval_seq_len` tokens at most.
    """
    starts = torch.tensor([document.start for document in batch], device=tape.device)[:, None]
    lengths = torch.tensor([document.num_targets for document in batch], device=tape.device)
    for span, num_read in passes_of(batch, options):
        window = window_of(span, options)
        within = torch.arange(window.start, window.stop, device=tape.device)
        is_there = within < lengths[:num_read, None]  # (B, T)
        places = (starts[:num_read] + within).where(is_there, 0)
        slots = places.where(is_there, tape.numel() - 1)
        scored = torch.arange(len(window) - len(span), len(window), device=tape.device)
        yield Chunk(
            span=span,
            places=places,
            scored=scored,
            slots=slots[:, scored],
            goes_on=lengths[:num_read] > span.stop,
            is_last=batch[0].num_targets <= span.stop,
        )


@dataclass(kw_only=True, slots=True)
class Passes:
    """Scores chunks, each for good, and then learns from them."""

    forward: Forward
    adapters: Adapters
    tape: Tensor  # (N + 1,) int32: all tokens
    losses: Tensor  # (N + 1,) fp32: receives the scores; the last stands for no target
    _token_losses: Tensor | None = None  # (B, L) fp32, of the chunk scored last

    def score(self, chunk: Chunk) -> None:
        """Score it with the adapters as they are."""
        self._token_losses = score(self.forward, chunk, self.tape, self.losses)

    def learn(self, chunk: Chunk) -> None:
        """Move the adapters by what the chunk, scored last, has cost."""
        self._move(chunk)
        self.adapters.note_step()

    def _move(self, chunk: Chunk) -> None:
        """What of it the device does."""
        assert self._token_losses is not None
        move(self.adapters, chunk, self._token_losses)
        self._token_losses = None


# ---- trainer/evaluation/stream.py
# Predicting token by token, as a harness shows them: the submission's side of docs/stream.md.


STREAM_VERSION = 1
STREAM_CLOSE, STREAM_OPEN = 0, 1


class StreamedRound(Protocol):
    """Lanes side by side."""

    def predict(self) -> Tensor:
        """Log-probabilities (R, V) of each lane's next token; of lanes that are over, anything."""

    def show(self, lanes: Tensor, tokens: Tensor) -> None:
        """Take the tokens (L,) int64 that came in these lanes (L,); the others are over."""


def answer_stream(model: GPT, recipe: Recipe) -> None:
    """Answer everything that comes over the pipes that the environment names.

    Raises:
        DataError: it names none, or another protocol is spoken.
    """
    try:
        questions, answers = (os.environ[f"PGOLF_STREAM_{n}"] for n in ("TOKENS", "ANSWERS"))
    except KeyError as error:
        raise DataError(f"{error.args[0]} is not set; a harness sets it (docs/stream.md)") from None
    begin = round_maker(model, recipe)
    with open(questions, "rb") as incoming, open(answers, "wb") as outgoing:  # noqa: PTH123
        serve(begin, incoming, outgoing)


def serve(
    begin: Callable[[Sequence[np.ndarray]], StreamedRound], incoming: BinaryIO, outgoing: BinaryIO
) -> None:
    """Answer questions until they end.

    Raises:
        DataError: another protocol is spoken.
    """
    streamed: StreamedRound | None = None
    number = 0
    while header := incoming.read(16):
        version, kind, num_lanes, num_words = np.frombuffer(header, "<u4").tolist()
        if version != STREAM_VERSION:
            raise DataError(f"the harness speaks version {version} of the stream's protocol")
        if kind == STREAM_CLOSE:
            return
        words = np.frombuffer(incoming.read(4 * num_words), "<u4").astype(np.int64)
        if kind == STREAM_OPEN or streamed is None:
            ends = np.cumsum(words[:num_lanes])
            streamed = begin(np.split(words[num_lanes:], ends[:-1]))
            lanes = torch.arange(num_lanes)
        else:
            lanes, tokens = torch.from_numpy(words.reshape(-1, 2).T.copy())
            streamed.show(lanes, tokens)
        rows = streamed.predict().float().cpu()[lanes].numpy().astype("<f4")
        outgoing.write(np.array([STREAM_VERSION, number, *rows.shape], "<u4").tobytes())
        outgoing.write(rows.tobytes())
        outgoing.flush()
        number += 1


def round_maker(model: GPT, recipe: Recipe) -> Callable[[Sequence[np.ndarray]], StreamedRound]:
    """What begins a round on the tokens that its lanes are given."""
    return lambda given: LearningRound(model, recipe, given)


class LearningRound:
    """Documents with an adapter each, which learns from a chunk once all of it was shown."""

    def __init__(self, model: GPT, recipe: Recipe, given: Sequence[np.ndarray]) -> None:
        self.model, self.options = model.requires_grad_(False), recipe.evaluation
        self.device = model.tok_emb.weight.device
        self.adapters = Adapters(model, self.options)
        self.memory = Memory(self.options.ttt_eval_seq_len)
        first = torch.zeros(self.options.ttt_batch_size, dtype=torch.int64)
        first[: len(given)] = torch.tensor([int(tokens[-1]) for tokens in given])
        self.columns = [first]  # the tokens of each row at each place, (B,) int64
        self.lanes = torch.arange(len(first))  # of each row
        self.row_of = torch.arange(len(first))  # of each lane; of those that are left out, any
        self.spans = chunks_from_the_start(self.options)
        self.span = next(self.spans)

    def predict(self) -> Tensor:  # (B, V)
        first = len(self.columns) - 1
        if first == self.span.start:  # the adapters have moved: read the window anew
            first = window_of(self.span, self.options).start
            self.memory = Memory(self.options.ttt_eval_seq_len)
        ids = torch.stack(self.columns[first:], dim=1).to(self.device)
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"),
        ):
            predicted = self.model.read_on(ids, self.memory, deltas=self.adapters.deltas)
        return predicted[self.row_of.to(self.device)]

    def show(self, lanes: Tensor, tokens: Tensor) -> None:
        shown, rows = torch.zeros_like(self.columns[0]), self.row_of[lanes]
        shown[rows] = tokens
        self.columns.append(shown)
        if len(self.columns) - 1 == self.span.stop:
            goes_on = torch.zeros(len(shown), dtype=torch.bool)
            goes_on[rows] = True
            self._learn(goes_on.to(self.device))
            self._leave_out(goes_on)
            self.span = next(self.spans)

    def _leave_out(self, goes_on: Tensor) -> None:  # (B,) bool
        """Rows that are over cost as much as others: a few long documents would pay for all."""
        staying = goes_on.nonzero().flatten()
        if not 0 < len(staying) < len(goes_on):
            return
        order = torch.cat((staying, (~goes_on).nonzero().flatten()))
        self.adapters.put_first(order.to(self.device))
        self.adapters.keep(len(staying))
        self.columns = [column[staying] for column in self.columns]
        self.lanes = self.lanes[staying]
        self.row_of.zero_()
        self.row_of[self.lanes] = torch.arange(len(staying))

    def _learn(self, goes_on: Tensor) -> None:
        """One step of each lane's adapter that goes on, as in `score_part`."""
        window = window_of(self.span, self.options)
        tape = torch.stack(self.columns, dim=1).to(self.device)
        starts = torch.arange(len(tape), device=self.device)[:, None] * tape.size(1)
        places = starts + torch.arange(window.start, window.stop, device=self.device)
        scored = torch.arange(len(window) - len(self.span), len(window), device=self.device)
        chunk = Chunk(
            span=self.span,
            places=places,
            scored=scored,
            slots=places[:, scored],
            goes_on=goes_on,
            is_last=False,
        )
        forward = partial(self.model, deltas=self.adapters.deltas)
        unused = torch.zeros(tape.numel(), device=self.device)
        learn(self.adapters, chunk, score(forward, chunk, tape.flatten(), unused))


def unstreamed(recipe: Recipe) -> str:
    """The setting without which a recipe could be streamed; empty if it can be.

    A harness shows documents in an order of its own, so none may learn from others.
    """
    if recipe.evaluation.phased_ttt_num_phases > 0:
        return "evaluation.phased_ttt_num_phases to 0"
    return "evaluation.ttt_warm_start_a to false"


# ---- trainer/optimizer/schedules.py
# Schedules: pure functions of step and time.


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What the schedules say to the optimizers for one step."""

    momentum: float  # Muon's
    learning_rate_scale: float = 1.0
    weight_decay_scale: float = 1.0  # of Muon's


def pace_at(recipe: Recipe, step: int, elapsed_seconds: float, budget_seconds: float) -> Pace:
    """The pace of a step, after so many steps and so much time of the budget."""
    schedule, optimizer = recipe.schedule, recipe.optimizer
    so_far = step, elapsed_seconds, budget_seconds
    return Pace(
        learning_rate_scale=learning_rate_scale(schedule, *so_far),
        weight_decay_scale=(1.0),
        momentum=muon_momentum(optimizer, step),
    )


def share_done(
    options: ScheduleOptions, step: int, elapsed_seconds: float, budget_seconds: float
) -> float:
    """How much of the run lies behind: of its time, or without a time limit of its steps."""
    if math.isinf(budget_seconds):
        return step / options.iterations
    return elapsed_seconds / budget_seconds


def loop_budget_seconds(options: ScheduleOptions, seconds_before_loop: float) -> float:
    """How long the training loop may take under the recipe's clock; infinite without a limit.

    Args:
        options: the recipe's schedule.
        seconds_before_loop: from the start of the process, compilation and warm-up included.
    """
    if options.max_wallclock_seconds == 0:
        return math.inf
    counted_before = 0.0
    return options.max_wallclock_seconds - options.reserve_seconds - counted_before


def learning_rate_scale(
    options: ScheduleOptions, step: int, elapsed_seconds: float, budget_seconds: float
) -> float:
    """The factor on every learning rate: 1, then a straight line towards 0 at the end.

    The line is `warmdown_frac` of the run long, or `warmdown_iters` steps. With a time limit, the
    end is where the time runs out: the seconds that those steps will take are estimated from the
    steps so far. A warm-down longer than the whole run decays from its first steps on (#61).

    Args:
        options: the recipe's schedule.
        step: steps done.
        elapsed_seconds: time in the training loop so far.
        budget_seconds: `loop_budget_seconds`.
    """
    if options.warmdown_frac > 0:
        left = 1.0 - share_done(options, step, elapsed_seconds, budget_seconds)
        line = left / options.warmdown_frac
    elif options.warmdown_iters == 0:
        line = 1.0
    elif math.isinf(budget_seconds):
        line = (options.iterations - step) / options.warmdown_iters
    else:
        warmdown_seconds = options.warmdown_iters * elapsed_seconds / max(step, 1)
        line = (budget_seconds - elapsed_seconds) / max(warmdown_seconds, 1e-12)
    return min(1.0, max(line, options.min_lr))


def muon_momentum(options: OptimizerOptions, step: int) -> float:
    """Muon's momentum: a straight line from its start value over the first steps, then constant."""
    if options.muon_momentum_warmup_steps == 0:
        return options.muon_momentum
    done = min(step / options.muon_momentum_warmup_steps, 1.0)
    return (1 - done) * options.muon_momentum_warmup_start + done * options.muon_momentum


# ---- trainer/optimizer/stages.py
# The stages of a run: what a forward pass is like, and when.


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What a forward pass is like."""

    seq_len: int  # tokens of a sequence; the most of a document, where those are packed
    has_loops: bool


def stage_at(recipe: Recipe, step: int, elapsed_seconds: float, budget_seconds: float) -> Stage:
    """The stage of a step, after so many steps and so much time of the budget."""
    schedule = recipe.schedule
    done = share_done(schedule, step, elapsed_seconds, budget_seconds)
    grown = done
    return Stage(
        seq_len=seq_len_at(recipe.length_phases, grown), has_loops=has_loops_at(recipe, done)
    )


def seq_len_at(phases: tuple[LengthPhase, ...], done: float) -> int:
    """The length of sequences when so much of the run is done: a phase's end still belongs to it.

    The last phase goes on to the end of the run, as in #2014.
    """
    return next((phase.seq_len for phase in phases if done <= phase.end), phases[-1].seq_len)


def has_loops_at(recipe: Recipe, done: float) -> bool:
    """Whether blocks are looped when so much of the run is done."""
    return recipe.model.num_loops > 0 and done >= recipe.schedule.enable_looping_at


def stages(recipe: Recipe) -> list[Stage]:
    """All stages that a run may go through, in their order."""
    schedule, phases = recipe.schedule, recipe.length_phases
    changes = sorted({0.0, schedule.enable_looping_at, *(phase.end for phase in phases)})
    moments = [moment for change in changes for moment in (change, math.nextafter(change, 2.0))]
    pairs = list(zip(moments, moments, strict=True))
    found = (
        Stage(seq_len=seq_len_at(phases, grown), has_loops=has_loops_at(recipe, done))
        for grown, done in pairs
    )
    return list(dict.fromkeys(found))


class LengthGrowth:
    """The step at which sequences last grew; learning rates rise anew from there (#2014)."""

    def __init__(self, seq_len: int, warmup_steps: int) -> None:
        self.seq_len = seq_len
        self.warmup_steps = warmup_steps
        self.grew_at = -warmup_steps  # long ago

    def learning_rate_scale(self, step: int) -> float:
        """The factor on every learning rate: a straight line to 1 in the first steps."""
        return min((step - self.grew_at + 1) / max(self.warmup_steps, 1), 1.0)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seq_len": self.seq_len, "grew_at": self.grew_at}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from what a checkpoint kept."""
        self.seq_len, self.grew_at = state_dict["seq_len"], state_dict["grew_at"]


# ---- trainer/run_log.py
# What a run says and leaves: the lines of the public scripts, which verifiers already read.


ARTIFACT_NAME = "final_model.int8.ptz"  # in the working directory
DIVERGED_PREFIX = "diverged_rank"  # of the file with a process's state when its loss was lost


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLog:
    """Writes to stdout and to the log file; on any process but the first, nowhere."""

    file: TextIO | None  # None on those others

    def write(self, line: str, *, console: bool = True) -> None:
        """Add a line, at once: a run that is killed has logged all that it printed.

        Args:
            line: without its end.
            console: print it on stdout, too.
        """
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


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Within it, write to the path that it gives: the file has its name once all of it is there.

    Raises:
        TrainerError: the disk refused; nothing of the file stays.
    """
    part = path.with_suffix(".partial")
    try:
        yield part
        part.replace(path)
    except (OSError, RuntimeError) as error:  # PyTorch tells a full disk as the latter
        part.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise TrainerError(f"{path}: cannot be written ({why}): make room on its disk") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far training has come."""

    step: int
    num_steps: int  # that the recipe allows; the time limit may come first
    train_seconds: float  # validations between steps left out

    def __str__(self) -> str:
        train_ms = 1000.0 * self.train_seconds
        return f"train_time:{train_ms:.0f}ms step_avg:{train_ms / max(self.step, 1):.2f}ms"

    def train_line(self, loss_nats: float) -> str:
        """What is logged of a step: its training loss, in nats a token, and the time so far."""
        return f"step:{self.step}/{self.num_steps} train_loss:{loss_nats:.4f} {self}"

    def validation_line(self, loss_nats: float, bits_per_byte: float) -> str:
        """What is logged of a validation between steps; loss in nats a token."""
        return (
            f"step:{self.step}/{self.num_steps} val_loss:{loss_nats:.4f} "
            f"val_bpb:{bits_per_byte:.4f} {self}"
        )

    def stopping_line(self) -> str:
        """What is logged where the time limit ends training before its last step."""
        return (
            f"stopping_early: wallclock_cap train_time:{1000.0 * self.train_seconds:.0f}ms "
            f"step:{self.step}/{self.num_steps}"
        )


# ---- trainer/phases/prepare.py
# The beginning of a run: processes joined, the log begun, the model built from the seed.


EVALUATION_GRAPHS = 8  # of the forward pass at most, beside those of training's stages


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """What training and evaluation both start from."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: GPT
    forward: nn.Module  # the model, compiled where the recipe says so


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
        torch._dynamo.config.recompile_limit = len(stages(recipe)) + EVALUATION_GRAPHS
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
    if options.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read at the first matrix product
        torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if torch.cuda.is_available():
        torch.backends.cuda.enable_math_sdp(False)


def build_model(recipe: Recipe, group: ProcessGroup) -> GPT:
    """The model that the seed gives, on this process's device.

    On GPUs embedding tables are bf16, with bf16 optimizer state, as in the public baseline.
    """
    random.seed(recipe.run.seed)
    np.random.seed(recipe.run.seed)
    torch.manual_seed(recipe.run.seed)
    model = GPT(recipe.model, num_positions=recipe.batch.train_seq_len).to(group.device)
    model.use_positions(recipe.batch.row_tokens, recipe.batch.train_seq_len)
    model.document_flash = flash_for_documents(recipe.model)
    if group.device.type == "cuda":
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.to(torch.bfloat16)
    return model


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


# ---- trainer/evaluation/recorded_passes.py
# Passes of test-time training as CUDA graphs: recorded once for a shape, played from then on.


FREE_SHARE = 0.25  # of the device's memory; with less, what PyTorch keeps for later is given back
PassShape = tuple[int, int, int]  # B, T, L


class Recorder(Protocol):
    """Records what a function has the device do."""

    def around(self) -> AbstractContextManager[None]:
        """Within it, everything is done of which something may be recorded."""
        ...

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Returns what does it again; the work need not be done by recording it.

        What the work makes and does not put into memory from outside is lost when something else
        that was recorded is played.
        """
        ...


class CudaRecorder:
    """Records CUDA graphs that share their memory, and a stream."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @contextmanager
    def around(self) -> Iterator[None]:
        """Everything on the one stream: autograd goes back to where a tensor was first used."""
        before = torch.cuda.current_stream()
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            yield
        before.wait_stream(self._stream)

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record only: the device does nothing yet."""
        free, total = torch.cuda.mem_get_info()
        if free < FREE_SHARE * total:
            torch.cuda.empty_cache()  # cannot be done while a graph is recorded
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Threads beside this one, NCCL's among them, may ask the device about other work.
        graph.capture_begin(self._pool, capture_error_mode="thread_local")
        try:
            work()
        finally:
            graph.capture_end()
        return graph.replay


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A pass of one shape."""

    chunk: Chunk  # the first, from whose memory it reads
    score: Callable[[], None]
    learn: Callable[[], None]

    def read(self, chunk: Chunk) -> None:
        """Be about another chunk of the same shape."""
        for own, other in (
            (self.chunk.places, chunk.places),
            (self.chunk.slots, chunk.slots),
            (self.chunk.goes_on, chunk.goes_on),
        ):
            own.copy_(other)


@dataclass(kw_only=True, slots=True)
class RecordedPasses(Passes):
    """Passes that are recorded when their shape comes for the second time.

    The first time, they are done as ever: whatever is prepared for a shape is ready then.
    """

    recorder: Recorder
    longest_window: int  # of passes that are recorded
    _done_once: dict[PassShape, Chunk] = field(default_factory=dict)
    _recordings: dict[PassShape, Recording] = field(default_factory=dict)
    _playing: Recording | None = None

    def score(self, chunk: Chunk) -> None:
        """Score it with the adapters as they are."""
        self._playing = self._recording_for(chunk)
        if self._playing is None:
            Passes.score(self, chunk)
            return
        self._playing.read(chunk)
        self._playing.score()

    def learn(self, chunk: Chunk) -> None:
        """Move the adapters by what the chunk, scored last, has cost."""
        if self._playing is None:
            Passes.learn(self, chunk)
            return
        self._playing.learn()
        self.adapters.note_step()

    def _recording_for(self, chunk: Chunk) -> Recording | None:
        num_documents, window = chunk.places.shape
        if window > self.longest_window:
            return None
        shape = num_documents, window, chunk.scored.numel()
        if shape in self._done_once:
            self._record_all()
        elif shape not in self._recordings:
            self._done_once[shape] = chunk
        return self._recordings.get(shape)

    def _record_all(self) -> None:
        """Record every shape that was done once, the largest first: others fit in its memory."""
        num_documents = self.adapters.num_documents
        for shape in sorted(self._done_once, key=num_tokens, reverse=True):
            self._recordings[shape] = self._record(self._done_once.pop(shape))
        self.adapters.read(num_documents)

    def _record(self, chunk: Chunk) -> Recording:
        """Learning reads what scoring leaves behind: nothing may be recorded in between."""
        self.adapters.read(len(chunk.places))
        scoring = self.recorder(partial(Passes.score, self, chunk))
        learning = self.recorder(partial(self._move, chunk))
        return Recording(chunk=chunk, score=scoring, learn=learning)


def num_tokens(shape: PassShape) -> int:
    """Of all windows."""
    return shape[0] * shape[1]


# ---- trainer/evaluation/global_sgd.py
# All weights learn from documents that were scored: the pauses of phased test-time training.


class WeightLearner:
    """SGD on the weights of a model, in place."""

    def __init__(self, model: GPT, options: EvaluationOptions, group: ProcessGroup) -> None:
        """Be ready to learn.

        Raises:
            RecipeError: a step has fewer rows than there are processes.
        """
        self.options, self.group = options, group
        per_step, seq_len = options.global_ttt_chunk_tokens, options.ttt_eval_seq_len
        if per_step // seq_len < group.world_size:
            raise RecipeError(
                f"evaluation.global_ttt_chunk_tokens {per_step} must be at least ttt_eval_seq_len "
                f"{seq_len} for each of {group.world_size} processes"
            )
        twin = twin_of(model)
        self.weights = list(twin.parameters())
        self.forward: nn.Module = twin
        if group.device.type == "cuda" and model.document_flash is None:
            # FlexAttention, which then sees to documents, writes out all scores unless compiled.
            self.forward = torch.compile(twin, dynamic=False, fullgraph=True)  # type: ignore[assignment]

    def learn(
        self,
        documents: list[Document],
        tape: Tensor,  # (N + 1,) int32: all tokens
    ) -> int:
        """Learn from documents that all were scored; returns the number of steps."""
        options = self.options
        per_step, seq_len = options.global_ttt_chunk_tokens, options.ttt_eval_seq_len
        places = torch.cat([torch.arange(d.num_targets) + d.start for d in documents])
        num_chunks = len(places) // per_step
        chunks = places[: num_chunks * per_step].view(num_chunks, -1, seq_len).to(tape.device)
        optimizer = torch.optim.SGD(
            self.weights, lr=options.global_ttt_lr, momentum=options.global_ttt_momentum
        )
        for index, rows in enumerate(chunks):
            falling = 0.5 + 0.5 * math.cos(math.pi * index / num_chunks)
            optimizer.param_groups[0]["lr"] = options.global_ttt_lr * falling
            for _ in range(options.global_ttt_epochs):
                optimizer.zero_grad()
                self._take_gradients(rows, tape)
                optimizer.step()
        return num_chunks * options.global_ttt_epochs

    def _take_gradients(
        self,
        rows: Tensor,  # (B, T) int64: places of inputs among the tokens, of all processes
        tape: Tensor,
    ) -> None:
        """Those of the mean loss of these rows, clipped."""
        own = rows[self.group.rank :: self.group.world_size]
        losses = losses_of_rows(self.forward, own, tape)
        torch.autograd.backward(losses.sum() / rows.numel())
        for weight in self.weights:
            if weight.grad is not None:
                self.group.sum_in_place(weight.grad)
        if self.options.global_ttt_grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.weights, self.options.global_ttt_grad_clip)


def losses_of_rows(
    model: nn.Module,
    rows: Tensor,  # (B, T) int64: places of inputs among the tokens, documents end to end
    tape: Tensor,  # (N + 1,) int32
) -> Tensor:  # (B * T,) fp32
    """The loss of what follows each input in its document, with what precedes it in the row."""
    inputs, targets = tape[rows].long(), tape[rows + 1].long()
    begins = document_boundaries(inputs.cpu().numpy(), rows.size(1))
    device_type = tape.device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"):
        losses: Tensor = model(inputs, targets, boundaries=on_device(begins, tape.device))
    return losses


def twin_of(model: GPT) -> GPT:
    """The same weights in the same memory, but with gradients.

    The model's own need never take any: code that was compiled for it stays as it is.
    """
    twin = copy.deepcopy(model).requires_grad_(True)
    twin.through = carried_out
    for own, shared in zip(twin.parameters(), model.parameters(), strict=True):
        own.data = shared.data
    return twin


# ---- trainer/evaluation/test_time_training.py
# Test-time training: score a chunk, only then learn from it.


SECONDS_BETWEEN_LINES = 10.0  # that say how far scoring is


@dataclass(frozen=True, kw_only=True, slots=True)
class LearntScores:
    """What an evaluation leaves that learns on the way."""

    losses: Tensor  # (N,) fp32, nats: of every token but the first, in order; on every process
    ledger: OrderLedger  # of this process
    compile_seconds: float  # of the time that all took


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningRun:
    """What scoring and learning work on."""

    passes: Passes
    ledger: OrderLedger


@dataclass(frozen=True, kw_only=True, slots=True)
class Conduct:
    """How scoring goes on: no score hangs on it, but for rounding."""

    backend: str | None = None  # what compiles the forward pass; None: nothing does
    recorder: Recorder | None = None  # what records passes over short windows; None: nothing does
    say: Callable[[str], None] = lambda line: None  # is told now and then how far this process is


class ScoringProgress:
    """Says now and then how far this process is, and what a token has cost it so far."""

    def __init__(self, say: Callable[[str], None], deals: Iterable[list[DocumentBatch]]) -> None:
        self._say = say
        self._num_targets = sum(
            document.num_targets for batch in chain.from_iterable(deals) for document in batch
        )
        self._num_scored = 0
        self._started = self._said = time.perf_counter()

    def over(
        self,
        batches: list[DocumentBatch],
        losses: Tensor,  # (N + 1,) fp32, nats: the scores so far
    ) -> Iterator[DocumentBatch]:
        """The batches one by one; which are asked for when those before are scored."""
        for batch in batches:
            yield batch
            self._num_scored += sum(document.num_targets for document in batch)
            now = time.perf_counter()
            if now - self._said >= SECONDS_BETWEEN_LINES:
                self._said = now
                mean = float(losses.sum()) / max(self._num_scored, 1)
                self._say(
                    f"ttt:scored {self._num_scored}/{self._num_targets} loss_so_far:{mean:.4f} "
                    f"seconds:{now - self._started:.0f}"
                )


def score_with_training(
    model: GPT,
    tokens: np.ndarray,  # (N + 1,) uint16
    recipe: Recipe,
    group: ProcessGroup,
    *,
    conduct: Conduct = Conduct(),
) -> LearntScores:
    """Score every token but the first, and learn from what was scored.

    The model has learnt nothing when this returns.

    Args:
        model: knows rows of `ttt_eval_seq_len` tokens.
        tokens: the whole text.
        recipe: says how.
        group: the processes that share the documents.
        conduct: how, which changes no score.
    """
    options = recipe.evaluation
    parts = parts_between_phases(find_documents(tokens), options)
    deals = [dealt_batches(part, options, group.world_size)[group.rank] for part in parts]
    around = nullcontext() if conduct.recorder is None else conduct.recorder.around()
    with borrowed(model), around:
        adapters = Adapters(model, options)
        started = time.perf_counter()
        forward = forward_pass(model, adapters, conduct.backend)
        compile_seconds = time.perf_counter() - started
        passes = passes_over(tokens, forward, adapters, conduct)
        run = LearningRun(passes=passes, ledger=OrderLedger(group, tokens.size - 1))
        learner = None
        if options.phased_ttt_num_phases > 0 and len(parts) > 1:
            learner = WeightLearner(model, options, group)
        progress = ScoringProgress(conduct.say, deals)
        for num_scored, batches in enumerate(deals, start=1):
            score_part(run, progress.over(batches, passes.losses))
            if learner is not None and num_scored < len(parts):
                group.barrier()  # now all of them are scored
                scored = list(chain.from_iterable(parts[:num_scored]))
                num_steps = learner.learn(scored[::-1], passes.tape)
                run.ledger.note_all_weights(scored, num_steps)
    group.sum_in_place(passes.losses)
    return LearntScores(
        losses=passes.losses[:-1], ledger=run.ledger, compile_seconds=compile_seconds
    )


def passes_over(
    tokens: np.ndarray,  # (N + 1,) uint16
    forward: Forward,
    adapters: Adapters,
    conduct: Conduct,
) -> Passes:
    """Passes of which none has been made."""
    tape = torch.from_numpy(tokens.astype(np.int32)).to(adapters.device)
    losses = torch.zeros(tokens.size, device=adapters.device)
    if conduct.recorder is None:
        return Passes(forward=forward, adapters=adapters, tape=tape, losses=losses)
    return RecordedPasses(
        forward=forward,
        adapters=adapters,
        tape=tape,
        losses=losses,
        recorder=conduct.recorder,
        longest_window=adapters.options.ttt_recorded_window,
    )


def score_part(run: LearningRun, batches: Iterable[DocumentBatch]) -> None:
    """Score documents between two phases; adapters begin anew."""
    passes, adapters = run.passes, run.passes.adapters
    adapters.renew()
    for batch in batches:
        adapters.begin(len(batch))
        run.ledger.note_batch(batch)
        for chunk in chunks_of(batch, adapters.options, passes.tape):
            adapters.keep(len(chunk.goes_on))
            passes.score(chunk)
            run.ledger.note_score(chunk.span, passes.losses[chunk.slots].sum())
            if not chunk.is_last:
                passes.learn(chunk)
                run.ledger.note_learning(chunk.span)


@contextmanager
def borrowed(model: GPT) -> Iterator[None]:
    """Within it, no pass trains the model's own weights; behind it they are what they were."""
    before = {parameter: parameter.detach().clone() for parameter in model.parameters()}
    scales = [(block, block.norm_scale) for block in model.blocks]
    wanted_grad = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    try:
        yield
    finally:
        model.through = carried_out
        for block, scale in scales:
            block.norm_scale = scale
        for parameter, wanted in wanted_grad.items():
            parameter.copy_(before[parameter])
            parameter.requires_grad_(wanted)


# ---- trainer/phases/score.py
# The validation set scored, by a model that stays as it is or learns on the way.


def score_model(
    run: PreparedRun, windows: Windows, *, learns: bool = False
) -> tuple[Score, torch.Tensor]:  # …, (N,) fp32 nats
    """Score the model as it is, or as it learns on the way: figures, and the loss of every token.

    Test-time training scores to the last token, as its public form does.
    """
    recipe = run.recipe
    tokens = load_validation_tokens(
        recipe.run.data_path,
        1 if learns else windows.seq_len,
        keep_tail=learns,
    )
    check_token_ids(tokens, recipe.model.vocab_size)
    pattern = Path(recipe.run.data_path) / "fineweb_val_*.bin"
    run.log.write(f"val_loader:shards pattern={pattern} tokens:{tokens.size - 1}")
    run.model.use_positions(windows.seq_len)
    run.model.eval()
    if learns:
        losses = learnt_losses(run, tokens)
    else:
        losses = score_tokens(run.forward, tokens, windows, run.group)
    run.model.use_positions(recipe.batch.row_tokens, recipe.batch.train_seq_len)
    run.model.train()
    return score_over(losses, scored_bytes(recipe, tokens)), losses


def learnt_losses(run: PreparedRun, tokens: np.ndarray) -> torch.Tensor:  # (N,) fp32 nats
    """The loss of every token but the first, from a model that learns from what was scored.

    Where losses are asked for, what was scored and learnt when is written beside them.
    """
    recipe, group, say = run.recipe, run.group, run.log.write
    is_recorded = group.device.type == "cuda" and recipe.evaluation.ttt_recorded_window > 0
    how = Conduct(
        backend="inductor" if is_compiled(recipe, group) else None,
        recorder=CudaRecorder() if is_recorded else None,
        say=say,
    )
    scores = score_with_training(run.model, tokens, recipe, group, conduct=how)
    say(f"ttt:compiled seconds:{scores.compile_seconds:.1f}")
    if path := os.environ.get("PGOLF_TOKEN_LOSSES"):
        scores.ledger.write(ledger_path(Path(path), group.rank))
        group.barrier()
    return scores.losses


def scored_bytes(recipe: Recipe, tokens: np.ndarray) -> int:
    """How many bytes all tokens but the first stand for.

    Raises:
        DataError: tokenizer or sidecar are missing or do not fit.
    """
    table = load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    return count_bytes(table, tokens[:-1], tokens[1:])


# ---- trainer/quantization/gptq.py
# Rounding whose later columns make up for the errors of earlier ones (GPTQ, arXiv 2210.17323).


DAMPING = 0.01  # of the mean diagonal, added to it: the public scripts' (#1019 on)
BLOCK_COLUMNS = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The values that weights may take: a step times a whole number up to the largest."""

    steps: Tensor  # (R, 1) fp32, or (R, C) where columns differ
    largest: Tensor  # (1,) or (C,) fp32


def row_grid(step: Tensor, bits: int) -> Grid:  # (R,)
    """A step for each row, codes of so many bits."""
    return Grid(steps=step.float()[:, None], largest=step.new_tensor([max_code(bits)]).float())


def sigma_steps(
    matrix: Tensor,  # (R, C)
    bits: int,
    clip_sigmas: float,
) -> Tensor:  # (R,) fp16
    """Steps with which codes end at so many standard deviations of their row (SDClip, #1394).

    Fewer deviations make finer steps, and codes that carry more bits: `size_law.py`.
    """
    step = clip_sigmas * matrix.float().std(dim=1) / max_code(bits)
    return step.half().clamp_min(SMALLEST_STEP)


def coarse_steps(step: Tensor, mantissa_bits: int) -> Tensor:  # (R,) fp16 → (R,) fp16
    """Steps with fewer digits, which compress: most of what an fp16 step takes is its last bits.

    With four bits a step is up to 3 % off, to either side: as finer ones make up for coarser ones,
    the errors that codes make grow by less than 0.1 %. 0 leaves all ten.
    """
    if mantissa_bits == 0:
        return step
    mantissa, exponent = step.float().frexp()  # from 1/2 to 1
    whole = (mantissa * 2.0 ** (mantissa_bits + 1)).round()
    return torch.ldexp(whole, exponent - mantissa_bits - 1).half()


def nearest_codes(matrix: Tensor, grid: Grid) -> Tensor:  # (R, C) → (R, C) int8
    """Each weight at the nearest value of its grid."""
    codes = (matrix.float() / grid.steps).round()
    return codes.clamp(-grid.largest, grid.largest).to(torch.int8)


def gptq_codes(
    matrix: Tensor,  # (R, C)
    hessian: Tensor,  # (C, C)
    grid: Grid,
) -> Tensor:  # (R, C) int8
    """Codes whose rows do no more to the layer's outputs than the nearest ones.

    Compensation is greedy, so that now and then the nearest codes do better; rows for which they
    do keep them.
    """
    nearest = nearest_codes(matrix, grid)
    compensated = compensated_codes(matrix.float(), hessian.float(), grid)
    errors = [output_error(matrix, hessian, codes, grid) for codes in (compensated, nearest)]
    return torch.where((errors[0] <= errors[1])[:, None], compensated, nearest)


def output_error(
    matrix: Tensor,  # (R, C)
    hessian: Tensor,  # (C, C)
    codes: Tensor,  # (R, C) int8
    grid: Grid,
) -> Tensor:  # (R,)
    """What rounding does to the squares of the layer's outputs, row by row: e H e'."""
    error = matrix.float() - codes.float() * grid.steps
    return ((error @ hessian.float()) * error).sum(dim=1)


def compensated_codes(
    matrix: Tensor,  # (R, C) fp32
    hessian: Tensor,  # (C, C) fp32
    grid: Grid,
) -> Tensor:  # (R, C) int8
    """Round column by column, most used inputs first, and spread each error over those to come.

    With U'U the inverse of the Hessian, U upper triangular, an error e in column j is taken up by
    the later columns as e U[j, j+1:] / U[j, j]. Columns are done in blocks: within one at once,
    beyond it when the block is done.
    """
    order = hessian.diagonal().argsort(descending=True, stable=True)
    factor = inverse_factor(hessian[order][:, order])
    steps = grid.steps.expand_as(matrix).T[order]
    largest = grid.largest.expand(len(order))[order]
    weights = matrix.T[order].contiguous()  # (C, R): a column of the matrix is a row here
    codes = torch.empty_like(weights, dtype=torch.int8)
    errors = torch.empty_like(weights)
    for start in range(0, len(order), BLOCK_COLUMNS):
        stop = min(start + BLOCK_COLUMNS, len(order))
        for column in range(start, stop):
            step, end = steps[column], largest[column]
            code = (weights[column] / step).round().clamp(-end, end)
            codes[column] = code.to(torch.int8)
            errors[column] = (weights[column] - code * step) / factor[column, column]
            after = slice(column + 1, stop)
            weights[after].addr_(factor[column, after], errors[column], alpha=-1.0)
        weights[stop:].addmm_(factor[start:stop, stop:].T, errors[start:stop], alpha=-1.0)
    in_place = torch.empty_like(codes)
    in_place[order] = codes
    return in_place.T.contiguous()


def inverse_factor(hessian: Tensor) -> Tensor:  # (C, C) → (C, C) fp32, upper triangular
    """U with U'U the inverse of the damped Hessian; an input that is never on counts by itself.

    In fp64: the Hessian of few tokens is near to singular.
    """
    damped = hessian.double()
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal += DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor.float()


# ---- trainer/quantization/fine_columns.py
# Eight bits for the few columns of which the outputs hear most (AWQ-lite, #1945).


FINE_BITS = 8
COLUMNS = ":columns:"


def with_fine_columns(
    grid: Grid,
    fine_step: Tensor,  # (R,) fp16
    num_columns: int,
    fine: list[slice],
) -> Grid:
    """The grid with steps and codes of eight bits in some columns."""
    steps = grid.steps.repeat(1, num_columns)
    largest = grid.largest.repeat(num_columns)
    for columns in fine:
        steps[:, columns] = fine_step.float()[:, None]
        largest[columns] = max_code(FINE_BITS)
    return Grid(steps=steps, largest=largest)


# ---- trainer/quantization/calibrated_rounding.py
# A model's tensors in their stored form, rounded as calibration says.


Hessians = Mapping[str, Tensor]  # name of a matrix (R, C) → (C, C) fp32


def quantize_calibrated(
    state: Mapping[str, Tensor], hessians: Hessians, options: QuantizationOptions
) -> dict[str, StoredTensor]:
    """Store a model's tensors; large matrices as GPTQ codes on SDClip grids.

    A matrix without a Hessian is no linear layer's but a table: its rows are rounded to nearest.

    Raises:
        TrainerError: a matrix is not finite.
    """
    matrices = {n: t.detach() for n, t in state.items() if is_rounded(n, t, options)}
    fine: dict[str, list[slice]] = {}
    stored: dict[str, StoredTensor] = {}
    for name, tensor in state.items():
        if name not in matrices:
            stored[name] = store_tensor(name, tensor.detach().cpu(), options)
            continue
        parts = round_matrix(name, tensor, hessians.get(name), fine.get(name, []), options)
        stored |= parts
    return stored


def round_matrix(
    name: str,
    matrix: Tensor,  # (R, C)
    hessian: Tensor | None,  # (C, C)
    fine: list[slice],  # columns that get more bits
    options: QuantizationOptions,
) -> dict[str, StoredTensor]:
    """One matrix: its codes, and those of fine columns apart.

    Raises:
        TrainerError: weights, inputs or steps are no numbers, which no factorization survives.
    """
    bits, sigmas = code_bits(name, options), clip_sigmas(name, options)
    step, fine_step = (
        coarse_steps(sigma_steps(matrix, width, sigmas), options.step_mantissa_bits)
        for width in (bits, FINE_BITS)
    )
    if not all(bool(part.isfinite().all()) for part in (step, hessian) if part is not None):
        raise TrainerError(
            f"{name}: weights or their inputs are not finite, trained to no number or beyond fp16; "
            "lower the learning rates, or clip gradients"
        )
    grid = row_grid(step, bits)
    if fine:
        grid = with_fine_columns(grid, fine_step, matrix.size(1), fine)
    codes = nearest_codes(matrix, grid) if hessian is None else gptq_codes(matrix, hessian, grid)
    codes = codes.cpu()
    parts = {}
    for columns in fine:
        parts[f"{name}{COLUMNS}{columns.start}"] = StoredTensor(
            values=codes[:, columns].clone(), scale=fine_step.cpu(), dtype=matrix.dtype
        )
        codes[:, columns] = 0
    parts[name] = StoredTensor(values=codes, scale=step.cpu(), dtype=matrix.dtype, bits=bits)
    return parts


def clip_sigmas(name: str, options: QuantizationOptions) -> float:
    """After how many standard deviations a matrix's grids end."""
    if name.startswith("tok_emb"):
        return options.embed_clip_sigmas
    own = 0.0
    if ".mlp." in name:
        own = options.mlp_clip_sigmas
    if ".attn." in name:
        own = options.attn_clip_sigmas
    return own or options.matrix_clip_sigmas


def restore_calibrated(
    stored: Mapping[str, StoredTensor], options: QuantizationOptions
) -> dict[str, Tensor]:
    """The tensors that the stored ones stand for, with all that is stored apart put back."""
    state = dequantize_state(stored)
    return state


# ---- trainer/phases/evaluate.py
# From the artifact's file to its score, or to its predictions for a harness that asks.


def evaluate_artifact(run: PreparedRun) -> None:
    """Load the artifact from its file and score it on the whole validation set.

    Raises:
        DataError: artifact, tokenizer or validation data are missing, damaged or do not fit.
    """
    with run.log.phase("load"):
        load_artifact(run.model, run.recipe.quantization)
    windows, learns = evaluation_windows(run.recipe), run.recipe.evaluation.ttt_enabled
    run.log.write(
        f"eval_mode:{'test_time_training' if learns else 'windows'} "
        f"seq_len:{windows.seq_len} stride:{windows.stride}"
    )
    started = time.perf_counter()
    with run.log.phase("evaluate"):
        score, losses = score_model(run, windows, learns=learns)
    eval_ms = 1000.0 * (time.perf_counter() - started)
    if (path := os.environ.get("PGOLF_TOKEN_LOSSES")) and run.group.is_master:
        write_token_losses(losses, Path(path))
        log_order(run, Path(path))
    options = run.recipe.quantization
    label = f"final_int{options.matrix_bits}_{options.compressor}_roundtrip"
    nats, bpb = score.loss_nats, score.bits_per_byte
    run.log.write(f"{label} val_loss:{nats:.4f} val_bpb:{bpb:.4f} eval_time:{eval_ms:.0f}ms")
    run.log.write(f"{label}_exact val_loss:{nats:.8f} val_bpb:{bpb:.8f}")


def log_order(run: PreparedRun, losses: Path) -> None:
    """Check what all processes noted beside the losses, and say what it was.

    Raises:
        DataError: something was learnt from before it was scored, or scored twice or never.
    """
    order = check_order(losses)
    run.log.write(
        f"order_ledger:scored_once:{order.num_targets} then_learnt:{order.num_learnt} "
        f"phases:{order.num_phases} all_weights_steps:{order.num_all_weights_steps}"
    )


def stream_artifact(run: PreparedRun) -> None:
    """Load the artifact from its file and predict what the harness asks for.

    Raises:
        DataError: the artifact is missing, damaged or does not fit, or there is no harness.
        RecipeError: the recipe cannot be streamed.
    """
    if setting := unstreamed(run.recipe):
        raise RecipeError(f"what documents share is not streamed; set {setting}")
    load_artifact(run.model, run.recipe.quantization)
    run.model.use_positions(evaluation_windows(run.recipe).seq_len)
    run.model.eval()
    answer_stream(run.model, run.recipe)


def load_artifact(model: GPT, options: QuantizationOptions) -> None:
    """Put the artifact's weights into the model.

    Raises:
        DataError: there is no artifact, or it belongs to another model.
    """
    try:
        stored = unpack_artifact(Path(ARTIFACT_NAME).read_bytes(), options)
        state = restore_calibrated(stored, options)
        model.load_state_dict(state)
    except OSError:
        raise DataError(f"{ARTIFACT_NAME}: no such file here; run the verb train first") from None
    except RuntimeError:
        raise DataError(f"{ARTIFACT_NAME}: belongs to a model of another shape") from None


# ---- trainer/quantization/size_law.py
# How many bits codes take, before any are made.


# Where the mean square error of a Gaussian in six bits is about least; with more bits it is farther
# out, and trained rows have longer tails.
NEAREST_CLIP_SIGMAS = 4.0
ROWS_PER_OCTAVE = 4  # sizes of rows that are told apart: those of rare tokens are smaller
LEAST_ROW = 2.0**-10  # of codes that are all 0
FITTED_ROOM = 0.001  # of the budget, the most that a fitted artifact leaves
WIDEST_FACTOR = 32.0  # on clips: beyond, steps are so wide that all codes are 0


def normal_share_below(deviations: float) -> float:
    """The share of a normal distribution that lies below so many deviations."""
    return 0.5 * math.erfc(-deviations / math.sqrt(2.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeSpreads:
    """How far apart codes are, in N cells of all matrices: a column's codes in rows of one size.

    What a column's codes have in common is no matter: entropy coding takes it off.
    """

    variances: np.ndarray  # (N,) in steps, before rounding
    # (N,) the part that does not shrink as steps grow: errors that GPTQ hands on to later columns
    handed_on: np.ndarray
    num_codes: np.ndarray  # (N,)

    def saved_bytes(self, factor: float) -> float:
        """What codes take less if all clips are so many times as wide."""
        wider = (self.variances - self.handed_on) / factor**2 + self.handed_on
        bits = gaussian_bits(self.variances) - gaussian_bits(wider)
        return float((bits * self.num_codes).sum()) / 8


def code_spreads(stored: Mapping[str, StoredTensor], options: QuantizationOptions) -> CodeSpreads:
    """Those of all codes that clips decide on; a few beside them have grids of their own."""
    parts = [
        matrix_spreads(tensor.values.numpy(), max_code(tensor.bits) / clip_sigmas(name, options))
        for name, tensor in stored.items()
        if tensor.scale is not None and tensor.values.numel() > MAX_KEPT_ELEMENTS
    ]
    variances, handed_on, num_codes = np.concatenate([np.empty((3, 0)), *parts], axis=1)
    return CodeSpreads(variances=variances, handed_on=handed_on, num_codes=num_codes)


def matrix_spreads(codes: np.ndarray, weight_steps: float) -> np.ndarray:  # (R, C) int8 → (3, N)
    """Variances of a matrix's cells, what of them was handed on, codes.

    On SDClip's grids the weights of a row have a known variance in steps. Rounded to nearest, codes
    have a twelfth more; by GPTQ up to a third, the same at all clips.
    """
    table = rounded_gaussians()
    excess = float(codes.var(axis=1, dtype=np.float32).mean()) - 1 / 12 - weight_steps**2
    apart = codes - codes.mean(axis=0, dtype=np.float32)
    rows = np.sqrt(np.square(apart).mean(axis=1)).clip(LEAST_ROW)
    columns = np.sqrt(np.square(apart / rows[:, None]).mean(axis=0))
    levels, num_rows = np.unique(np.rint(ROWS_PER_OCTAVE * np.log2(rows)), return_counts=True)
    cells = np.outer(2.0 ** (levels / ROWS_PER_OCTAVE), columns)
    variances = np.interp(cells, table.code_deviations, table.deviations) ** 2
    handed_on = np.minimum(max(excess, 0.0), variances)
    num_codes = np.broadcast_to(num_rows[:, None], cells.shape)
    return np.stack([variances, handed_on, num_codes]).reshape(3, -1)


def gaussian_bits(variances: np.ndarray) -> np.ndarray:
    """The entropy of Gaussians that are rounded to whole numbers."""
    table = rounded_gaussians()
    bits: np.ndarray = np.interp(np.sqrt(variances), table.deviations, table.bits)
    return bits


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundedGaussians:
    """Gaussians rounded to whole numbers, from such that are always 0."""

    deviations: np.ndarray  # (K,)
    code_deviations: np.ndarray  # (K,) after rounding
    bits: np.ndarray  # (K,) of entropy


@cache
def rounded_gaussians() -> RoundedGaussians:
    """A table, sixteen to an octave."""
    deviations = 2.0 ** np.arange(-3.0, 7.0, 1 / 16)
    found = [(0.0, 0.0), *(rounded_gaussian(deviation) for deviation in deviations)]
    after, bits = np.array(found).T
    return RoundedGaussians(deviations=np.append(0.0, deviations), code_deviations=after, bits=bits)


def rounded_gaussian(deviation: float) -> tuple[float, float]:
    """The standard deviation and the entropy in bits of a Gaussian rounded to whole numbers."""
    last = math.ceil(7 * deviation)
    below = [normal_share_below((code - 0.5) / deviation) for code in range(-last, last + 2)]
    shares = [after - before for before, after in zip(below[:-1], below[1:], strict=True)]
    square = sum(share * code**2 for code, share in enumerate(shares, start=-last))
    return math.sqrt(square), -sum(share * math.log2(share) for share in shares if share > 0)


def finest_factor(options: QuantizationOptions) -> float:
    """The least by which clips may be multiplied: none ends nearer than NEAREST_CLIP_SIGMAS."""
    clips = (
        options.matrix_clip_sigmas,
        options.attn_clip_sigmas,
        options.mlp_clip_sigmas,
        options.embed_clip_sigmas,
    )
    return NEAREST_CLIP_SIGMAS / min(clip for clip in clips if clip > 0)


def with_clips_times(options: QuantizationOptions, factor: float) -> QuantizationOptions:
    """The options with every clip so many times as wide; 0 stays the word for another's."""
    return replace(
        options,
        matrix_clip_sigmas=options.matrix_clip_sigmas * factor,
        attn_clip_sigmas=options.attn_clip_sigmas * factor,
        mlp_clip_sigmas=options.mlp_clip_sigmas * factor,
        embed_clip_sigmas=options.embed_clip_sigmas * factor,
    )


# ---- trainer/fitted_artifact.py
# The artifact of a given size: clips are widened or narrowed until it keeps to a budget.


MAX_FITTINGS = 6
HALVINGS = 30  # of the octaves that clips may change by: to a billionth


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedArtifact:
    """An artifact whose clips were chosen for its size."""

    artifact: PackedArtifact
    clip_factor: float  # on every clip of the recipe
    predicted_bytes: int  # before its codes were made


def fit_artifact(
    store: Callable[[QuantizationOptions], dict[str, StoredTensor]],
    options: QuantizationOptions,
    budget_bytes: int,
) -> FittedArtifact:
    """The finest grids with which the artifact keeps to a budget.

    One artifact with the recipe's clips tells how much is too much, and its codes, by the size law,
    what clips take off as much. What that leaves over or under is taken off in the same way. Grids
    never end so near that clipping would do more harm than finer steps do good: a budget can be too
    large. Where sizes jump and none comes near the budget, the largest artifact that keeps to it is
    taken: a run is not lost for a thousandth of its bytes.

    Args:
        store: makes the stored tensors as options say.
        options: the recipe's; all its clips are multiplied by one factor.
        budget_bytes: the most that the artifact may take.

    Raises:
        RecipeError: no clips make it small enough.
    """
    target_bytes = round(budget_bytes * (1.0 - FITTED_ROOM / 2))
    finest = finest_factor(options)
    tried: list[FittedArtifact] = []
    factor, predicted_bytes = 1.0, 0
    for _ in range(MAX_FITTINGS):
        scaled = with_clips_times(options, factor)
        stored = store(scaled)
        artifact = pack_artifact(stored, scaled)
        num_bytes = artifact.num_bytes
        tried.append(
            FittedArtifact(
                artifact=artifact,
                clip_factor=factor,
                predicted_bytes=predicted_bytes or num_bytes,
            )
        )
        is_filled = num_bytes >= budget_bytes * (1.0 - FITTED_ROOM) or math.isclose(factor, finest)
        if num_bytes <= budget_bytes and is_filled:
            break
        spreads = code_spreads(stored, scaled)
        ends = (finest / factor, WIDEST_FACTOR / factor)
        times = fitting_factor(spreads, num_bytes - target_bytes, ends)
        factor *= times
        predicted_bytes = num_bytes - round(spreads.saved_bytes(times))
    return best_fitting(tried, budget_bytes)


def best_fitting(tried: Sequence[FittedArtifact], budget_bytes: int) -> FittedArtifact:
    """The largest artifact that keeps to a budget.

    Raises:
        RecipeError: none does.
    """
    fitting = [one for one in tried if one.artifact.num_bytes <= budget_bytes]
    if not fitting:
        least = min(one.artifact.num_bytes for one in tried)
        raise RecipeError(
            f"quantization.fit_total_bytes leaves {budget_bytes:,} bytes for the artifact, which "
            f"no clips lead to: the least was {least:,}, {least - budget_bytes:,} too many; lower "
            "model.num_layers or mlp_hidden, or shorten the script (--packed)"
        )
    return max(fitting, key=lambda one: one.artifact.num_bytes)


def fitting_factor(spreads: CodeSpreads, excess_bytes: float, ends: tuple[float, float]) -> float:
    """By what to multiply clips to save so many bytes, or the end that comes nearest to it."""
    low, high = ends
    if spreads.saved_bytes(low) >= excess_bytes:
        return low
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if spreads.saved_bytes(middle) < excess_bytes else (low, middle)
    return high


# ---- trainer/quantization/calibration.py
# What the matrices of a model are multiplied with: their Hessians, from passes over tokens.


class HessianSums:
    """Sums of X'X over inputs X, one a matrix, and how many inputs went into them."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.num_inputs: dict[str, int] = {}

    def add(self, name: str, inputs: Tensor) -> None:  # (..., C)
        """Take in what a matrix was multiplied with."""
        rows = inputs.detach().flatten(0, -2).float()
        if name not in self.sums:
            self.sums[name] = rows.new_zeros(rows.size(1), rows.size(1))
            self.num_inputs[name] = 0
        with torch.autocast(rows.device.type, enabled=False):
            self.sums[name].addmm_(rows.T, rows)
        self.num_inputs[name] += rows.size(0)

    def means(self, group: ProcessGroup) -> dict[str, Tensor]:  # name → (C, C) fp32
        """The mean of x'x over the inputs of all processes."""
        for total in self.sums.values():
            group.sum_in_place(total)
        return {
            name: total / (self.num_inputs[name] * group.world_size)
            for name, total in self.sums.items()
        }


def collect_hessians(
    model: nn.Module,
    passes: Iterable[Tensor],
    *,
    head: str,
    group: ProcessGroup,
) -> dict[str, Tensor]:  # name → (C, C) fp32
    """The Hessian of every linear layer's weight, and of the head.

    Args:
        model: its linear layers are watched while passes are drawn; a layer that is gone through
            several times counts each.
        passes: forward passes, each giving what the head sees, (..., C).
        head: the name of the weight that this is multiplied with.
        group: the processes, each with passes of its own, equally many.
    """
    sums = HessianSums()
    with linear_inputs(model, sums.add):
        for head_inputs in passes:
            sums.add(head, head_inputs)
    return sums.means(group)


@contextmanager
def linear_inputs(model: nn.Module, watch: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within it, `watch` is given the name and the inputs of each linear layer that is used."""

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda layer, inputs: watch(name, inputs[0])

    hooks = [
        layer.register_forward_pre_hook(hook_of(f"{path}.weight"))
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# ---- trainer/phases/pack.py
# From the trained model to the artifact's file; the only phase that writes one.


def calibrate(run: PreparedRun, batches: Iterator[ReadyBatch]) -> Hessians:
    """What each matrix is multiplied with, on the training tokens that come next.

    Every sequence stands by itself, packed documents or not, as in the public scripts.
    """
    recipe, model, group = run.recipe, run.model, run.group
    num_batches = math.ceil(recipe.quantization.gptq_calibration_batches / group.world_size)
    seq_len = recipe.batch.train_seq_len

    def head_inputs() -> Iterator[torch.Tensor]:
        is_cuda = group.device.type == "cuda"
        for batch in islice(batches, num_batches):
            rows = batch.on(group.device, seq_len).input_ids.view(-1, seq_len)
            with torch.no_grad(), torch.autocast(group.device.type, torch.bfloat16, is_cuda):
                yield model.final_stream(rows)

    model.use_positions(seq_len)
    head = "tok_emb.weight"
    hessians = collect_hessians(model, head_inputs(), head=head, group=group)
    model.use_positions(recipe.batch.row_tokens, seq_len)
    run.log.write(f"gptq:collected {len(hessians)} hessians micro_batches:{num_batches}")
    return hessians


def write_artifact(run: PreparedRun, script: Path, hessians: Hessians) -> None:
    """Quantise, compress, write, and say how many bytes that makes."""
    if not run.group.is_master:
        return
    state, options = run.model.state_dict(), run.recipe.quantization
    code_bytes = script.stat().st_size
    artifact = packed_state(run, hessians, code_bytes)
    with written_whole(Path(ARTIFACT_NAME)) as part:
        part.write_bytes(artifact.compressed)
    model_bytes, payload = sum(one.nbytes for one in state.values()), artifact.payload_bytes
    form = f"int{options.matrix_bits}+{options.compressor}"
    for line in (
        f"Serialized model: {model_bytes} bytes",
        f"Code size: {code_bytes} bytes",
        f"Total submission size: {model_bytes + code_bytes} bytes",
        f"Serialized model {form}: {artifact.num_bytes} bytes (payload:{payload} "
        f"raw_torch:{artifact.raw_bytes} payload_ratio:{model_bytes / payload:.2f}x)",
        f"Total submission size {form}: {artifact.num_bytes + code_bytes} bytes",
    ):
        run.log.write(line)


def packed_state(run: PreparedRun, hessians: Hessians, code_bytes: int) -> PackedArtifact:
    """The model as an artifact; where the recipe gives a total, as fine as that allows.

    Raises:
        RecipeError: the total cannot be kept to.
    """
    state, options = run.model.state_dict(), run.recipe.quantization
    if options.fit_total_bytes > 0:
        store = partial(quantize_calibrated, state, hessians)
        fitted = fit_artifact(store, options, options.fit_total_bytes - code_bytes)
        run.log.write(
            f"size_law:clips_times:{fitted.clip_factor:.5f} predicted:{fitted.predicted_bytes} "
            f"packed:{len(fitted.artifact.compressed)}"
        )
        return fitted.artifact
    return pack_artifact(quantize_calibrated(state, hessians, options), options)


# ---- trainer/optimizer/muon.py
# Muon: momentum whose update is made orthogonal before it is applied.


Quintic = tuple[float, float, float]
Arriving = Callable[[], Tensor]  # waits for a tensor that is on its way

NEWTON_SCHULZ_COEFFICIENTS: Quintic = (3.4445, -4.7750, 2.0315)
# One quintic an iteration, the best for the singular values that the one before leaves
# (arXiv 2505.16932, as in #1344).
POLAR_EXPRESS_COEFFICIENTS: tuple[Quintic, ...] = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
SMALLEST_ROW_NORM = 1e-7


def newton_schulz(
    matrices: Tensor,  # (N, R, C)
    num_iterations: int,
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """Push all singular values of each matrix towards one (they end within about 0.7 to 1.2).

    The quintic's coefficients trade exactness for a steep slope at zero.
    """
    return orthogonalized(matrices, (NEWTON_SCHULZ_COEFFICIENTS,) * num_iterations)


def polar_express(
    matrices: Tensor,  # (N, R, C)
    num_iterations: int,  # 5 at most
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """The same with coefficients that change from one iteration to the next."""
    return orthogonalized(matrices, POLAR_EXPRESS_COEFFICIENTS[:num_iterations])


def orthogonalized(
    matrices: Tensor,  # (N, R, C)
    quintics: tuple[Quintic, ...],
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """Apply a X + b (X Xᵀ) X + c (X Xᵀ)² X again and again, from a Frobenius norm of one.

    CPUs compute in fp32: most have no bf16 units.
    """
    iterate = matrices.bfloat16() if matrices.is_cuda else matrices
    iterate = iterate / (iterate.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    is_tall = iterate.size(-2) > iterate.size(-1)
    if is_tall:  # the Gram matrix below has the size of the shorter side
        iterate = iterate.mT
    for a, b, c in quintics:
        gram = iterate @ iterate.mT
        iterate = a * iterate + (b * gram + c * gram @ gram) @ iterate
    orthogonal: Tensor = iterate.mT if is_tall else iterate
    return orthogonal


Orthogonalize = Callable[[Tensor, int], Tensor]


def orthogonalizer(options: OptimizerOptions) -> Orthogonalize:
    """The function that the recipe asks for."""
    return polar_express


def with_equal_rows(matrices: Tensor) -> Tensor:  # (N, R, C)
    """Each row divided by its length, in fp32: MuonEq-R (#1217)."""
    lengths: Tensor = torch.linalg.vector_norm(matrices.float(), dim=-1, keepdim=True)
    return matrices / lengths.clamp_min(SMALLEST_ROW_NORM).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon over matrices, one parameter group per shape: a bank, which is one batched update.

    With several processes, each orthogonalises an equal share of every bank's matrices and keeps
    the momentum of those alone; a bank that does not divide is filled up with empty matrices. The
    updates are then gathered, one bank's while the next one's are computed, so that every process
    applies all of them.

    Gradients are averaged before, whole, or each process is sent the mean of its share alone
    (`scatters_gradients`; in bf16 on GPUs, as in public scripts from #549 on): half the traffic,
    the mean of the next banks on its way while one is orthogonalised. None of it begins during the
    backward pass: a bank is complete with its first layer's gradient, which comes last, and
    compiled code hands over all gradients at its end.

    Weight decay is decoupled: a weight shrinks by lr x weight_decay of itself before its update,
    as in #65. (#60 decays after it, which also shrinks the update by that factor.)
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        group: ProcessGroup,
        orthogonalize: Orthogonalize = newton_schulz,
        *,
        normalizes_rows: bool = False,
        scatters_gradients: bool = False,
    ) -> None:
        defaults = {"lr": 0.0, "momentum": 0.0, "num_iterations": 5, "weight_decay": 0.0}
        super().__init__(groups, defaults)
        self.normalizes_rows = normalizes_rows
        self.scatters_gradients = scatters_gradients
        self.process_group = group
        self.orthogonalize = orthogonalize

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update to every matrix from its gradient."""
        self.update(self.start_gradients())

    @torch.no_grad()
    def start_gradients(self) -> list[Arriving]:  # (share of N, R, C) a bank
        """Begin to bring this process the mean gradients of its share of every bank."""
        return [self._start_gradients(options["params"]) for options in self.param_groups]

    @torch.no_grad()
    def update(self, arriving: list[Arriving]) -> None:
        """Orthogonalise this process's shares as they arrive, and apply all processes' updates."""
        gathering = [
            self.process_group.start_gather(self._own_updates(options, gradients()))
            for options, gradients in zip(self.param_groups, arriving, strict=True)
        ]
        for options, updates in zip(self.param_groups, gathering, strict=True):
            self._apply(options, updates())

    def _start_gradients(self, params: list[Tensor]) -> Arriving:
        gradients = [param.grad for param in params if param.grad is not None]
        world_size, rank = self.process_group.world_size, self.process_group.rank
        share = math.ceil(len(params) / world_size)
        if self.scatters_gradients:
            bank = filled_up(torch.stack(gradients), share * world_size)
            return self.process_group.start_scatter(bank.bfloat16() if bank.is_cuda else bank)
        own = gradients[share * rank : share * (rank + 1)]
        bank = torch.stack(own) if own else gradients[0].new_empty(0, *gradients[0].shape)
        return lambda: filled_up(bank, share)

    def _own_updates(
        self,
        options: dict[str, Any],
        gradients: Tensor,  # (share of N, R, C)
    ) -> Tensor:  # (share of N, R, C)
        nesterov = self._nesterov(options, gradients.to(options["params"][0].dtype))
        if self.normalizes_rows:
            nesterov = with_equal_rows(nesterov)
        return self.orthogonalize(nesterov, options["num_iterations"])

    def _nesterov(self, options: dict[str, Any], gradients: Tensor) -> Tensor:
        state, momentum = self.state[options["params"][0]], options["momentum"]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(gradients)
        velocity: Tensor = state["velocity"]
        velocity.mul_(momentum).add_(gradients)
        return gradients.add(velocity, alpha=momentum)

    def _apply(
        self,
        options: dict[str, Any],
        updates: Tensor,  # (N or more, R, C)
    ) -> None:
        params: list[Tensor] = options["params"]
        num_rows, num_columns = params[0].shape
        scale = max(1.0, num_rows / num_columns) ** 0.5
        updates = (updates[: len(params)] * scale).to(params[0].dtype)
        if options["weight_decay"] > 0:
            torch._foreach_mul_(params, 1 - options["lr"] * options["weight_decay"])
        torch._foreach_add_(params, list(updates.unbind()), alpha=-options["lr"])


def filled_up(matrices: Tensor, number: int) -> Tensor:  # (N, R, C) → (number, R, C)
    """A bank with empty matrices behind its own, if it lacks any."""
    if len(matrices) == number:
        return matrices
    return F.pad(matrices, (0, 0, 0, 0, 0, number - len(matrices)))


# ---- trainer/optimizer/parameter_groups.py
# Which tensor is trained by which rule, and how fast.


EMBEDDINGS = ("tok_emb.weight", "bigram_hash.table.weight", "ve_shared.embed.weight")


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

    adam: torch.optim.AdamW
    muon: Muon
    options: OptimizerOptions
    group: ProcessGroup

    def step(self, pace: Pace) -> None:
        """One step of both at a pace; gradients are dropped.

        Adam steps while Muon's gradients are on their way, if they are scattered.
        """
        for optimizer in (self.adam, self.muon):
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * pace.learning_rate_scale
        for group in self.muon.param_groups:
            group["momentum"] = pace.momentum
            group["weight_decay"] = group["base_weight_decay"] * pace.weight_decay_scale
        arriving = self._finish_gradients()
        self.adam.step()
        self.muon.update(arriving)
        self.adam.zero_grad()
        self.muon.zero_grad()

    def forget(self) -> None:
        """Drop all momentum, as if no step had been taken."""
        self.adam.state.clear()
        self.muon.state.clear()

    def _finish_gradients(self) -> list[Arriving]:
        """Clip and average: Adam's gradients are then in place, Muon's on their way.

        Clipped is the mean gradient, by its norm, or each process clips its own before they are
        averaged. The latter have a smaller mean: the processes' noise counts in their norms, but
        cancels in the mean. Public scripts with sharded Muon clip so (#549 on).
        """
        limit = self.options.grad_clip_norm
        if limit > 0:
            parameters = parameters_of(self.adam) + parameters_of(self.muon)
            torch.nn.utils.clip_grad_norm_(parameters, limit)
        others = [p.grad for p in parameters_of(self.adam) if p.grad is not None]
        put_in_others = self.group.start_average(others)
        arriving = self.muon.start_gradients()
        put_in_others()
        return arriving


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an optimizer trains."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def group_parameters(model: nn.Module, control_patterns: str) -> ParameterGroups:
    """Sort a model's parameters by rule; each belongs to exactly one group.

    Args:
        model: the transformer.
        control_patterns: comma-separated parts of names that make a tensor a scalar.
    """
    groups = ParameterGroups(embedding=[], head=[], matrices=[], scalars=[])
    for name, parameter in model.named_parameters():
        if name in EMBEDDINGS:
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
    adam = torch.optim.AdamW(
        [
            {"params": params, "base_lr": lr, "weight_decay": weight_decay}
            for params, lr, weight_decay in (
                (groups.embedding, embed_lr, options.embed_weight_decay),
                (groups.head, options.head_lr, options.adam_weight_decay),
                (groups.scalars, options.scalar_lr, options.adam_weight_decay),
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
            "base_weight_decay": options.muon_weight_decay,
        }
        for params in _by_shape(groups.matrices)
    ]
    muon = Muon(
        muon_groups,
        group,
        orthogonalize,
        normalizes_rows=options.muon_row_normalize,
        scatters_gradients=options.gradient_reduction == "reduce_scatter",
    )
    return Optimizers(adam=adam, muon=muon, options=options, group=group)


def _by_shape(matrices: list[Tensor]) -> list[list[Tensor]]:
    by_shape: defaultdict[Any, list[Tensor]] = defaultdict(list)
    for matrix in matrices:
        by_shape[matrix.shape].append(matrix)
    return list(by_shape.values())


# ---- trainer/checkpoint.py
# Checkpoints: a run that was cut off goes on as if it had not been.


class Stateful(Protocol):
    """A model or an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Go on from that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a run had come."""

    step: int  # steps done
    train_seconds: float
    before_seconds: float  # of start and warm-up, in all the processes that it took

    def __str__(self) -> str:
        return f"step:{self.step} train_time:{1000.0 * self.train_seconds:.0f}ms"


# ---- trainer/optimizer/averaging.py
# Averages of the weights along the way, which replace them when training is over.


class WeightAverage:
    """An exponential moving average from the first step on, or a mean over the end of a run.

    In fp32 whatever the weights are. EMA (#287): a becomes d a + (1 - d) w after each step, from
    the weights that training began with. SWA (#162): the mean of the weights after every
    `swa_every`-th step, once the learning rate is below `swa_start_frac` of itself.
    """

    def __init__(self, model: nn.Module, options: OptimizerOptions) -> None:
        self.options = options
        self.weights = [parameter.detach() for parameter in model.parameters()]
        self.num_averaged = 0
        self.mean = [weight.float().clone() for weight in self.weights]

    def update(self, step: int, learning_rate_scale: float) -> None:
        """Take in the weights after a step, if they count."""
        options = self.options
        if options.ema_decay > 0:
            self._move_towards_weights(1.0 - options.ema_decay)
        elif learning_rate_scale < options.swa_start_frac:
            if step % options.swa_every == 0:
                self._move_towards_weights(1.0 / (self.num_averaged + 1))

    def replace_weights(self) -> int:
        """Put the average in the weights' place; returns how many weights went into it."""
        if self.num_averaged > 0:
            torch._foreach_copy_(self.weights, self.mean)
        return self.num_averaged

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"mean": self.mean, "num_averaged": self.num_averaged}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from what a checkpoint kept."""
        self.num_averaged = state_dict["num_averaged"]
        self.mean = state_dict["mean"]

    def _move_towards_weights(self, share: float) -> None:
        weights = [weight.float() for weight in self.weights]
        torch._foreach_lerp_(self.mean, weights, share)
        self.num_averaged += 1


def weight_average(model: nn.Module, options: OptimizerOptions) -> WeightAverage | None:
    """The average that the recipe asks for, if it does."""
    if options.ema_decay == 0:
        return None
    return WeightAverage(model, options)


# ---- trainer/training_failures.py
# What to say, and what to keep, when training cannot go on.


NUM_NAMES = 3  # of tensors in a message; the file holds all


def refuse_divergence(model: nn.Module, group: ProcessGroup, step: int, loss_nats: float) -> None:
    """See to it that a loss is a number, between the backward pass and the update.

    Args:
        model: its weights are those that made the loss, its gradients those of that loss.
        group: whose process this is.
        step: steps done before this one.
        loss_nats: of this process's tokens.

    Raises:
        TrainerError: it is none; the weights and gradients are kept in a file.
    """
    if math.isfinite(loss_nats):
        return
    weights = dict(model.named_parameters())
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    path = Path(f"{DIVERGED_PREFIX}{group.rank}.pt")
    torch.save({"step": step, "weights": model.state_dict(), "gradients": gradients}, path)
    raise TrainerError(
        f"step {step + 1}: the training loss is {loss_nats}; not finite: "
        f"weights {describe_non_finite(weights)}, gradients {describe_non_finite(gradients)}; "
        f"both are in {path} as they were before the update; "
        "lower the learning rates, or clip gradients with optimizer.grad_clip_norm"
    )


def describe_non_finite(tensors: Mapping[str, Tensor]) -> str:
    """The names of the tensors that hold an infinity or no number, the first few in full."""
    names = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if not names:
        return "none"
    more = len(names) - NUM_NAMES
    return " ".join(names[:NUM_NAMES]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def memory_advice(batch: BatchOptions) -> Iterator[None]:
    """Within it, running out of memory says what to lower.

    Raises:
        TrainerError: the GPU's memory did not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        tokens = batch.train_batch_tokens // batch.micro_batches_per_step
        raise TrainerError(
            f"out of GPU memory with micro-batches of {tokens} tokens "
            f"({str(error).partition('.')[0]}): raise batch.micro_batches_per_step from "
            f"{batch.micro_batches_per_step} to {2 * batch.micro_batches_per_step}, which changes "
            "no result, or lower batch.train_batch_tokens, num_layers or model_dim"
        ) from None


# ---- trainer/training_loop.py
# The training loop: steps until the recipe's last one, or until the time is up.


ALWAYS_LOGGED_STEPS = 10  # the first ones, where a run that goes wrong usually shows it


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """All that training touches."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: GPT  # holds the parameters
    forward: nn.Module  # the same, compiled and replicated
    optimizers: Optimizers
    train_paths: list[Path]

    def batches(self, first_step: int = 0) -> Iterator[ReadyBatch]:
        """The training data from what belongs to a step on."""
        per_step = self.recipe.batch.micro_batches_per_step // self.group.world_size
        first = first_step * per_step
        return train_batches(self.train_paths, self.recipe, self.group, first=first)

    def parts(
        self, *, average: WeightAverage | None, growth: LengthGrowth | None
    ) -> dict[str, Stateful]:
        """What changes while training."""
        parts: dict[str, Stateful] = {
            "model": self.model,
            "adam": self.optimizers.adam,
            "muon": self.optimizers.muon,
        }
        if average is not None:
            parts["average"] = average
        if growth is not None:
            parts["growth"] = growth
        return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Seconds of the training loop, those of earlier commands counted in."""

    loop_seconds: float  # where training ends; infinite without a limit
    pause_seconds: float  # where this process leaves the rest to another; infinite: nowhere
    before_seconds: float  # of start and warm-up, before the loop

    @property
    def is_limited(self) -> bool:
        return min(self.loop_seconds, self.pause_seconds) < math.inf


class TrainingClock:
    """Seconds of training; stands still while paused."""

    def __init__(self, group: ProcessGroup, banked_seconds: float) -> None:
        self.group = group
        self.banked_seconds = banked_seconds
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
    """Take some steps in each stage so that everything is compiled, then undo them."""
    schedule = run.recipe.schedule
    initial = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    batches = run.batches()
    pace = Pace(momentum=muon_momentum(run.recipe.optimizer, 0))
    for stage in stages(run.recipe):
        run.model.use_loops(wanted=stage.has_loops)
        label = "loop_" if stage.has_loops else ""
        for step in range(1, schedule.warmup_steps + 1):
            with memory_advice(run.recipe.batch):
                take_step(run, batches, 0, pace, stage)
            if schedule.warmup_steps <= 20 or step % 10 == 0 or step == schedule.warmup_steps:
                run.log.write(f"{label}warmup_step:{step}/{schedule.warmup_steps}")
    run.model.load_state_dict(initial)
    run.optimizers.forget()


def train(run: TrainingRun, validate: Callable[[Progress], None]) -> Progress:
    """Train to the end of the schedule, from the checkpoint on where there is one.

    Args:
        run: all that training touches.
        validate: scores the model and says so; its time is not counted. Called every
            `val_loss_every` steps and after the last one; never if that is 0.

    Returns:
        The steps taken and the seconds they took.

    Raises:
        PausedError: this process's share of the time is over before the schedule's end.
    """
    schedule = run.recipe.schedule
    average = weight_average(run.model, run.recipe.optimizer)
    begin = Position(step=0, train_seconds=0.0, before_seconds=0.0)
    budget = open_budget(run, begin)
    budget_seconds = budget.loop_seconds
    step, elapsed_seconds = begin.step, begin.train_seconds
    batches = run.batches(step)
    clock = TrainingClock(run.group, elapsed_seconds)
    is_last = False
    while not is_last:
        so_far = step, elapsed_seconds, budget_seconds
        pace, stage = pace_at(run.recipe, *so_far), stage_at(run.recipe, *so_far)
        follow_loops(run, step, stage)
        if schedule.val_loss_every > 0 and step % schedule.val_loss_every == 0:
            validate(_progress(schedule, step, clock.pause()))
            clock.resume()
        used_pace = pace
        with memory_advice(run.recipe.batch):
            loss = take_step(run, batches, step, used_pace, stage)
        step += 1
        if average is not None:
            average.update(step, pace.learning_rate_scale)
        elapsed_seconds = clock.seconds()
        if budget.is_limited:  # all processes go by one time, or their weights drift apart
            elapsed_seconds = run.group.largest(elapsed_seconds)
        is_last = step == schedule.iterations or elapsed_seconds >= budget_seconds
        if is_last or _is_logged(step, schedule):
            progress = _progress(schedule, step, elapsed_seconds)
            run.log.write(progress.train_line(run.group.mean(loss).item()))
    progress = _progress(schedule, step, clock.pause())
    if schedule.val_loss_every > 0:
        validate(progress)
    if step < schedule.iterations:
        run.log.write(progress.stopping_line())
    use_average(run, average=average)
    run.model.use_loops(wanted=True)
    return progress


def use_average(run: TrainingRun, *, average: WeightAverage | None) -> None:
    """Put averaged weights in the place of the last ones, if the recipe averages any."""
    if average is not None and (num_averaged := average.replace_weights()):
        kind = "ema"
        run.log.write(f"{kind}:applying averaged weights of {num_averaged} steps")


def follow_loops(run: TrainingRun, step: int, stage: Stage) -> None:
    """Go through the blocks in the stage's order; say so when it is the looped one."""
    was_looped = run.model.is_looped
    run.model.use_loops(wanted=stage.has_loops)
    if run.model.is_looped and not was_looped:
        layers = [block.layer for block in run.model.steps]
        half = len(layers) // 2
        run.log.write(
            f"layer_loop:enabled step:{step} encoder:{layers[:half]} decoder:{layers[half:]}"
        )


def open_budget(run: TrainingRun, begin: Position) -> Budget:
    """The seconds that the loop may take, the same for all processes; says so in the log.

    Raises:
        TrainerError: the clock covers what came before, and that took all of the limit.
    """
    schedule = run.recipe.schedule
    own_seconds = run.group.largest(seconds_since_start())
    before_seconds = begin.before_seconds + own_seconds
    budget_seconds = loop_budget_seconds(schedule, before_seconds)
    if budget_seconds <= 0:
        raise TrainerError(
            f"schedule.clock {schedule.clock}: start and warm-up took {before_seconds:.1f} s and "
            f"{schedule.reserve_seconds:.1f} s are reserved, which leaves no time to train of "
            f"max_wallclock_seconds {schedule.max_wallclock_seconds:.1f}; raise it"
        )
    words = "none" if math.isinf(budget_seconds) else f"{budget_seconds:.3f}s"
    run.log.write(f"clock:{schedule.clock} before_loop:{before_seconds:.3f}s loop_budget:{words}")
    pause_seconds = math.inf
    return Budget(
        loop_seconds=budget_seconds, pause_seconds=pause_seconds, before_seconds=before_seconds
    )


def seconds_since_start() -> float:
    """Seconds since the system started this process, imports included (Linux, proc(5))."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start_ticks = int(after_name[19])  # field 22, since boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


def take_step(
    run: TrainingRun, batches: Iterator[ReadyBatch], step: int, pace: Pace, stage: Stage
) -> Tensor:  # () fp32 on the device, nats a token
    """One optimizer step over this process's micro-batches; returns their mean loss.

    The loss is looked at while the device is busy with the last backward pass, so that nothing
    waits and an update from a loss that is no number is never applied.
    """
    num_micro_batches = run.recipe.batch.micro_batches_per_step // run.group.world_size
    is_cuda = run.group.device.type == "cuda"
    total = torch.zeros((), device=run.group.device)
    run.model.longest_document = stage.seq_len
    for index in range(num_micro_batches):
        batch = next(batches).on(run.group.device, stage.seq_len)
        with gradient_sync(run.forward, wanted=index == num_micro_batches - 1):
            with torch.autocast(run.group.device.type, torch.bfloat16, enabled=is_cuda):
                loss = run.forward(
                    batch.input_ids, batch.target_ids, boundaries=batch.boundaries
                ).mean()
            total += loss.detach()
            arriving_loss = run.group.start_fetch(total)
            (loss / num_micro_batches).backward()
    refuse_divergence(run.model, run.group, step, arriving_loss())
    run.optimizers.step(pace)
    return total / num_micro_batches


def _progress(schedule: ScheduleOptions, step: int, train_seconds: float) -> Progress:
    return Progress(step=step, num_steps=schedule.iterations, train_seconds=train_seconds)


def _is_logged(step: int, schedule: ScheduleOptions) -> bool:
    every = schedule.train_log_every
    return step <= ALWAYS_LOGGED_STEPS or (every > 0 and step % every == 0)


# ---- trainer/phases/train.py
# Training as a phase of a run: what it is given, and what the log says of it.


def train_model(run: PreparedRun, training: TrainingRun) -> Progress:
    """Train to the end of the recipe's schedule; returns how far that was.

    Raises:
        PausedError: this process's share of the time is over.
    """
    log_training_setup(training)
    with run.log.phase("warm_up"):
        warm_up(training)
    with run.log.phase("training"):
        return train(training, partial(log_validation, run))


def begin_training(run: PreparedRun) -> TrainingRun:
    """All that training touches, with fresh optimizers.

    Raises:
        DataError: there are no training shards.
    """
    recipe, group = run.recipe, run.group
    orthogonalize = orthogonalizer(recipe.optimizer)
    if is_compiled(recipe, group):
        orthogonalize = torch.compile(orthogonalize, dynamic=False, fullgraph=True)
    return TrainingRun(
        recipe=recipe,
        group=group,
        log=run.log,
        model=run.model,
        forward=gradients_averaged(run),
        optimizers=build_optimizers(run.model, recipe.optimizer, group, orthogonalize),
        train_paths=shard_paths(recipe.run.data_path, "train"),
    )


def gradients_averaged(run: PreparedRun) -> nn.Module:
    """The model, its gradients averaged while they arise, unless optimizers do that."""
    return run.forward


def log_validation(run: PreparedRun, progress: Progress) -> None:
    """Score the model as it is, in the middle of training."""
    score, _ = score_model(run, training_windows(run.recipe))
    run.log.write(progress.validation_line(score.loss_nats, score.bits_per_byte))


def log_training_setup(training: TrainingRun) -> None:
    """Say what is about to be trained, on what, and how."""
    recipe, log, world_size = training.recipe, training.log, training.group.world_size
    model, optimizer = recipe.model, recipe.optimizer
    batch, schedule = recipe.batch, recipe.schedule
    token_lr = optimizer.tied_embed_lr
    head_lr = 0.0
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


# ---- trainer/recipe_contradictions.py
# What is wrong between a recipe's options, each of which is right on its own.


def contradictions(recipe: Recipe) -> Iterator[str]:
    """All contradictions, each a line that names the options."""
    yield from batch_contradictions(recipe.batch)
    yield from shape_contradictions(recipe.model)
    yield from kernel_contradictions(recipe.model)
    yield from block_contradictions(recipe.model)
    yield from optimizer_contradictions(recipe.optimizer)
    yield from schedule_contradictions(recipe)
    yield from quantization_contradictions(recipe.quantization)
    yield from evaluation_contradictions(recipe)


def batch_contradictions(batch: BatchOptions) -> Iterator[str]:
    """What cannot be dealt out evenly."""
    micro_batch_tokens, rest = divmod(batch.train_batch_tokens, batch.micro_batches_per_step)
    if rest > 0 or micro_batch_tokens % batch.train_seq_len > 0:
        yield (
            f"batch.train_batch_tokens {batch.train_batch_tokens} must be a multiple of "
            f"micro_batches_per_step {batch.micro_batches_per_step} x train_seq_len "
            f"{batch.train_seq_len}"
        )
    if batch.val_batch_size < batch.micro_batches_per_step * batch.train_seq_len:
        yield (
            f"batch.val_batch_size {batch.val_batch_size} must be at least micro_batches_per_step "
            f"{batch.micro_batches_per_step} x train_seq_len {batch.train_seq_len}"
        )


def shape_contradictions(model: ModelOptions) -> Iterator[str]:
    """What does not divide."""
    if model.model_dim % model.num_heads > 0:
        yield f"model.model_dim {model.model_dim} must be a multiple of num_heads {model.num_heads}"
    if model.head_dim % 2 > 0:
        yield (f"model.model_dim / num_heads = {model.head_dim} must be even for rotary positions")
    if model.num_heads % model.num_kv_heads > 0:
        yield (
            f"model.num_heads {model.num_heads} must be a multiple of num_kv_heads "
            f"{model.num_kv_heads}"
        )
    if model.rope_dims > 0 and (model.rope_dims % 2 > 0 or model.rope_dims > model.head_dim):
        yield (
            f"model.rope_dims {model.rope_dims} must be even and at most model_dim / num_heads = "
            f"{model.head_dim}"
        )
    gates = (model.attn_out_gate_enabled, model.sparse_attn_gate_enabled, model.gated_attn_enabled)
    if sum(gates) > 1:
        yield (
            "model.attn_out_gate_enabled, sparse_attn_gate_enabled, gated_attn_enabled: "
            "set one at most"
        )


def kernel_contradictions(model: ModelOptions) -> Iterator[str]:
    """What a kernel that is switched on cannot do."""
    if model.model_dim % 8 > 0 or model.hidden_dim % 8 > 0:
        yield (
            f"model.model_dim {model.model_dim} and the feed-forward's {model.hidden_dim} channels "
            "must be multiples of 8 where fused_mlp_enabled: it moves rows of whole 16 bytes"
        )
    if model.logit_softcap > 40 or model.vocab_size > 16_384:
        yield (
            f"model.logit_softcap {model.logit_softcap} must be at most 40 and vocab_size "
            f"{model.vocab_size} at most 16384 where fused_ce_enabled"
        )


def block_contradictions(model: ModelOptions) -> Iterator[str]:
    """What names blocks that the model does not have, or cannot use so."""
    last = model.num_layers - 1
    if model.num_loops > 0 and not model.loop_start <= model.loop_end <= last:
        yield (
            f"model.num_loops {model.num_loops} repeats the blocks loop_start {model.loop_start} "
            f"to loop_end {model.loop_end}: set both, from 0 to {last}"
        )
    end_of_loop = model.loop_end if model.num_loops > 0 else 0
    if model.parallel_start_layer > 0 and not end_of_loop < model.parallel_start_layer <= last:
        yield (
            f"model.parallel_start_layer {model.parallel_start_layer} must be at most {last}, and "
            f"above loop_end {end_of_loop} where blocks are looped"
        )


def optimizer_contradictions(optimizer: OptimizerOptions) -> Iterator[str]:
    """What no optimizer can do."""
    if optimizer.muon_momentum >= 1:
        yield f"optimizer.muon_momentum {optimizer.muon_momentum} must be below 1"
    if optimizer.ema_decay > 0 and (optimizer.ema_decay >= 1):
        yield (
            f"optimizer.ema_decay {optimizer.ema_decay} must be below 1, and 0 where swa_enabled"
        )
    if optimizer.muon_backend_steps > 5:
        yield (
            f"optimizer.muon_backend_steps {optimizer.muon_backend_steps}: polar_express has "
            "coefficients for 5"
        )


def schedule_contradictions(recipe: Recipe) -> Iterator[str]:
    """What no clock can keep."""
    schedule = recipe.schedule
    if recipe.device.deterministic and schedule.max_wallclock_seconds > 0:
        yield "device.deterministic needs max_wallclock_seconds 0: no two runs take the same time"
    if recipe.run.stop_after_seconds > 0:
        yield "run.stop_after_seconds needs checkpoints to go on from: set checkpoint_every"


def quantization_contradictions(options: QuantizationOptions) -> Iterator[str]:
    """What no codes can hold."""
    if options.matrix_bits > 8:
        yield f"quantization.matrix_bits {options.matrix_bits} must be at most 8"
    if options.embed_bits not in (0, 2, 3, 4, 5, 6, 7, 8):
        yield f"quantization.embed_bits {options.embed_bits} must be 2 to 8, or 0"


def evaluation_contradictions(recipe: Recipe) -> Iterator[str]:
    """What no window can hold."""
    options = recipe.evaluation
    yield from test_time_contradictions(options)
    eval_seq_len = options.eval_seq_len or recipe.batch.train_seq_len
    if options.eval_stride > eval_seq_len:
        yield (
            f"evaluation.eval_stride {options.eval_stride} must be at most the length of "
            f"the windows, {eval_seq_len}"
        )


def test_time_contradictions(options: EvaluationOptions) -> Iterator[str]:
    """What nothing can learn from."""
    seq_len = options.ttt_eval_seq_len
    if options.ttt_chunk_size > seq_len:
        yield (
            f"evaluation.ttt_chunk_size {options.ttt_chunk_size} must be at most "
            f"ttt_eval_seq_len {seq_len}"
        )
    if options.phased_ttt_num_phases > 0 and options.global_ttt_chunk_tokens % seq_len > 0:
        yield (
            f"evaluation.global_ttt_chunk_tokens {options.global_ttt_chunk_tokens} must be a "
            f"multiple of ttt_eval_seq_len {seq_len}"
        )


# ---- trainer/recipe_checks.py
# From settings to a recipe: each value parsed and held to its bounds, then against the others.


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
    places = origins or {}
    for path, raw in settings.items():
        section, _, name = path.partition(".")
        try:
            values[section][name] = parse_value(known[path], raw)
        except RecipeError as mistake:
            place = places.get(path, "recipe")
            mistakes.append(f"{place if place.endswith(path) else f'{place}: {path}'}: {mistake}")
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    parts = section_types()
    recipe = Recipe(**{section: parts[section](**options) for section, options in values.items()})
    if found := list(contradictions(recipe)):
        raise RecipeError("\n".join(f"{place_of(what, places)}: {what}" for what in found))
    return recipe


def place_of(contradiction: str, origins: Mapping[str, str]) -> str:
    """Where the options were set that a contradiction names, if anywhere."""
    words = set(contradiction.replace(".", " ").replace(",", " ").split())
    places = [place for path, place in origins.items() if path.split(".")[1] in words]
    return ", ".join(dict.fromkeys(places)) or "recipe"


def parse_value(option: Field[Any], raw: object) -> Value:
    """One option's value, converted to its type and held to its bounds.

    Raises:
        RecipeError: the value is of another type or out of bounds.
    """
    if words := get_args(option.type):
        if raw not in words:
            raise RecipeError(f"expected one of {', '.join(words)}, not {raw!r}")
        return str(raw)
    value = convert(option.type, raw)
    if isinstance(value, str):
        return value
    at_least, above = option.metadata["at_least"], option.metadata["above"]
    if at_least is not None and value < at_least:
        raise RecipeError(f"must be at least {at_least}, not {value}")
    if above is not None and value <= above:
        raise RecipeError(f"must be above {above}, not {value}")
    return value


def convert(kind: object, raw: object) -> Value:
    """A value of one of the types that options have.

    Raises:
        RecipeError: it cannot be read as one.
    """
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


# ---- trainer/public_names.py
# What public scripts call our options in the environment, and how their command lines read.


# Another word for an option: name → path.
ALIASES = {
    "QAT": "quantization.qat_enabled",  # #50
    "SW_EVAL_BATCH": "evaluation.eval_batch_seqs",  # #65
    "NEGATIVE_SLOPE": "model.leaky_relu_slope",  # #1204
    "MUON_WD": "optimizer.muon_weight_decay",  # #162
    "ADAM_WD": "optimizer.adam_weight_decay",  # #549
    "EMBED_WD": "optimizer.embed_weight_decay",  # #1218
    "VAL_BATCH_TOKENS": "batch.val_batch_size",  # #1218
    "GPTQ_RESERVE_SECONDS": "schedule.reserve_seconds",  # #1218
}
# Another word for an option's value too: name → path, and what each value means there.
TRANSLATIONS: dict[str, tuple[str, dict[str, Value]]] = {
    "USE_INT6": ("quantization.matrix_bits", {"0": 8, "1": 6}),  # #63
    "USE_ZSTD": ("quantization.compressor", {"0": "zlib", "1": "zstd"}),  # #63
}
# What the trainer lacks, because no record used it: name → the one value that goes without.
WITHOUT = {
    "LORA_RANK": "0",
    "LORA_LR": "0.01",
    "ZSTD_LEVEL": "22",  # #63: the level that the compressor always takes
    "EMBEDDING_DIM": "512",  # #1218: the model's own, without a projection
    "ATTN_OUT_GATE_SRC": "proj",  # #1667
    "ROPE_YARN": "0",  # #1530
    "LQER_ASYM_ENABLED": "1",  # #1851: factors in two and four bits
    "LQER_FACTOR_BITS": "4",
    "AWQ_LITE_BITS": "8",  # #1945
    "TTT_GRAD_STEPS": "1",  # #1530
    "TTT_OPTIMIZER": "adam",
    "TTT_EVAL_BATCHES": "",
    "PHASED_TTT_ENABLED": "1",  # #1610: where there are phases
    "GLOBAL_TTT_BATCH_SEQS": "32",  # of a process at once: all that it has of a step
    "GLOBAL_TTT_RESPECT_DOC_BOUNDARIES": "1",
    "GLOBAL_TTT_WARMUP_CHUNKS": "0",
}


def public_names(paths: Iterable[str] | None = None) -> dict[str, str]:
    """Every public name of these options, or of all → its path."""
    chosen = list(options_by_path() if paths is None else paths)
    own = {path.split(".")[1].upper(): path for path in chosen}
    others = ALIASES | {name: path for name, (path, _) in TRANSLATIONS.items()}
    return own | {name: path for name, path in others.items() if path in chosen}


def translated(name: str, value: object) -> object:
    """An option's value, as said under one of its public names or its path.

    Raises:
        RecipeError: the value means nothing under that name.
    """
    if name not in TRANSLATIONS:
        return value
    path, meanings = TRANSLATIONS[name]
    if str(value) not in meanings:
        raise RecipeError(f"expected {' or '.join(meanings)}, not {value!r}; or set {path}")
    return meanings[str(value)]


def environment_settings(environment: Mapping[str, str]) -> dict[str, object]:
    """The settings that an environment makes by public names: option path → value.

    Raises:
        RecipeError: one asks for what the trainer lacks, or means nothing.
    """
    names = public_names()
    return {
        names[name]: translated(name, text)
        for name, text in without_what_is_off(environment).items()
        if name in names
    }


def refuse_what_is_built_in(environment: Mapping[str, str], built_in: Mapping[str, Value]) -> None:
    """See to it that an environment leaves alone what a script was written for.

    Args:
        environment: public names and texts; those of no option do not count.
        built_in: path → the only value that the script has code for.

    Raises:
        RecipeError: another value is wanted; with all that are, one a line.
    """
    mistakes = []
    said = without_what_is_off(environment)
    for name, path in public_names(built_in).items():
        if name in said and not means(translated(name, said[name]), built_in[path]):
            text = said[name]
            mistakes.append(
                f"{name}={text}: this script has no code for it, it was written for "
                f"{path} {built_in[path]!r}; write another with pgolf-train --set {path}={text}"
            )
    if mistakes:
        raise RecipeError("\n".join(mistakes))


def means(raw: object, value: Value) -> bool:
    """Whether what an environment says is an option's value."""
    try:
        return convert(type(value), raw) == value
    except RecipeError:
        return False


def without_what_is_off(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment, less what only says that a technique is not wanted which we lack.

    #50, known by its LORA_RANK, counts passes through all blocks as NUM_LOOPS, where later scripts
    count more passes through a few: its NUM_LOOPS=1 is none.

    Raises:
        RecipeError: such a technique is wanted; with all that are, one a line.
    """
    if "LORA_RANK" in environment and environment.get("NUM_LOOPS") == "1":
        environment = {name: text for name, text in environment.items() if name != "NUM_LOOPS"}
    mistakes = [
        f"{name}={environment[name]}: the trainer has no such technique; leave it at {off}"
        for name, off in WITHOUT.items()
        if environment.get(name, off) != off
    ]
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    return {name: text for name, text in environment.items() if name not in WITHOUT}


# ---- trainer/train_gpt.py
# The training script: what ships is what ran.


VERBS = ("train", "evaluate")
STREAM_VERB = "stream"


def main(settings: Mapping[str, Value], script: Path, built_in: Mapping[str, Value]) -> int:
    """Run the verbs of the command line; returns the exit code.

    Args:
        settings: the recipe, option path → value.
        script: the source that is running, for the log and for the count of code bytes.
        built_in: likewise the options that the script was written for, which cannot be changed.
    """
    exit_code = 0
    try:
        refuse_what_is_built_in(os.environ, built_in)
        run_verbs(build_recipe({**settings, **environment_settings(os.environ)}), script)
    except PausedError:
        pass  # the log says so; torchrun would report a failure at length
    except (TrainerError, OSError) as error:  # the latter is mostly a full disk
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        exit_code = getattr(error, "exit_code", TrainerError.exit_code)
    finally:
        leave_process_group()
    return end_process(exit_code)


def run_verbs(recipe: Recipe, script: Path) -> None:
    """Train, evaluate or stream, as the command line says; without a word the first two."""
    verbs = sys.argv[1:] or VERBS
    if unknown := set(verbs) - {*VERBS, STREAM_VERB}:
        raise RecipeError(f"no verb {min(unknown)!r}; expected train, evaluate or stream")
    run = prepare_run(recipe, script)
    if "train" in verbs:
        train_and_pack(run, script)
    run.group.barrier()
    if "evaluate" in verbs:
        evaluate_artifact(run)
    if STREAM_VERB in verbs:
        stream_artifact(run)


def train_and_pack(run: PreparedRun, script: Path) -> None:
    """Train, then write the artifact. Validation data stay closed unless the recipe asks.

    Raises:
        DataError: training data or tokenizer are missing, damaged or do not fit the recipe.
        RecipeError: the artifact cannot be compressed as the recipe says.
    """
    recipe, log = run.recipe, run.log
    check_codec(recipe.quantization.compressor)
    load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    training = begin_training(run)
    progress = train_model(run, training)
    hessians: Hessians = {}
    with log.phase("calibration"):
        hessians = calibrate(run, training.batches(progress.step))
    log_peak_memory(log, run.group)
    with log.phase("serialise"):
        write_artifact(run, script, hessians)


if __name__ == "__main__":
    sys.exit(main(RECIPE, Path(__file__), BUILT_IN))
