"""How large a recipe's artifact will be, before anything is trained.

Weights grow while they are trained, and larger weights take more bits, up to the point where each
row uses all its codes. The model is initialised, each matrix is given Gaussian weights of the
spread that training should leave it with, and a sample of those is rounded and compressed by the
very code that writes the artifact. Where grids end at standard deviations, the size law says all.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from trainer.model.transformer import GPT
from trainer.planning.weight_spread import trained_spread
from trainer.quantization.bit_packing import pack_codes
from trainer.quantization.calibrated_rounding import clip_sigmas
from trainer.quantization.codecs import compress
from trainer.quantization.fine_columns import FINE_BITS
from trainer.quantization.gptq import nearest_codes, row_grid, sigma_steps
from trainer.quantization.rounding import StoredTensor, code_bits, is_rounded, store_tensor
from trainer.quantization.size_law import gaussian_code_bits
from trainer.recipe import QuantizationOptions, Recipe

# Trained rows have longer tails than Gaussian ones, so their codes crowd a little more.
TAIL_FACTOR = 0.99
# The most that a prediction was off over eight public records and both demo recipes, in eight and
# six bits, with zlib and zstd, with and without weight decay (benchmarks/RESULTS.md).
LARGEST_ERROR = 0.01
# Likewise by the size law, of real bytes over those foretold: four public logs within 0.06 %, both
# packings of a model of 220 steps 0.2 and 0.3 % over. What entropy coding makes of a model trained
# in full nobody has seen; columns of different sizes can take off twice what is reckoned here.
LAW_RANGE = {"bytes": (-0.001, 0.004), "bits": (-0.001, 0.004), "rans": (-0.01, 0.004)}
SAMPLE_ELEMENTS = 1 << 17  # of each tensor; more than what is kept as floats
HEADER_BYTES_PER_TENSOR = 20  # compressed
# Of an fp16 step, those beside its mantissa: rows of a matrix are of one size, give or take. From
# 9.6 bits at ten of mantissa to 3.7 at four, over the 53,248 rows of a public model of 220 steps.
STEP_BITS = -0.4
FP16_MANTISSA_BITS = 10
GROUP_STEP_BYTES = 2  # of LQER's steps
FEWEST_GAUSSIAN_ROWS = 16  # of a matrix that is kept as floats, and columns
# Likewise on grids of standard deviations: fitted to the logs of #1394, #1493, #1787 and #1886,
# less the 12,755 bytes of PyTorch's container (measured on such an artifact).
SIGMA_TAIL_FACTOR = 0.9976
# What knowing the sizes of columns leaves of codes' entropy, and what that knowledge takes a column
# (levels and means, compressed); both of a public model's matrices after 220 steps.
SORTED_FACTOR = 0.9947
COLUMN_BITS = 1.8
# Of LQER's codes, two bits and four: of Gaussian factors, stored a byte each and compressed.
LEFT_ENTROPY_BITS = 1.6
RIGHT_ENTROPY_BITS = 3.1


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSize:
    """What a group of tensors takes up in the artifact."""

    num_weights: int
    entropy_bits: float  # of a byte as stored, if each stood for itself; times bytes a weight
    num_bytes: int  # compressed


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSample:
    """Some rows of a tensor as they stand in the artifact before compression."""

    content: bytes
    num_weights: int  # of the whole tensor
    raw_bytes: int  # likewise


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictedArtifact:
    """The artifact that a recipe should lead to."""

    groups: dict[str, GroupSize]

    @property
    def num_bytes(self) -> int:
        return sum(group.num_bytes for group in self.groups.values())


def predict_artifact(recipe: Recipe) -> PredictedArtifact:
    """The sizes of a recipe's artifact if it trains all its iterations."""
    with torch.device("meta"):
        shapes = GPT(recipe.model, num_positions=1).state_dict()
    if recipe.quantization.gptq_enabled:
        return predict_by_law(shapes, recipe.quantization)
    random = torch.Generator().manual_seed(0)
    samples: defaultdict[str, list[TensorSample]] = defaultdict(list)
    for name, tensor in shapes.items():
        sample = sample_tensor(name, tensor, recipe, random)
        content = stored_bytes(store_tensor(name, sample, recipe.quantization), recipe.quantization)
        share = sample.numel() / max(tensor.numel(), 1)
        raw_bytes = round(len(content) / share) if share else 0
        samples[group_of(name)].append(
            TensorSample(content=content, num_weights=tensor.numel(), raw_bytes=raw_bytes)
        )
    return PredictedArtifact(
        groups={group: measure_group(of_group, recipe) for group, of_group in samples.items()}
    )


