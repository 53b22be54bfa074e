"""Which tensor is trained by which rule, and how fast.

Matrices inside blocks go to Muon, which wants a matrix whose rows and columns both mean
directions in feature space. Embedding and head have one row a token, and vectors have no
singular values: they go to Adam.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainer.optimizer.muon import Arriving, Muon, Orthogonalize
from trainer.optimizer.schedules import Pace
from trainer.process_group import ProcessGroup
from trainer.recipe import OptimizerOptions, matches_any

SMALLEST_NORM = 1e-6  # below a clipped gradient, as in torch.nn.utils.clip_grad_norm_
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
        is_averaged = self.options.gradient_reduction == "all_reduce"  # in the backward pass
        if limit > 0 and (is_averaged or self.options.grad_clip == "local"):
            parameters = parameters_of(self.adam) + parameters_of(self.muon)
            torch.nn.utils.clip_grad_norm_(parameters, limit)
        if is_averaged:
            return self.muon.start_gradients()
        others = [p.grad for p in parameters_of(self.adam) if p.grad is not None]
        put_in_others = self.group.start_average(others)
        arriving = self.muon.start_gradients()
        put_in_others()
        if limit > 0 and self.options.grad_clip == "global":
            clip_mean(others, [gradients() for gradients in arriving], limit, self.group)
        return arriving


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an optimizer trains."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def clip_mean(whole: list[Tensor], shares: list[Tensor], limit: float, group: ProcessGroup) -> None:
    """Clip a gradient by its norm, in place, of which each process holds but shares in part.

    Args:
        whole: what every process holds.
        shares: what is this process's alone.
        limit: the largest norm that stays.
        group: whose processes these are.
    """
    square = torch.nn.utils.get_total_norm(shares).float().square()
    group.sum_in_place(square)
    norm = (square + torch.nn.utils.get_total_norm(whole).float().square()).sqrt()
    factor = (limit / (norm + SMALLEST_NORM)).clamp(max=1.0)
    for gradient in whole + shares:
        gradient.mul_(factor)


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
