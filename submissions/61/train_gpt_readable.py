# pr61_v2: Feed-forward layers three times as wide, stored in six bits; sequences of 2,048 tokens.
# Written by `pgolf-train`; RECIPE and BUILT_IN hold every option, and the script no code
# for others of BUILT_IN's.


import hashlib
import importlib.util
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
from dataclasses import Field, dataclass, field, fields
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
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
    "model.vocab_size": 1024,
    "model.num_layers": 9,
    "model.model_dim": 512,
    "model.num_heads": 8,
    "model.num_kv_heads": 4,
    "model.mlp_mult": 2.0,
    "model.mlp_hidden": 1536,
    "model.tie_embeddings": True,
    "model.tied_embed_init_std": 0.005,
    "model.qk_gain_init": 1.5,
    "model.rope_base": 10000.0,
    "model.rope_train_seq_len": 1024,
    "model.logit_softcap": 30.0,
    "model.attn_out_gate_enabled": False,
    "model.sparse_attn_gate_enabled": False,
    "model.gated_attn_enabled": False,
    "optimizer.embed_lr": 0.6,
    "optimizer.head_lr": 0.008,
    "optimizer.tied_embed_lr": 0.03,
    "optimizer.matrix_lr": 0.02,
    "optimizer.scalar_lr": 0.02,
    "optimizer.muon_momentum": 0.99,
    "optimizer.muon_momentum_warmup_start": 0.92,
    "optimizer.muon_momentum_warmup_steps": 1500,
    "optimizer.muon_backend_steps": 5,
    "optimizer.muon_weight_decay": 0.0,
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.95,
    "optimizer.adam_eps": 1e-08,
    "optimizer.adam_weight_decay": 0.0,
    "optimizer.embed_weight_decay": 0.0,
    "optimizer.grad_clip_norm": 0.3,
    "optimizer.control_tensor_name_patterns": "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,skip_weight,skip_weights,skip_gates,parallel_post_lambdas,parallel_resid_lambdas,lane_merge,attn_gate_w,smear_gate",
    "schedule.iterations": 20000,
    "schedule.max_wallclock_seconds": 600.0,
    "schedule.clock": "loop",
    "schedule.reserve_seconds": 0.0,
    "schedule.warmup_steps": 20,
    "schedule.warmdown_iters": 3000,
    "schedule.min_lr": 0.0,
    "schedule.enable_looping_at": 0.0,
    "schedule.train_log_every": 200,
    "schedule.val_loss_every": 0,
    "quantization.int8_keep_float_fp32_name_patterns": "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,skip_weight,skip_weights,skip_gates,parallel_post_lambdas,parallel_resid_lambdas,lane_merge,attn_gate_w,smear_gate",
    "quantization.fp16_passthrough_patterns": "tok_emb.weight,blocks.7.attn.c_k,blocks.8.attn.c_k",
    "quantization.matrix_bits": 6,
    "quantization.int8_full_range_patterns": "",
    "quantization.int4_layers": "",
    "quantization.int4_step": 16,
    "quantization.embed_bits": 0,
    "quantization.code_packing": "bytes",
    "quantization.compressor": "zlib",
    "evaluation.score_tail": True,
    "evaluation.eval_seq_len": 0,
    "evaluation.eval_stride": 256,
    "evaluation.eval_batch_seqs": 0,
    "evaluation.ttt_enabled": False,
}
BUILT_IN = {
    "batch.pack_documents": False,
    "model.leaky_relu_slope": 0.0,
    "model.tie_embeddings": True,
    "model.rope_dims": 0,
    "model.ln_scale": False,
    "model.xsa_last_n": 0,
    "model.asym_logit_rescale": False,
    "model.use_smeargate": False,
    "model.bigram_hash_buckets": 0,
    "model.bigram_hash_dim": 128,
    "model.orthogonal_init": False,
    "model.overtone_init": False,
    "model.phased_resid_mix": False,
    "model.gate_window": 12,
    "model.attn_out_gate_enabled": False,
    "model.sparse_attn_gate_enabled": False,
    "model.sparse_attn_gate_init_std": 0.0,
    "model.sparse_attn_gate_scale": 1.0,
    "model.gated_attn_enabled": False,
    "model.gated_attn_init_std": 0.01,
    "model.smear_gate_enabled": False,
    "model.smear_gate_bos_fix": True,
    "model.ve_enabled": False,
    "model.ve_dim": 128,
    "model.ve_layers": "",
    "model.skip_gates_enabled": False,
    "model.num_loops": 0,
    "model.loop_start": 0,
    "model.loop_end": -1,
    "model.parallel_residual_start": -1,
    "model.parallel_start_layer": 0,
    "model.parallel_lanes": "routed",
    "model.parallel_final_lane": "mean",
    "model.attention_backend": "auto",
    "model.fused_ce_enabled": False,
    "model.fused_mlp_enabled": False,
    "model.fused_qk_enabled": False,
    "model.fused_xsa_enabled": False,
    "model.fused_mix_enabled": False,
    "model.bf16_stream_enabled": False,
    "optimizer.newton_schulz": "constant",
    "optimizer.muon_row_normalize": False,
    "optimizer.muon_weight_decay": 0.0,
    "optimizer.wd_taper_final_mult": 1.0,
    "optimizer.wd_taper_start_frac": 0.7,
    "optimizer.grad_clip": "global",
    "optimizer.gradient_reduction": "all_reduce",
    "optimizer.ema_decay": 0.0,
    "optimizer.swa_enabled": False,
    "optimizer.swa_every": 50,
    "optimizer.swa_start_frac": 0.5,
    "schedule.clock": "loop",
    "schedule.warmdown_frac": 0.0,
    "schedule.enable_looping_at": 0.0,
    "schedule.checkpoint_every": 0,
    "quantization.int8_full_range_patterns": "",
    "quantization.int4_layers": "",
    "quantization.qat_enabled": False,
    "quantization.embed_bits": 0,
    "quantization.gptq_enabled": False,
    "quantization.gptq_calibration_batches": 64,
    "quantization.matrix_clip_sigmas": 12.85,
    "quantization.attn_clip_sigmas": 0.0,
    "quantization.mlp_clip_sigmas": 0.0,
    "quantization.embed_clip_sigmas": 20.0,
    "quantization.fit_total_bytes": 0,
    "quantization.gated_attn_quant_gate": False,
    "quantization.lqer_enabled": False,
    "quantization.lqer_rank": 4,
    "quantization.lqer_top_k": 3,
    "quantization.lqer_asym_group": 64,
    "quantization.awq_lite_enabled": False,
    "quantization.awq_lite_group_size": 64,
    "quantization.awq_lite_group_top_k": 1,
    "quantization.code_packing": "bytes",
    "quantization.byte_shuffle": False,
    "quantization.compressor": "zlib",
    "evaluation.score_tail": True,
    "evaluation.caseops_enabled": False,
    "evaluation.ttt_enabled": False,
    "evaluation.ttt_q_lora": True,
    "evaluation.ttt_k_lora": False,
    "evaluation.ttt_v_lora": True,
    "evaluation.ttt_o_lora": False,
    "evaluation.ttt_mlp_lora": False,
    "evaluation.ttt_head_lora": True,
    "evaluation.ttt_lora_rank": 8,
    "evaluation.ttt_lora_alpha": 0.0,
    "evaluation.ttt_lora_lr": 0.01,
    "evaluation.ttt_beta1": 0.9,
    "evaluation.ttt_beta2": 0.95,
    "evaluation.ttt_weight_decay": 0.0,
    "evaluation.ttt_warm_start_a": False,
    "evaluation.ttt_warm_start_limit": 0.0,
    "evaluation.ttt_chunk_size": 256,
    "evaluation.ttt_first_chunk_sizes": "",
    "evaluation.ttt_eval_seq_len": 1024,
    "evaluation.ttt_batch_size": 64,
    "evaluation.ttt_batch_tokens": 0,
    "evaluation.phased_ttt_num_phases": 0,
    "evaluation.phased_ttt_prefix_docs": 2000,
    "evaluation.global_ttt_lr": 0.001,
    "evaluation.global_ttt_momentum": 0.9,
    "evaluation.global_ttt_epochs": 1,
    "evaluation.global_ttt_chunk_tokens": 32768,
    "evaluation.global_ttt_grad_clip": 1.0,
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

    side: bytes  # levels and frequencies, which still compress
    words: bytes  # which do not


# ---- trainer/recipe.py
# A recipe: every option of a training run, its default and its bounds.


CONTROL_TENSORS = (
    "attn_scale,attn_scales,mlp_scale,mlp_scales,resid_mix,resid_mixes,q_gain,"
    "skip_weight,skip_weights,skip_gates,parallel_post_lambdas,parallel_resid_lambdas,lane_merge,"
    "attn_gate_w,smear_gate"
)


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

    @property
    def row_tokens(self) -> int:
        """Tokens that stand in one row in training."""
        return self.train_seq_len


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
    tie_embeddings: bool = option(True)
    tied_embed_init_std: float = option(0.005, above=0)
    qk_gain_init: float = option(1.5)
    rope_base: float = option(10_000.0, above=0)
    rope_train_seq_len: int = lever(0, at_least=0)  # longer sequences: NTK scaling (#60); 0: none
    logit_softcap: float = option(30.0, above=0)
    attn_out_gate_enabled: bool = option(False)  # 2 sigmoid(W x), at first 1 (#1667)
    sparse_attn_gate_enabled: bool = option(False)  # sigmoid(scale W x), at first 1/2 (#1787)
    gated_attn_enabled: bool = option(False)  # sigmoid(W x) of all channels (#1736)

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
    muon_weight_decay: float = lever(0.0, at_least=0)  # a step shrinks by lr x this (#60, #65)
    beta1: float = option(0.9, at_least=0)
    beta2: float = option(0.95, at_least=0)
    adam_eps: float = option(1e-8, above=0)
    adam_weight_decay: float = option(0.0, at_least=0)  # likewise, of head and scalars (#60)
    embed_weight_decay: float = option(0.0, at_least=0)  # likewise, of embeddings (#60)
    grad_clip_norm: float = lever(0.0, at_least=0)  # 0: no clipping
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
    # One code a byte, or back to back, or large matrices in no more than their codes' entropy.
    code_packing: Literal["bytes", "bits", "rans"] = option("bytes")
    compressor: Literal["zlib", "zstd", "lzma", "brotli"] = option("zlib")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """What is scored."""

    # Public scripts leave out the last tokens that fill no sequence, up to train_seq_len - 1.
    score_tail: bool = option(False)
    eval_seq_len: int = option(0, at_least=0)  # tokens; 0: train_seq_len
    # Sliding windows: each but the first scores its last eval_stride tokens. 0: no overlap.
    eval_stride: int = option(0, at_least=0)
    eval_batch_seqs: int = option(0, at_least=0)  # of one process at once; 0: val_batch_size's
    # Low-rank adapters that learn from each document's scored tokens (#77), in place of windows.
    ttt_enabled: bool = option(False)


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


def matches_any(tensor_name: str, patterns: str) -> bool:
    """Whether a tensor's name contains one of the comma-separated patterns."""
    return any(pattern in tensor_name for pattern in patterns.split(",") if pattern)


# ---- trainer/quantization/rounding.py
# Rounding to few bits, row by row, as the public scripts do it.


MAX_KEPT_ELEMENTS = 65_536  # tensors up to this size are kept as floats
CLIP_QUANTILE = 0.9999984  # of the absolute values of a row


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


def quantize_state(
    state: Mapping[str, Tensor], options: QuantizationOptions
) -> dict[str, StoredTensor]:
    """Store a model's tensors, each as its name and size say.

    Tensors that the recipe names are fp16, small control tensors fp32 and other small ones fp16;
    the rest are codes.
    """
    return {
        name: store_tensor(name, tensor.detach().cpu(), options) for name, tensor in state.items()
    }


def store_tensor(name: str, tensor: Tensor, options: QuantizationOptions) -> StoredTensor:
    """One tensor in its stored form."""
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
    name.startswith("tok_emb")
    return options.matrix_bits


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


ARTIFACT_FORMAT = "pgolf rows, version 3"
LENGTH_BYTES = 4  # of the lengths before the compressed part and before the header
STORED_TYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}
MODEL_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArtifact:
    """The artifact's bytes, and how many there were before compression."""

    compressed: bytes
    raw_bytes: int
    payload_bytes: int  # of codes (one a byte), scales and floats alone


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
    return content


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

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean over the processes; the tensor itself may be overwritten."""
        self.sum_in_place(tensor)
        return tensor / self.world_size

    def largest(self, number: float) -> float:
        """The largest of the processes' numbers. A host sync with more than one."""
        if self.world_size == 1:
            return number
        numbers = torch.tensor(number, dtype=torch.float64, device=self.device)
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


