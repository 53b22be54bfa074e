"""How many bits codes take, before any are made.

Trained rows are all but Gaussian. On a grid that ends at k deviations of its row, the largest code
c, steps are k / c deviations wide, and the entropy of a rounded Gaussian is about log2(sqrt(2 pi e)
c / k) = b - log2(k) + 1.05 bits for b bits a code. Against the sizes in eight public logs this was
0.05 % to 0.2 % off. What it says of changes is simpler still: all clips times f take log2(f) bits
off every code, whatever the weights.
"""

import math
from dataclasses import replace

from trainer.quantization.rounding import max_code
from trainer.recipe import QuantizationOptions

# Where the mean square error of a Gaussian in six bits is about least; with more bits it is farther
# out, and trained rows have longer tails.
NEAREST_CLIP_SIGMAS = 4.0
FITTED_ROOM = 0.001  # of the budget, the most that a fitted artifact leaves


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
    """By what to multiply all clips so that codes take so many bytes less."""
    return float(2.0 ** (8.0 * excess_bytes / num_codes))


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
