"""The linear layer that every block uses."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CastedLinear(nn.Linear):
    """No bias; weights stay fp32 for the optimizer and are cast to the input's type at use."""

    # If set, this stands between the weight and its use in training: what later is stored in few
    # bits is trained as if it were stored so already.
    fake_quantize: Callable[[Tensor], Tensor] | None = None

    def __init__(self, num_inputs: int, num_outputs: int, *, zero_init: bool = False) -> None:
        super().__init__(num_inputs, num_outputs, bias=False)
        self.zero_init = zero_init
        if zero_init:
            nn.init.zeros_(self.weight)

    def forward(self, inputs: Tensor, scale: Tensor | None = None) -> Tensor:
        return F.linear(inputs, self.used_weight(inputs.dtype, scale))

    def used_weight(
        self,
        dtype: torch.dtype,
        scale: Tensor | None = None,  # (outputs,)
    ) -> Tensor:
        """The weight as inputs of a type meet it; with a scale, times that of each output.

        Outputs would come to the same, but the scale's gradient needs no sum over tokens here.
        """
        weight = self.weight if scale is None else self.weight * scale[:, None]
        weight = weight.to(dtype)
        if self.training and self.fake_quantize is not None:
            weight = self.fake_quantize(weight)
        return weight


def product_type(inputs: Tensor) -> torch.dtype:
    """The type in which matrices are multiplied: bf16 on GPUs; most CPUs have no units for it."""
    return torch.bfloat16 if inputs.is_cuda else inputs.dtype


def rms_norm(inputs: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one; no weight, the type of the inputs.

    Under autocast PyTorch 2.11 and before, as public scripts had it, keep that type too; later ones
    make it fp32, and with it all that is computed from it.
    """
    return F.rms_norm(inputs, (inputs.size(-1),)).to(inputs.dtype)
