"""The artifact of a given size: clips are widened or narrowed until it keeps to a budget."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.artifact import PackedArtifact, pack_artifact
from trainer.errors import RecipeError
from trainer.quantization.rounding import StoredTensor
from trainer.quantization.size_law import (
    FITTED_ROOM,
    WIDEST_FACTOR,
    CodeSpreads,
    code_spreads,
    finest_factor,
    with_clips_times,
)
from trainer.recipe import QuantizationOptions

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