def predict_by_law(shapes: Mapping[str, Tensor], options: QuantizationOptions) -> PredictedArtifact:
    """The sizes where grids end at standard deviations: codes are those of Gaussian weights.

    However large weights have become, it is of no account.
    """
    entropy: defaultdict[str, float] = defaultdict(float)
    num_weights: Counter[str] = Counter()
    num_bytes: Counter[str] = Counter()
    for name, tensor in shapes.items():
        group = group_of(name)
        num_weights[group] += tensor.numel()
        if is_rounded(name, tensor, options):
            grid = (clip_sigmas(name, options), code_bits(name, options))
            num_codes = SIGMA_TAIL_FACTOR * tensor.numel()
            entropy[group] += num_codes * gaussian_code_bits(*grid)
            num_bits = num_codes * coded_bits(*grid, options) + step_bits(tensor.shape[0], options)
            if options.code_packing == "rans":
                num_bits += COLUMN_BITS * tensor.shape[1]
            num_bytes[group] += round(num_bits / 8)
        else:
            num_bytes[group] += kept_bytes(name, tensor.shape, options)
    rounded = [shape.shape for name, shape in shapes.items() if is_rounded(name, shape, options)]
    if options.lqer_enabled:
        num_bytes["low-rank parts"] = low_rank_bytes(rounded, options)
    if options.awq_lite_enabled and "tok_emb.weight" in shapes:
        num_bytes["fine columns"] = fine_column_bytes(shapes["tok_emb.weight"].shape, options)
    return PredictedArtifact(
        groups={
            group: GroupSize(
                num_weights=num_weights[group],
                entropy_bits=entropy[group] / max(num_weights[group], 1),
                num_bytes=num_bytes[group],
            )
            for group in num_bytes
        }
    )


@cache
def kept_bytes(name: str, shape: torch.Size, options: QuantizationOptions) -> int:
    """What a tensor takes that is too small for codes.

    Floats of Gaussian weights have few exponents (13.6 bits of 16 under brotli); what is a vector
    or two is learnt to anything, and is counted whole.
    """
    random = torch.Generator().manual_seed(0)
    stored = store_tensor(name, torch.randn(shape, generator=random), options)
    if stored.scale is not None or len(shape) < 2 or min(shape) < FEWEST_GAUSSIAN_ROWS:
        return stored.num_bytes
    content = np.frombuffer(stored.values.numpy().tobytes(), np.uint8)
    if options.byte_shuffle:
        content = content.reshape(-1, stored.values.dtype.itemsize).T
    return len(compress(content.tobytes(), options.compressor))


def low_rank_bytes(rounded: Iterable[torch.Size], options: QuantizationOptions) -> int:
    """What LQER adds, if it mends the largest matrices, whose errors are mostly largest too."""
    largest = sorted(rounded, key=math.prod, reverse=True)[: options.lqer_top_k]
    bits = sum(
        options.lqer_rank
        * (
            rows * LEFT_ENTROPY_BITS
            + columns * (RIGHT_ENTROPY_BITS + 8 * GROUP_STEP_BYTES / options.lqer_asym_group)
        )
        for rows, columns in largest
    )
    return round(bits / 8)