Item = TypeVar("Item")
MADE_AHEAD = 3  # micro-batches


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B sequences of T tokens on the device."""

    input_ids: Tensor  # (B, T) int64
    target_ids: Tensor  # (B, T) int64: the token after each input


def train_batches(
    paths: list[Path], recipe: Recipe, group: ProcessGroup, *, first: int = 0
) -> Iterator[Batch]:
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
    for ready in prefetched(prepare_batch(tokens, recipe) for tokens in own):
        yield ready.on(group.device)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyBatch:
    """A batch in the host's memory."""

    ids: np.ndarray  # (B * T + 1,) int64
    row_tokens: int

    def on(self, device: torch.device) -> Batch:
        """The batch on a device."""
        ids = on_device(self.ids, device)
        return Batch(
            input_ids=ids[:-1].view(-1, self.row_tokens),
            target_ids=ids[1:].view(-1, self.row_tokens),
        )


def prepare_batch(
    tokens: np.ndarray,  # (B * T + 1,) uint16
    recipe: Recipe,
) -> ReadyBatch:
    """Consecutive tokens as rows whose targets are the next tokens.

    Raises:
        DataError: a token id is outside the vocabulary (a GPU would only say "assert triggered").
    """
    if (largest := int(tokens.max())) >= recipe.model.vocab_size:
        raise DataError(
            f"token id {largest} in the shards, but vocab_size is {recipe.model.vocab_size}; "
            "use the shards that belong to the tokenizer, or mend model.vocab_size"
        )
    row_tokens = recipe.batch.row_tokens
    return ReadyBatch(ids=tokens.astype(np.int64), row_tokens=row_tokens)


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor; the copy does not wait for the work that a GPU has been given."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


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


