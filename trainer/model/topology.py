"""The order in which a forward pass goes through the blocks, as data."""

from dataclasses import dataclass
from functools import cache

from trainer.recipe import ModelOptions


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
