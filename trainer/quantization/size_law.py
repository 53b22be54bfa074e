"""How many bits codes take, before any are made.

Trained rows are all but Gaussian. On a grid that ends at k deviations of its row, the largest code
c, steps are k / c deviations wide, and the entropy of a rounded Gaussian is about log2(sqrt(2 pi e)
c / k) = b - log2(k) + 1.05 bits for b bits a code. Against the sizes in eight public logs this was
0.05 % to 0.2 % off. What it says of changes asks for less: all clips times f take log2(f) bits off
every code, whatever the weights, but for those that are small already. How large they are is seen
once there are codes.

R rows, C columns, N cells, K entries of a table.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from trainer.quantization.calibrated_rounding import clip_sigmas
from trainer.quantization.rounding import MAX_KEPT_ELEMENTS, StoredTensor, max_code
from trainer.recipe import QuantizationOptions

# Where the mean square error of a Gaussian in six bits is about least; with more bits it is farther
# out, and trained rows have longer tails.
NEAREST_CLIP_SIGMAS = 4.0
ROWS_PER_OCTAVE = 4  # sizes of rows that are told apart: those of rare tokens are smaller
LEAST_ROW = 2.0**-10  # of codes that are all 0
FITTED_ROOM = 0.001  # of the budget, the most that a fitted artifact leaves
WIDEST_FACTOR = 32.0  # on clips: beyond, steps are so wide that all codes are 0


def gaussian_code_bits(clip_sigmas: float, bits: int) -> float:
    """The entropy of a code of Gaussian weights, in bits.

    Args:
        clip_sigmas: where the grid ends, in standard deviations; beyond it all weights have the
            outermost codes.
        bits: of a code.
    """
    largest = max_code(bits)
    step = clip_sigmas / largest
    below = [0.0, *(normal_share_below((code + 0.5) * step) for code in range(-largest, largest))]
    shares = [after - before for before, after in zip(below, [*below[1:], 1.0], strict=True)]
    return -sum(share * math.log2(share) for share in shares if share > 0)


def normal_share_below(deviations: float) -> float:
    """The share of a normal distribution that lies below so many deviations."""
    return 0.5 * math.erfc(-deviations / math.sqrt(2.0))


def clip_factor(excess_bytes: float, num_codes: int) -> float:
    """By what to multiply all clips, at most WIDEST_FACTOR, so that codes take so much less."""
    octaves = 8.0 * excess_bytes / max(num_codes, 1)
    return float(2.0 ** min(octaves, math.log2(WIDEST_FACTOR)))


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
