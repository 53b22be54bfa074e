"""What artifact and script come to together beside a track's cap, as figures and in words."""

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import torch
import yaml

from trainer.model.transformer import GPT
from trainer.planning.artifact_size import (
    LARGEST_ERROR,
    LAW_RANGE,
    GroupSize,
    PredictedArtifact,
    predict_artifact,
)
from trainer.quantization.rounding import is_rounded
from trainer.quantization.size_law import (
    FITTED_ROOM,
    WIDEST_FACTOR,
    clip_factor,
    finest_factor,
    with_clips_times,
)
from trainer.recipe import Recipe

MAX_ROUNDS = 6  # of fitting clips


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedSize:
    """The artifact that fitted clips should lead to."""

    num_bytes: int
    clip_factor: float  # on every clip of the recipe


def track_cap_bytes(track: str) -> int:
    """The most that artifact and code may take on a track: `rules/tracks/<track>.yaml`."""
    path = Path(str(files("rules"))) / "tracks" / f"{track}.yaml"
    limits = yaml.safe_load(path.read_text(encoding="utf-8"))["limits"]
    return int(limits["artifact_bytes"]["value"])


def predict_fitted(recipe: Recipe, code_bytes: int) -> FittedSize:
    """The artifact beside a script of so many bytes, where all clips are fitted to a total."""
    options, total_bytes = recipe.quantization, recipe.quantization.fit_total_bytes - code_bytes
    room_bytes, num_codes = total_bytes * FITTED_ROOM / 2, num_rounded(recipe)
    factor, ends = 1.0, (finest_factor(options), WIDEST_FACTOR)
    for _ in range(MAX_ROUNDS):  # codes that are small already save less than the law says
        fitted = replace(recipe, quantization=with_clips_times(options, factor))
        num_bytes = predict_artifact(fitted).num_bytes
        excess = num_bytes - (total_bytes - room_bytes)
        if abs(excess) < room_bytes or factor == ends[excess > 0]:
            break
        factor = min(max(factor * clip_factor(excess, num_codes), ends[0]), ends[1])
    return FittedSize(num_bytes=num_bytes, clip_factor=factor)


def num_rounded(recipe: Recipe) -> int:
    """How many weights are stored as codes."""
    with torch.device("meta"):
        shapes = GPT(recipe.model, num_positions=1).state_dict()
    return sum(
        tensor.numel()
        for name, tensor in shapes.items()
        if is_rounded(name, tensor, recipe.quantization)
    )


def describe_artifact(predicted: PredictedArtifact, recipe: Recipe, cap_bytes: int) -> str:
    """The prediction as lines of text."""
    options, share = recipe.quantization, predicted.num_bytes / cap_bytes
    codec = "rans and " if options.code_packing == "rans" else ""
    return "\n".join(
        [
            f"{predicted.num_bytes:>14,}  bytes of artifact predicted ({options.matrix_bits} bits, "
            f"{codec}{options.compressor}): {share:.1%} of the track's cap of {cap_bytes:,}",
            f"{'':16}{accuracy(recipe, predicted.num_bytes)}; of which",
            *(describe_group(name, group) for name, group in predicted.groups.items()),
        ]
    )


def describe_group(name: str, group: GroupSize) -> str:
    """A group's size as a line of text; parts beside the codes have no weights of their own."""
    line = f"{group.num_bytes:>14,}  {name}"
    if group.num_weights == 0:
        return f"{line}: beside the codes"
    entropy = f"{group.entropy_bits:.2f} bits of entropy each" if group.entropy_bits else "no codes"
    compressed = 8 * group.num_bytes / group.num_weights
    return f"{line}: {group.num_weights:,} weights, {entropy}, {compressed:.2f} bits as compressed"


def accuracy(recipe: Recipe, num_bytes: int) -> str:
    """How far the prediction may be off, and what that hangs on."""
    options = recipe.optimizer
    if recipe.quantization.gptq_enabled:
        ends = (1 + error for error in LAW_RANGE[recipe.quantization.code_packing])
        least, most = (f"{round(num_bytes * end):,}" for end in ends)
        return (
            f"{least} to {most} after some hundred steps, whatever the rates; fewer before, as "
            "rows of the embedding are alike"
        )
    if options.ema_decay > 0 or options.swa_enabled:
        return (
            "at most, as the last weights would take that, and averaged ones spread less "
            "(by how much was never measured)"
        )
    return f"give or take {LARGEST_ERROR:.0%}"


def describe_total(recipe: Recipe, artifact_bytes: int, code_bytes: int, cap_bytes: int) -> str:
    """What artifact and script come to together, and what brings them under the cap."""
    fitted = ""
    if recipe.quantization.fit_total_bytes > 0:
        size = predict_fitted(recipe, code_bytes)
        artifact_bytes = size.num_bytes
        fitted = f", all clips x {size.clip_factor:.4f}"
    total = artifact_bytes + code_bytes
    room = cap_bytes - total
    side = f"{abs(room):,} {'under' if room >= 0 else 'over'} the cap"
    return f"{total:,} with {artifact_bytes:,} of artifact{fitted}: {side}"


def cap_warning(recipe: Recipe, code_bytes: int, cap_bytes: int) -> str | None:
    """What to say before training if artifact and script will most likely break the cap."""
    options, is_by_law = recipe.quantization, recipe.quantization.gptq_enabled
    if 0 < options.fit_total_bytes <= cap_bytes:
        return fit_warning(recipe, code_bytes)
    total = predict_artifact(recipe).num_bytes + code_bytes
    if total <= cap_bytes:
        return None
    error = -LAW_RANGE[options.code_packing][0] if is_by_law else LARGEST_ERROR
    is_near = total <= cap_bytes * (1.0 + error)
    doubt = ", which only training will tell for certain" if is_near else ""
    remedy = f"--set quantization.fit_total_bytes={cap_bytes}, " if is_by_law else ""
    return (
        f"artifact and script should come to about {total:,} bytes, over the track's cap of "
        f"{cap_bytes:,}{doubt}: {remedy}--packed, or lower model.num_layers, mlp_hidden or "
        "quantization.matrix_bits"
    )


def fit_warning(recipe: Recipe, code_bytes: int) -> str | None:
    """What to say before training if no clips will fit artifact and script to their total."""
    total_bytes = recipe.quantization.fit_total_bytes
    least_bytes = predict_fitted(recipe, code_bytes).num_bytes + code_bytes
    if least_bytes <= total_bytes:
        return None
    return (
        f"no clips should fit artifact and script to quantization.fit_total_bytes {total_bytes:,}: "
        f"about {least_bytes:,} bytes at least, {code_bytes:,} of them script: --packed, or lower "
        "model.num_layers or mlp_hidden"
    )