# ---- trainer/evaluation/scoring.py
# Which tokens a forward pass sees and which of them it scores.


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How the validation set is cut."""

    seq_len: int
    stride: int  # from 1 to seq_len
    batch_size: int  # windows of one process in one forward pass

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
    seq_len = options.eval_seq_len or recipe.batch.train_seq_len
    return Windows(
        seq_len=seq_len,
        stride=options.eval_stride or seq_len,
        batch_size=options.eval_batch_seqs or default_batch_size(recipe.batch, seq_len),
    )


def training_windows(recipe: Recipe) -> Windows:
    """The windows of scores in the middle of training: training's own sequences."""
    seq_len = recipe.batch.train_seq_len
    batch_size = default_batch_size(recipe.batch, seq_len)
    return Windows(
        seq_len=seq_len,
        stride=seq_len,
        batch_size=batch_size,
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


def row_attention(options: ModelOptions) -> Attention:
    """Each row by itself, by the means that the recipe names; PyTorch chooses where it has none."""
    return causal_attention


# ---- trainer/model/linear.py
# The linear layer that every block uses.


class CastedLinear(nn.Linear):
    """No bias; weights stay fp32 for the optimizer and are cast to the input's type at use."""

    def __init__(self, num_inputs: int, num_outputs: int, *, zero_init: bool = False) -> None:
        super().__init__(num_inputs, num_outputs, bias=False)
        self.zero_init = zero_init
        if zero_init:
            nn.init.zeros_(self.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.used_weight(inputs.dtype))

    def used_weight(self, dtype: torch.dtype) -> Tensor:
        """The weight as inputs of a type meet it."""
        weight = self.weight.to(dtype)
        return weight


def rms_norm(inputs: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one; no weight."""
    return F.rms_norm(inputs, (inputs.size(-1),))


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


def ntk_base(base: float, num_positions: int, train_seq_len: int, rope_dims: int) -> float:
    """The base at which positions beyond the training length keep the slowest pair's range.

    base * (num_positions / train_seq_len)^(R / (R - 2)) for longer sequences: "NTK-aware" scaling,
    as in #60 and #61.
    """
    if num_positions <= train_seq_len:
        return base
    stretch: float = (num_positions / train_seq_len) ** (rope_dims / (rope_dims - 2))
    return base * stretch


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
        self.c_q = CastedLinear(options.model_dim, options.model_dim)
        self.c_k = CastedLinear(options.model_dim, options.kv_dim)
        self.c_v = CastedLinear(options.model_dim, options.kv_dim)
        self.proj = CastedLinear(options.model_dim, options.model_dim, zero_init=True)
        self.q_gain = nn.Parameter(torch.full((options.num_heads,), options.qk_gain_init))

    def forward(
        self,
        inputs: Tensor,  # (B, T, C)
        around: Surroundings,
    ) -> Tensor:  # (B, T, C)
        """What each position gathers from itself and the positions before it."""
        projected = self.c_q(inputs), self.c_k(inputs), self.c_v(inputs)
        queries, keys, values = map(self._heads, projected)
        queries, keys = self._turned(queries, keys, around)
        gathered = around.attention(queries, keys, values)
        factors = None
        merged: Tensor = self.proj(self._gated(gathered, values, factors).flatten(2))
        return merged

    def _turned(
        self,
        queries: Tensor,  # (B, T, H, D)
        keys: Tensor,  # (B, T, K, D)
        around: Surroundings,
    ) -> tuple[Tensor, Tensor]:
        tables = around.cosine, around.sine
        queries = apply_rotary(rms_norm(queries), *tables)
        keys = apply_rotary(rms_norm(keys), *tables)
        return queries * self.q_gain.to(queries.dtype)[:, None], keys

    def _gated(
        self,
        gathered: Tensor,  # (B, T, H, D)
        values: Tensor,  # (B, T, K, D)
        factors: Tensor | None,  # (B, T, H)
    ) -> Tensor:  # (B, T, H, D)
        return gathered if factors is None else gathered * factors[..., None]

    def _heads(self, projected: Tensor) -> Tensor:  # (B, T, heads * D) → (B, T, heads, D)
        return projected.view(*projected.shape[:-1], -1, self.head_dim)


# ---- trainer/model/feed_forward.py
# The feed-forward layer with a squared activation. B batch, T tokens, C channels.


class FeedForward(nn.Module):
    """Widen, bend, square, narrow; the second matrix starts at zero: a block starts as nothing.

    The bend is a leaky relu: with slope 0 the square is relu², with 0.5 it is x² or x²/4 (#493).
    """

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.options = options
        self.fc = CastedLinear(options.model_dim, options.hidden_dim)
        self.proj = CastedLinear(options.hidden_dim, options.model_dim, zero_init=True)

    def forward(self, inputs: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        widened = self.fc(inputs)
        bent = F.relu(widened)
        narrowed: Tensor = self.proj(bent.square())
        return narrowed


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

    def forward(
        self,
        stream: Tensor,  # (B, T, C) residual stream
        embedded: Tensor,  # (B, T, C) what the stream began as
        around: Surroundings,
    ) -> Tensor:  # (B, T, C)
        """The stream after this block; in parallel, both sublayers read what came in (#1412)."""
        mixed, normed = self.mix(stream, embedded)
        attended = mixed + self.attend(normed, around)
        return attended + self.feed(attended)

    def mix(self, stream: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:  # (B, T, C) each
        """The stream with the embedding mixed in again, and its norm, from which to attend."""
        keep, add = self.resid_mix.to(stream.dtype).unbind()
        mixed = keep * stream + add * embedded
        return mixed, self._normed(mixed)

    def attend(self, normed: Tensor, around: Surroundings) -> Tensor:  # (B, T, C)
        """What attention adds to a stream."""
        gathered: Tensor = self.attn(normed, around)
        return self.attn_scale.to(gathered.dtype) * gathered

    def feed(self, stream: Tensor) -> Tensor:  # (B, T, C)
        """What the feed-forward layer adds to a stream."""
        normed = self._normed(stream)
        fed: Tensor = self.mlp(normed)
        return self.mlp_scale.to(stream.dtype) * fed

    def _normed(self, stream: Tensor) -> Tensor:
        normed = rms_norm(stream)
        return normed


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


@cache  # the same steps again are the same object, so that compiled code knows them
def topology(options: ModelOptions) -> tuple[Step, ...]:
    """The steps of a forward pass: a U-Net over depth, whose first half keeps its outputs.

    Looped, the blocks from `loop_start` to `loop_end` are repeated `num_loops` times: with 11
    blocks, 3 to 5 and 2 the order is 0 1 2 3 4 5 3 4 | 5 3 4 5 6 7 8 9 10 (#1493).
    """
    layers = list(range(options.num_layers))
    half = len(layers) // 2
    return tuple(
        Step(
            layer=layer,
            keeps=place < half,
            skip=place - half if half <= place < 2 * half else None,
        )
        for place, layer in enumerate(layers)
    )


def looped_layers(options: ModelOptions) -> list[int]:
    """The blocks in the order of their use, with repetitions."""
    return list(range(options.num_layers))


def num_skips(options: ModelOptions) -> int:
    """Rows of the skip weights: what the longest order needs."""
    return len(looped_layers(options)) // 2


# ---- trainer/model/transformer.py
# The transformer, top to bottom.


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
        self.softcap = options.logit_softcap
        self.tok_emb = nn.Embedding(options.vocab_size, options.model_dim)
        self.skip_weights = nn.Parameter(torch.ones(num_skips(options), options.model_dim))
        self.blocks = nn.ModuleList(Block(options, layer) for layer in range(options.num_layers))
        self._initialize()
        self.use_positions(num_positions)
        self.use_loops(wanted=True)

    def _initialize(self) -> None:
        options = self.options
        nn.init.normal_(self.tok_emb.weight, std=options.tied_embed_init_std)

    def use_positions(self, num_positions: int, longest_document: int = 0) -> None:
        """Be ready for rows of up to so many tokens, turned as that length wants it.

        Args:
            num_positions: the most tokens of a row.
            longest_document: the most tokens of a document in packed rows; 0: of a row.
        """
        options = self.options
        self.longest_document = longest_document or num_positions
        rope_dims = options.head_dim
        base = options.rope_base
        if options.rope_train_seq_len > 0:
            base = ntk_base(base, self.longest_document, options.rope_train_seq_len, rope_dims)
        device = self.tok_emb.weight.device
        for name, table in zip(
            ("cosine", "sine"), rotary_tables(num_positions, rope_dims, base), strict=True
        ):
            self.register_buffer(name, table.to(device), persistent=False)

    def use_loops(self, *, wanted: bool) -> None:
        """Go through looped blocks again and again, or through every block once."""
        self.steps = topology(self.options)

    def forward(
        self,
        input_ids: Tensor,  # (B, T) int64
        target_ids: Tensor,  # (B, T) int64, or of scored inputs alone
    ) -> Tensor:  # (B * T,) fp32, or (B * L,)
        """The cross-entropy of each target, in nats."""
        stream = self.final_stream(input_ids)
        logits = self._logits(stream)
        return F.cross_entropy(logits, target_ids.flatten(), reduction="none")

    def read_on(
        self,
        input_ids: Tensor,  # (B, T) int64: what comes behind the tokens that the memory holds
        memory: Memory,
    ) -> Tensor:  # (B, V) fp32
        """The log-probabilities of each row's next token."""
        first, end = memory.num_read, memory.num_read + input_ids.size(1)
        around = Surroundings(
            cosine=self.cosine[first:end],
            sine=self.sine[first:end],
            attention=memory.attend,
        )
        embedded = self._embed(memory.with_last(input_ids))[:, first - end :]
        stream = self._through_blocks(embedded, around)
        memory.advance(input_ids)
        return self._logits(stream[:, -1:]).log_softmax(dim=-1)

    def _logits(
        self,
        stream: Tensor,  # (B, T, C)
    ) -> Tensor:  # (B * T, V) fp32
        head = self.tok_emb.weight
        raw = F.linear(stream.flatten(0, 1), head.to(stream.dtype))
        bounded = self.softcap * torch.tanh(raw / self.softcap)
        return bounded.float()

    def final_stream(
        self,
        input_ids: Tensor,  # (B, T) int64
    ) -> Tensor:  # (B, T, C)
        """What the head sees."""
        around = self._surroundings(input_ids)
        return self._through_blocks(self._embed(input_ids), around)

    def _through_blocks(
        self,
        embedded: Tensor,  # (B, T, C)
        around: Surroundings,
    ) -> Tensor:  # (B, T, C)
        stream = embedded
        skips: list[Tensor] = []
        for place, step in enumerate(self.steps):
            block = self.blocks[step.layer]
            if step.skip is not None:
                stream = self._with_skip(stream, skips.pop(), step.skip)
            stream = block(stream, embedded, around)
            if step.keeps:
                skips.append(stream)
        return rms_norm(stream)

    def _surroundings(self, input_ids: Tensor) -> Surroundings:
        num_tokens = input_ids.size(1)
        attention = row_attention(self.options)
        return Surroundings(
            cosine=self.cosine[:num_tokens],
            sine=self.sine[:num_tokens],
            attention=attention,
        )

    def _with_skip(self, stream: Tensor, skip: Tensor, row: int) -> Tensor:  # (B, T, C)
        weighted = self.skip_weights[row].to(stream.dtype) * skip
        return stream + weighted

    def _embed(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T, C)
        embedded = self.tok_emb(input_ids)
        normed = rms_norm(embedded)
        return normed


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
    return lambda given: WindowRound(model, given)


class WindowRound:
    """Lanes that see a window and learn nothing; those with equally much given go together."""

    def __init__(self, model: GPT, given: Sequence[np.ndarray]) -> None:
        self.model = model
        self.device = model.tok_emb.weight.device
        self.groups: list[tuple[Tensor, Memory]] = []
        self.next_ids: list[Tensor] = []
        for length in sorted({len(tokens) for tokens in given}):
            lanes = [lane for lane, tokens in enumerate(given) if len(tokens) == length]
            memory = Memory(model.cosine.size(0))
            self.groups.append((torch.tensor(lanes), memory))
            self.next_ids.append(torch.from_numpy(np.stack([given[lane] for lane in lanes])))
        self.num_lanes = len(given)

    @torch.inference_mode()
    def predict(self) -> Tensor:  # (R, V)
        parts = []
        for (_, memory), ids in zip(self.groups, self.next_ids, strict=True):
            with torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
                parts.append(self.model.read_on(ids.to(self.device), memory))
        order = torch.cat([lanes for lanes, _ in self.groups]).argsort()
        return torch.cat(parts)[order.to(self.device)]

    def show(self, lanes: Tensor, tokens: Tensor) -> None:
        shown = torch.zeros(self.num_lanes, dtype=torch.int64)
        shown[lanes] = tokens
        self.next_ids = [shown[own][:, None] for own, _ in self.groups]


def unstreamed(recipe: Recipe) -> str:
    """The setting without which a recipe could be streamed; empty if it can be.

    A harness shows documents in an order of its own, so none may learn from others.
    """
    return ""


# ---- trainer/optimizer/muon.py
# Muon: momentum whose update is made orthogonal before it is applied.


Quintic = tuple[float, float, float]
Arriving = Callable[[], Tensor]  # waits for a tensor that is on its way

NEWTON_SCHULZ_COEFFICIENTS: Quintic = (3.4445, -4.7750, 2.0315)


def newton_schulz(
    matrices: Tensor,  # (N, R, C)
    num_iterations: int,
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """Push all singular values of each matrix towards one (they end within about 0.7 to 1.2).

    The quintic's coefficients trade exactness for a steep slope at zero.
    """
    return orthogonalized(matrices, (NEWTON_SCHULZ_COEFFICIENTS,) * num_iterations)


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
    return newton_schulz


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
    ) -> None:
        defaults = {"lr": 0.0, "momentum": 0.0, "num_iterations": 5, "weight_decay": 0.0}
        super().__init__(groups, defaults)
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
        own = gradients[share * rank : share * (rank + 1)]
        bank = torch.stack(own) if own else gradients[0].new_empty(0, *gradients[0].shape)
        return lambda: filled_up(bank, share)

    def _own_updates(
        self,
        options: dict[str, Any],
        gradients: Tensor,  # (share of N, R, C)
    ) -> Tensor:  # (share of N, R, C)
        nesterov = self._nesterov(options, gradients.to(options["params"][0].dtype))
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


# ---- trainer/optimizer/schedules.py
# Schedules: pure functions of step and time.


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What the schedules say for one step."""

    momentum: float  # Muon's
    learning_rate_scale: float = 1.0
    weight_decay_scale: float = 1.0  # of Muon's
    has_loops: bool = True


def pace_at(recipe: Recipe, step: int, elapsed_seconds: float, budget_seconds: float) -> Pace:
    """The pace of a step, after so many steps and so much time of the budget."""
    schedule, optimizer = recipe.schedule, recipe.optimizer
    so_far = step, elapsed_seconds, budget_seconds
    return Pace(
        learning_rate_scale=learning_rate_scale(schedule, *so_far),
        weight_decay_scale=(1.0),
        momentum=muon_momentum(optimizer, step),
        has_loops=(schedule.enable_looping_at == 0),
    )


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
    if options.warmdown_iters == 0:
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
        return self.muon.start_gradients()


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
    )
    return Optimizers(adam=adam, muon=muon, options=options, group=group)


def _by_shape(matrices: list[Tensor]) -> list[list[Tensor]]:
    by_shape: defaultdict[Any, list[Tensor]] = defaultdict(list)
    for matrix in matrices:
        by_shape[matrix.shape].append(matrix)
    return list(by_shape.values())


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


def contradictions(recipe: Recipe) -> Iterator[str]:
    """What is wrong between options that are each right on their own."""
    yield from batch_contradictions(recipe.batch)
    yield from shape_contradictions(recipe.model)
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
    gates = (model.attn_out_gate_enabled, model.sparse_attn_gate_enabled, model.gated_attn_enabled)
    if sum(gates) > 1:
        yield (
            "model.attn_out_gate_enabled, sparse_attn_gate_enabled, gated_attn_enabled: "
            "set one at most"
        )


def optimizer_contradictions(optimizer: OptimizerOptions) -> Iterator[str]:
    """What no optimizer can do."""
    if optimizer.muon_momentum >= 1:
        yield f"optimizer.muon_momentum {optimizer.muon_momentum} must be below 1"


def schedule_contradictions(recipe: Recipe) -> Iterator[str]:
    """What no clock can keep."""
    schedule = recipe.schedule
    if recipe.device.deterministic and schedule.max_wallclock_seconds > 0:
        yield "device.deterministic needs max_wallclock_seconds 0: no two runs take the same time"
    if schedule.reserve_seconds > 0:
        yield (
            f"schedule.reserve_seconds {schedule.reserve_seconds} is kept for what the clock "
            "covers after the loop; clock loop covers nothing"
        )
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
    eval_seq_len = options.eval_seq_len or recipe.batch.train_seq_len
    if options.eval_stride > eval_seq_len:
        yield (
            f"evaluation.eval_stride {options.eval_stride} must be at most the length of "
            f"the windows, {eval_seq_len}"
        )


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


# ---- trainer/quantization/calibrated_rounding.py
# A model's tensors in their stored form, rounded as calibration says.


Hessians = Mapping[str, Tensor]  # name of a matrix (R, C) → (C, C) fp32


# ---- trainer/run_log.py
# What a run says and leaves: the lines of the public scripts, which verifiers already read.


ARTIFACT_NAME = "final_model.int8.ptz"  # in the working directory
DIVERGED_PREFIX = "diverged_rank"  # of the file with a process's state when its loss was lost


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


# ---- trainer/checkpoint.py
# Checkpoints: a run that was cut off goes on as if it had not been.


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a run had come."""

    step: int  # steps done
    train_seconds: float
    before_seconds: float  # of start and warm-up, in all the processes that it took

    def __str__(self) -> str:
        return f"step:{self.step} train_time:{1000.0 * self.train_seconds:.0f}ms"


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

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """The training data from what belongs to a step on."""
        per_step = self.recipe.batch.micro_batches_per_step // self.group.world_size
        first = first_step * per_step
        return train_batches(self.train_paths, self.recipe, self.group, first=first)


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
    """Take some steps so that everything is compiled, then undo them."""
    schedule = run.recipe.schedule
    initial = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    batches = run.batches()
    for has_loops, label in orders_of_blocks(run.recipe):
        run.model.use_loops(wanted=has_loops)
        momentum = muon_momentum(run.recipe.optimizer, 0)
        pace = Pace(momentum=momentum, has_loops=has_loops)
        for step in range(1, schedule.warmup_steps + 1):
            with memory_advice(run.recipe.batch):
                take_step(run, batches, 0, pace)
            if schedule.warmup_steps <= 20 or step % 10 == 0 or step == schedule.warmup_steps:
                run.log.write(f"{label}warmup_step:{step}/{schedule.warmup_steps}")
    run.model.load_state_dict(initial)
    run.optimizers.forget()


def orders_of_blocks(recipe: Recipe) -> list[tuple[bool, str]]:
    """The orders that training goes through: whether with loops, and what log lines begin with."""
    return [(False, "")]


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
    begin = Position(step=0, train_seconds=0.0, before_seconds=0.0)
    budget = open_budget(run, begin)
    budget_seconds = budget.loop_seconds
    step, elapsed_seconds = begin.step, begin.train_seconds
    batches = run.batches(step)
    clock = TrainingClock(run.group, elapsed_seconds)
    is_last = False
    while not is_last:
        pace = pace_at(run.recipe, step, elapsed_seconds, budget_seconds)
        follow_loops(run, step, pace)
        if schedule.val_loss_every > 0 and step % schedule.val_loss_every == 0:
            validate(_progress(schedule, step, clock.pause()))
            clock.resume()
        with memory_advice(run.recipe.batch):
            loss = take_step(run, batches, step, pace)
        step += 1
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
    run.model.use_loops(wanted=True)
    return progress


def follow_loops(run: TrainingRun, step: int, pace: Pace) -> None:
    """Go through the blocks in the order that the pace says; say so when it is the looped one."""
    run.model.use_loops(wanted=pace.has_loops)


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
    run: TrainingRun, batches: Iterator[Batch], step: int, pace: Pace
) -> Tensor:  # () fp32 on the device, nats a token
    """One optimizer step over this process's micro-batches; returns their mean loss.

    The loss is looked at while the device is busy with the last backward pass, so that nothing
    waits and an update from a loss that is no number is never applied.
    """
    num_micro_batches = run.recipe.batch.micro_batches_per_step // run.group.world_size
    is_cuda = run.group.device.type == "cuda"
    total = torch.zeros((), device=run.group.device)
    for index in range(num_micro_batches):
        batch = next(batches)
        with gradient_sync(run.forward, wanted=index == num_micro_batches - 1):
            with torch.autocast(run.group.device.type, torch.bfloat16, enabled=is_cuda):
                loss = run.forward(batch.input_ids, batch.target_ids).mean()
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


# ---- trainer/train_gpt.py
# The training script: what ships is what ran.


VERBS = ("train", "evaluate")
STREAM_VERB = "stream"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """What training and evaluation both start from."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: GPT
    forward: nn.Module  # the model, compiled where the recipe says so


def main(settings: Mapping[str, Value], script: Path, built_in: Mapping[str, Value]) -> int:
    """Run the verbs of the command line; returns the exit code.

    Args:
        settings: the recipe, option path → value.
        script: the source that is running, for the log and for the count of code bytes.
        built_in: likewise the options that the script was written for, which cannot be changed.
    """
    try:
        verbs = sys.argv[1:] or VERBS
        if unknown := set(verbs) - {*VERBS, STREAM_VERB}:
            expected = " or ".join((*VERBS, STREAM_VERB))
            raise RecipeError(f"no verb {min(unknown)!r}; expected {expected}")
        refuse_what_is_built_in(os.environ, built_in)
        recipe = build_recipe({**settings, **environment_settings(os.environ)})
        run = prepare_run(recipe, script)
        if "train" in verbs:
            train_and_pack(run, script)
        run.group.barrier()
        if "evaluate" in verbs:
            evaluate_artifact(run)
        if STREAM_VERB in verbs:
            stream_artifact(run)
    except PausedError:
        return 0  # the log says so; torchrun would report a failure at length
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
    if group.device.type == "cuda":
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.to(torch.bfloat16)
    return model


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
    log_training_setup(training)
    with log.phase("warm_up"):
        warm_up(training)
    with log.phase("training"):
        train(training, partial(log_validation, run))
    hessians: Hessians = {}
    log_peak_memory(log, run.group)
    with log.phase("serialise"):
        write_artifact(run, script, hessians)


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
    return run.group.replicate(run.forward)


def log_validation(run: PreparedRun, progress: Progress) -> None:
    """Score the model as it is, in the middle of training."""
    score, _ = score_model(run, training_windows(run.recipe))
    run.log.write(progress.validation_line(score.loss_nats, score.bits_per_byte))


def write_artifact(run: PreparedRun, script: Path, hessians: Hessians) -> None:
    """Quantise, compress, write, and say how many bytes that makes."""
    if not run.group.is_master:
        return
    state, options = run.model.state_dict(), run.recipe.quantization
    code_bytes = script.stat().st_size
    artifact = packed_state(run, hessians, code_bytes)
    Path(ARTIFACT_NAME).write_bytes(artifact.compressed)
    model_bytes = sum(tensor.nbytes for tensor in state.values())
    payload, artifact_bytes = artifact.payload_bytes, len(artifact.compressed)
    form = f"int{options.matrix_bits}+{options.compressor}"
    for line in (
        f"Serialized model: {model_bytes} bytes",
        f"Code size: {code_bytes} bytes",
        f"Total submission size: {model_bytes + code_bytes} bytes",
        f"Serialized model {form}: {artifact_bytes} bytes (payload:{payload} "
        f"raw_torch:{artifact.raw_bytes} payload_ratio:{model_bytes / payload:.2f}x)",
        f"Total submission size {form}: {artifact_bytes + code_bytes} bytes",
    ):
        run.log.write(line)


def packed_state(run: PreparedRun, hessians: Hessians, code_bytes: int) -> PackedArtifact:
    """The model as an artifact; where the recipe gives a total, as fine as that allows.

    Raises:
        RecipeError: the total cannot be kept to.
    """
    state, options = run.model.state_dict(), run.recipe.quantization
    return pack_artifact(quantize_state(state, options), options)


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
        score, losses = score_model(run, windows)
    eval_ms = 1000.0 * (time.perf_counter() - started)
    if (path := os.environ.get("PGOLF_TOKEN_LOSSES")) and run.group.is_master:
        write_token_losses(losses, Path(path))
    options = run.recipe.quantization
    label = f"final_int{options.matrix_bits}_{options.compressor}_roundtrip"
    nats, bpb = score.loss_nats, score.bits_per_byte
    run.log.write(f"{label} val_loss:{nats:.4f} val_bpb:{bpb:.4f} eval_time:{eval_ms:.0f}ms")
    run.log.write(f"{label}_exact val_loss:{nats:.8f} val_bpb:{bpb:.8f}")


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
        state = dequantize_state(stored)
        model.load_state_dict(state)
    except OSError:
        raise DataError(f"{ARTIFACT_NAME}: no such file here; run the verb train first") from None
    except RuntimeError:
        raise DataError(f"{ARTIFACT_NAME}: belongs to a model of another shape") from None


def score_model(
    run: PreparedRun, windows: Windows
) -> tuple[Score, torch.Tensor]:  # …, (N,) fp32 nats
    """Score the model as it is, or as it learns on the way: figures, and the loss of every token.

    Test-time training scores to the last token, as its public form does.
    """
    recipe = run.recipe
    tokens = load_validation_tokens(
        recipe.run.data_path,
        windows.seq_len,
        keep_tail=recipe.evaluation.score_tail,
    )
    check_token_ids(tokens, recipe.model.vocab_size)
    pattern = Path(recipe.run.data_path) / "fineweb_val_*.bin"
    run.log.write(f"val_loader:shards pattern={pattern} tokens:{tokens.size - 1}")
    run.model.use_positions(windows.seq_len)
    run.model.eval()
    losses = score_tokens(run.forward, tokens, windows, run.group)
    run.model.use_positions(recipe.batch.row_tokens, recipe.batch.train_seq_len)
    run.model.train()
    return score_over(losses, scored_bytes(recipe, tokens)), losses


def scored_bytes(recipe: Recipe, tokens: np.ndarray) -> int:
    """How many bytes all tokens but the first stand for.

    Raises:
        DataError: tokenizer or sidecar are missing or do not fit.
    """
    table = load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    return count_bytes(table, tokens[:-1], tokens[1:])


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


if __name__ == "__main__":
    sys.exit(main(RECIPE, Path(__file__), BUILT_IN))
