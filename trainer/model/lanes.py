"""Two residual streams side by side: attention reads the first, feed-forward the second.

B batch, T tokens, C channels, L layers.
"""

import torch
from torch import Tensor, nn

from trainer.model.attention import Surroundings
from trainer.model.block import Block
from trainer.model.deltas import BlockDeltas
from trainer.recipe import ModelOptions

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
        self.final_lane = options.parallel_final_lane

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
        if self.final_lane == "mean":
            return 0.5 * (lanes[0] + lanes[1])
        return lanes[0] if self.final_lane == "attn" else lanes[1]


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
    return RoutedLanes(options) if options.parallel_lanes == "routed" else MergedLanes()
