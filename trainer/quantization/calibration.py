"""What the matrices of a model are multiplied with: their Hessians, from passes over tokens."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.process_group import ProcessGroup


class HessianSums:
    """Sums of X'X over inputs X, one a matrix, and how many inputs went into them."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.num_inputs: dict[str, int] = {}

    def add(self, name: str, inputs: Tensor) -> None:  # (..., C)
        """Take in what a matrix was multiplied with."""
        rows = inputs.detach().flatten(0, -2).float()
        if name not in self.sums:
            self.sums[name] = rows.new_zeros(rows.size(1), rows.size(1))
            self.num_inputs[name] = 0
        with torch.autocast(rows.device.type, enabled=False):
            self.sums[name].addmm_(rows.T, rows)
        self.num_inputs[name] += rows.size(0)

    def means(self, group: ProcessGroup) -> dict[str, Tensor]:  # name → (C, C) fp32
        """The mean of x'x over the inputs of all processes."""
        for total in self.sums.values():
            group.sum_in_place(total)
        return {
            name: total / (self.num_inputs[name] * group.world_size)
            for name, total in self.sums.items()
        }


def collect_hessians(
    model: nn.Module,
    passes: Iterable[Tensor],
    *,
    head: str,
    group: ProcessGroup,
) -> dict[str, Tensor]:  # name → (C, C) fp32
    """The Hessian of every linear layer's weight, and of the head.

    Args:
        model: its linear layers are watched while passes are drawn; a layer that is gone through
            several times counts each.
        passes: forward passes, each giving what the head sees, (..., C).
        head: the name of the weight that this is multiplied with.
        group: the processes, each with passes of its own, equally many.
    """
    sums = HessianSums()
    with linear_inputs(model, sums.add):
        for head_inputs in passes:
            sums.add(head, head_inputs)
    return sums.means(group)


@contextmanager
def linear_inputs(model: nn.Module, watch: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within it, `watch` is given the name and the inputs of each linear layer that is used."""

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda layer, inputs: watch(name, inputs[0])

    hooks = [
        layer.register_forward_pre_hook(hook_of(f"{path}.weight"))
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