def fine_column_bytes(embedding: torch.Size, options: QuantizationOptions) -> int:
    """What AWQ-lite adds, if its columns are the embedding's: finer codes, and steps anew.

    #1945 tells 87 KB at full size, which no smaller matrix comes to.
    """
    rows, bits = embedding[0], options.embed_bits or options.matrix_bits
    sigmas, num_groups = options.embed_clip_sigmas, options.awq_lite_group_top_k
    num_codes = rows * options.awq_lite_group_size * num_groups
    finer = coded_bits(sigmas, FINE_BITS, options) - coded_bits(sigmas, bits, options)
    return round((num_codes * finer + num_groups * step_bits(rows, options)) / 8)


def step_bits(rows: int, options: QuantizationOptions) -> float:
    """What the steps of a matrix take, compressed."""
    return rows * (STEP_BITS + (options.step_mantissa_bits or FP16_MANTISSA_BITS))


@cache
def coded_bits(clip_sigmas: float, bits: int, options: QuantizationOptions) -> float:
    """What a code takes in the artifact: its entropy, or what the codec makes of a sample."""
    if options.code_packing == "rans":
        return SORTED_FACTOR * gaussian_code_bits(clip_sigmas, bits)
    sample = torch.randn(1, SAMPLE_ELEMENTS, generator=torch.Generator().manual_seed(0))
    codes = nearest_codes(sample, row_grid(sigma_steps(sample, bits, clip_sigmas), bits))
    step = torch.ones(1, dtype=torch.float16)
    stored = StoredTensor(values=codes, scale=step, dtype=sample.dtype, bits=bits)
    content = stored_bytes(stored, options)
    return 8 * len(compress(content, options.compressor)) / SAMPLE_ELEMENTS


def measure_group(samples: Sequence[TensorSample], recipe: Recipe) -> GroupSize:
    """Compress a group's samples together and scale what they take to the whole group."""
    content = b"".join(sample.content for sample in samples)
    num_weights = sum(sample.num_weights for sample in samples)
    raw_bytes = sum(sample.raw_bytes for sample in samples)
    compressed = len(compress(content, recipe.quantization.compressor))
    return GroupSize(
        num_weights=num_weights,
        entropy_bits=byte_entropy(content) * raw_bytes / max(num_weights, 1),
        num_bytes=round(TAIL_FACTOR * compressed / max(len(content), 1) * raw_bytes)
        + HEADER_BYTES_PER_TENSOR * len(samples),
    )


def sample_tensor(name: str, shape: Tensor, recipe: Recipe, random: torch.Generator) -> Tensor:
    """Some rows of a tensor as training should leave it; a small one whole."""
    if not is_rounded(name, shape, recipe.quantization) and shape.ndim < 2:
        return torch.randn(shape.shape, generator=random)
    num_columns = math.prod(shape.shape[1:])
    num_rows = min(shape.shape[0], -(-SAMPLE_ELEMENTS // max(num_columns, 1)))
    return trained_spread(name, shape, recipe) * torch.randn(
        (num_rows, *shape.shape[1:]), generator=random
    )


def stored_bytes(stored: StoredTensor, options: QuantizationOptions) -> bytes:
    """A tensor as it stands in the artifact before compression."""
    if stored.scale is not None and options.code_packing == "bits":
        codes: np.ndarray = stored.values.flatten().numpy()
        return pack_codes(codes, stored.bits) + stored.scale.numpy().tobytes()
    scale = b"" if stored.scale is None else stored.scale.numpy().tobytes()
    return stored.values.contiguous().numpy().tobytes() + scale


def byte_entropy(content: bytes) -> float:
    """Bits that a byte carries if bytes are independent of each other."""
    counts = np.bincount(np.frombuffer(content, dtype=np.uint8))
    shares = counts[counts > 0] / max(len(content), 1)
    return float(-(shares * np.log2(shares)).sum())


def group_of(name: str) -> str:
    """The group that a tensor is counted in."""
    parts: Mapping[str, str] = {
        "tok_emb": "embedding",
        "lm_head": "head",
        ".attn.c_": "attention",
        ".attn.proj": "attention",
        ".mlp.": "feed-forward",
        "bigram": "token pairs",
    }
    return next((group for part, group in parts.items() if part in name), "control")
