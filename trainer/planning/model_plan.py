"""What a recipe amounts to, computed from shapes alone: parameters and arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from trainer.model.topology import looped_layers
from trainer.model.transformer import GPT
from trainer.optimizer.parameter_groups import group_parameters
from trainer.recipe import LengthPhase, ModelOptions, Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """The figures of a recipe."""

    parameters: dict[str, int]  # rule that trains them → how many
    flops_per_token: float  # of training, in its longest sequences
    unlooped_flops_per_token: float  # before blocks are looped
    flops_per_step: float
    phases: dict[LengthPhase, float]  # → FLOPs a token; the whole run, where sequences do not grow


def plan_model(recipe: Recipe) -> ModelPlan:
    """The figures of a recipe; nothing is trained and no weight is stored."""
    with torch.device("meta"):
        model = GPT(recipe.model, num_positions=recipe.batch.train_seq_len)
    groups = group_parameters(model, recipe.optimizer.control_tensor_name_patterns)
    parameters = {
        "embedding (Adam)": groups.embedding,
        "head (Adam)": groups.head,
        "matrices (Muon)": groups.matrices,
        "scalars (Adam)": groups.scalars,
    }
    flops_per_token = training_flops_per_token(recipe.model, recipe.batch.train_seq_len)
    return ModelPlan(
        parameters={
            rule: sum(tensor.numel() for tensor in tensors) for rule, tensors in parameters.items()
        },
        flops_per_token=flops_per_token,
        unlooped_flops_per_token=training_flops_per_token(
            replace(recipe.model, num_loops=0), recipe.batch.train_seq_len
        ),
        flops_per_step=flops_per_token * recipe.batch.train_batch_tokens,
        phases={
            phase: training_flops_per_token(recipe.model, phase.seq_len)
            for phase in recipe.length_phases
        },
    )


def training_flops_per_token(model: ModelOptions, seq_len: int) -> float:
    """Floating-point operations of forward and backward for one token.

    Six a matrix weight (head included), and twelve a layer, channel and attended token: the usual
    convention, with half the sequence attended on average. A looped block counts for each use.
    """
    num_uses = len(looped_layers(model))
    attention = 2 * model.model_dim * (model.model_dim + model.kv_dim)
    feed_forward = 2 * model.hidden_dim * model.model_dim
    bigrams = model.bigram_hash_dim * model.model_dim if model.bigram_hash_buckets else 0
    head = model.vocab_size * model.model_dim
    matrices = num_uses * (attention + feed_forward) + bigrams + head
    return 6.0 * matrices + 12.0 * num_uses * model.model_dim * seq_len / 2


def describe_plan(plan: ModelPlan) -> str:
    """The figures as lines of text."""
    lines = [f"{count:>14,}  {rule}" for rule, count in plan.parameters.items() if count]
    return "\n".join(
        [
            f"{sum(plan.parameters.values()):>14,}  parameters, of which",
            *lines,
            *describe_unlooped(plan),
            f"{plan.flops_per_token:>14,.0f}  FLOPs a token in training",
            f"{plan.flops_per_step:>14.3e}  FLOPs a step",
            *(describe_phases(plan.phases) if len(plan.phases) > 1 else []),
        ]
    )


def describe_unlooped(plan: ModelPlan) -> list[str]:
    """What a token costs before blocks are looped, if any are."""
    if plan.unlooped_flops_per_token == plan.flops_per_token:
        return []
    return [f"{plan.unlooped_flops_per_token:>14,.0f}  FLOPs a token before blocks are looped"]


def describe_phases(phases: Mapping[LengthPhase, float]) -> list[str]:
    """How sequences grow, a line for each length; the last one lasts to the end."""
    ends = [*(f"{phase.end:.0%}" for phase in [*phases][:-1]), "100%"]
    return [
        f"{flops_per_token:>14,.0f}  FLOPs a token in sequences of {phase.seq_len}, until {end}"
        for (phase, flops_per_token), end in zip(phases.items(), ends, strict=True)
    ]
