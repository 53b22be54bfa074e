"""Muon: momentum whose update is made orthogonal before it is applied.

N matrices of one shape, R rows, C columns. Background: the essay "Muon: an optimizer for hidden
layers in neural networks"; coefficients and scaling as in the public baseline.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.process_group import ProcessGroup
from trainer.recipe import OptimizerOptions

Quintic = tuple[float, float, float]
Arriving = Callable[[], Tensor]  # waits for a tensor that is on its way

NEWTON_SCHULZ_COEFFICIENTS: Quintic = (3.4445, -4.7750, 2.0315)
# One quintic an iteration, the best for the singular values that the one before leaves
# (arXiv 2505.16932, as in #1344).
POLAR_EXPRESS_COEFFICIENTS: tuple[Quintic, ...] = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
SMALLEST_ROW_NORM = 1e-7


def newton_schulz(
    matrices: Tensor,  # (N, R, C)
    num_iterations: int,
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """Push all singular values of each matrix towards one (they end within about 0.7 to 1.2).

    The quintic's coefficients trade exactness for a steep slope at zero.
    """
    return orthogonalized(matrices, (NEWTON_SCHULZ_COEFFICIENTS,) * num_iterations)


def polar_express(
    matrices: Tensor,  # (N, R, C)
    num_iterations: int,  # 5 at most
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """The same with coefficients that change from one iteration to the next."""
    return orthogonalized(matrices, POLAR_EXPRESS_COEFFICIENTS[:num_iterations])


def orthogonalized(
    matrices: Tensor,  # (N, R, C)
    quintics: tuple[Quintic, ...],
) -> Tensor:  # (N, R, C), bf16 on GPUs
    """Apply a X + b (X Xᵀ) X + c (X Xᵀ)² X again and again, from a Frobenius norm of one.

    CPUs compute in fp32: most have no bf16 units.
    """
    iterate = matrices.bfloat16() if matrices.is_cuda else matrices
    iterate = iterate / (iterate.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    is_tall = iterate.size(-2) > iterate.size(-1)
    if is_tall:  # the Gram matrix below has the size of the shorter side
        iterate = iterate.mT
    for a, b, c in quintics:
        gram = iterate @ iterate.mT
        iterate = a * iterate + (b * gram + c * gram @ gram) @ iterate
    orthogonal: Tensor = iterate.mT if is_tall else iterate
    return orthogonal


Orthogonalize = Callable[[Tensor, int], Tensor]


def orthogonalizer(options: OptimizerOptions) -> Orthogonalize:
    """The function that the recipe asks for."""
    return polar_express if options.newton_schulz == "polar_express" else newton_schulz


def with_equal_rows(matrices: Tensor) -> Tensor:  # (N, R, C)
    """Each row divided by its length, in fp32: MuonEq-R (#1217)."""
    lengths: Tensor = torch.linalg.vector_norm(matrices.float(), dim=-1, keepdim=True)
    return matrices / lengths.clamp_min(SMALLEST_ROW_NORM).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon over matrices, one parameter group per shape: a bank, which is one batched update.

    With several processes, each orthogonalises an equal share of every bank's matrices and keeps
    the momentum of those alone; a bank that does not divide is filled up with empty matrices. The
    updates are then gathered, one bank's while the next one's are computed, so that every process
    applies all of them.

    Gradients are averaged before, whole, or each process is sent the mean of its share alone
    (`scatters_gradients`; in bf16 on GPUs, as in public scripts from #549 on): half the traffic,
    the mean of the next banks on its way while one is orthogonalised. None of it begins during the
    backward pass: a bank is complete with its first layer's gradient, which comes last, and
    compiled code hands over all gradients at its end.

    Weight decay is decoupled: a weight shrinks by lr x weight_decay of itself before its update,
    as in #65. (#60 decays after it, which also shrinks the update by that factor.)
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        group: ProcessGroup,
        orthogonalize: Orthogonalize = newton_schulz,
        *,
        normalizes_rows: bool = False,
        scatters_gradients: bool = False,
    ) -> None:
        defaults = {"lr": 0.0, "momentum": 0.0, "num_iterations": 5, "weight_decay": 0.0}
        super().__init__(groups, defaults)
        self.normalizes_rows = normalizes_rows
        self.scatters_gradients = scatters_gradients
        self.process_group = group
        self.orthogonalize = orthogonalize

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update to every matrix from its gradient."""
        self.update(self.start_gradients())

    @torch.no_grad()
    def start_gradients(self) -> list[Arriving]:  # (share of N, R, C) a bank
        """Begin to bring this process the mean gradients of its share of every bank."""
        return [self._start_gradients(options["params"]) for options in self.param_groups]

    @torch.no_grad()
    def update(self, arriving: list[Arriving]) -> None:
        """Orthogonalise this process's shares as they arrive, and apply all processes' updates."""
        gathering = [
            self.process_group.start_gather(self._own_updates(options, gradients()))
            for options, gradients in zip(self.param_groups, arriving, strict=True)
        ]
        for options, updates in zip(self.param_groups, gathering, strict=True):
            self._apply(options, updates())

    def _start_gradients(self, params: list[Tensor]) -> Arriving:
        gradients = [param.grad for param in params if param.grad is not None]
        world_size, rank = self.process_group.world_size, self.process_group.rank
        share = math.ceil(len(params) / world_size)
        if self.scatters_gradients:
            bank = filled_up(torch.stack(gradients), share * world_size)
            return self.process_group.start_scatter(bank.bfloat16() if bank.is_cuda else bank)
        own = gradients[share * rank : share * (rank + 1)]
        bank = torch.stack(own) if own else gradients[0].new_empty(0, *gradients[0].shape)
        return lambda: filled_up(bank, share)

    def _own_updates(
        self,
        options: dict[str, Any],
        gradients: Tensor,  # (share of N, R, C)
    ) -> Tensor:  # (share of N, R, C)
        nesterov = self._nesterov(options, gradients.to(options["params"][0].dtype))
        if self.normalizes_rows:
            nesterov = with_equal_rows(nesterov)
        return self.orthogonalize(nesterov, options["num_iterations"])

    def _nesterov(self, options: dict[str, Any], gradients: Tensor) -> Tensor:
        state, momentum = self.state[options["params"][0]], options["momentum"]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(gradients)
        velocity: Tensor = state["velocity"]
        velocity.mul_(momentum).add_(gradients)
        return gradients.add(velocity, alpha=momentum)

    def _apply(
        self,
        options: dict[str, Any],
        updates: Tensor,  # (N or more, R, C)
    ) -> None:
        params: list[Tensor] = options["params"]
        num_rows, num_columns = params[0].shape
        scale = max(1.0, num_rows / num_columns) ** 0.5
        updates = (updates[: len(params)] * scale).to(params[0].dtype)
        if options["weight_decay"] > 0:
            torch._foreach_mul_(params, 1 - options["lr"] * options["weight_decay"])
        torch._foreach_add_(params, list(updates.unbind()), alpha=-options["lr"])


def filled_up(matrices: Tensor, number: int) -> Tensor:  # (N, R, C) → (number, R, C)
    """A bank with empty matrices behind its own, if it lacks any."""
    if len(matrices) == number:
        return matrices
    return F.pad(matrices, (0, 0, 0, 0, 0, number - len(matrices)))
