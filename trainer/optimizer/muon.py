"""Muon: momentum whose update is made orthogonal before it is applied.

N matrices of one shape, R rows, C columns. Background: the essay "Muon: an optimizer for hidden
layers in neural networks"; coefficients and scaling as in the public baseline.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from trainer.process_group import ProcessGroup

NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def newton_schulz(
    matrices: Tensor,  # (N, R, C)
    num_iterations: int,
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """Push all singular values of each matrix towards one (they end within about 0.7 to 1.2).

    The quintic's coefficients trade exactness for a steep slope at zero. CPUs compute in fp32:
    most have no bf16 units.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    iterate = matrices.bfloat16() if matrices.is_cuda else matrices
    iterate = iterate / (iterate.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    is_tall = iterate.size(-2) > iterate.size(-1)
    if is_tall:  # the Gram matrix below has the size of the shorter side
        iterate = iterate.mT
    for _ in range(num_iterations):
        gram = iterate @ iterate.mT
        iterate = a * iterate + (b * gram + c * gram @ gram) @ iterate
    orthogonal: Tensor = iterate.mT if is_tall else iterate
    return orthogonal


Orthogonalize = Callable[[Tensor, int], Tensor]


class Muon(torch.optim.Optimizer):
    """Muon over matrices, one parameter group per shape so that a group is one batched update.

    With several processes, matrix i of a group is the work of process i mod world size; the
    updates are then summed, so that every process applies all of them.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        group: ProcessGroup,
        orthogonalize: Orthogonalize = newton_schulz,
    ) -> None:
        super().__init__(
            groups, {"lr": 0.0, "momentum": 0.0, "num_iterations": 5, "weight_decay": 0.0}
        )
        self.process_group = group
        self.orthogonalize = orthogonalize

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update to every matrix from its gradient."""
        for options in self.param_groups:
            params: list[Tensor] = options["params"]
            updates = self._updates(params, options)
            if options["weight_decay"] > 0:
                torch._foreach_mul_(params, 1 - options["lr"] * options["weight_decay"])
            torch._foreach_add_(params, list(updates.unbind()), alpha=-options["lr"])

    def _updates(
        self,
        params: list[Tensor],  # N of (R, C)
        options: dict[str, Any],
    ) -> Tensor:  # (N, R, C)
        rank, world_size = self.process_group.rank, self.process_group.world_size
        own = params[rank::world_size]
        updates = torch.zeros(
            (len(params), *params[0].shape),
            dtype=torch.bfloat16 if params[0].is_cuda else params[0].dtype,
            device=params[0].device,
        )
        if own:
            nesterov = self._nesterov(own, options["momentum"])
            updates[rank::world_size] = self.orthogonalize(nesterov, options["num_iterations"])
        self.process_group.sum_in_place(updates)
        num_rows, num_columns = params[0].shape
        scale = max(1.0, num_rows / num_columns) ** 0.5
        scaled: Tensor = (updates * scale).to(params[0].dtype)
        return scaled

    def _nesterov(self, own: list[Tensor], momentum: float) -> Tensor:  # (N, R, C)
        gradients = torch.stack([param.grad for param in own if param.grad is not None])
        state = self.state[own[0]]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(gradients)
        velocity: Tensor = state["velocity"]
        velocity.mul_(momentum).add_(gradients)
        return gradients.add(velocity, alpha=momentum)
