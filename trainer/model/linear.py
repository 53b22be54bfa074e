"""The linear layer that every block uses."""

import torch.nn.functional as F
from torch import Tensor, nn


class CastedLinear(nn.Linear):
    """No bias; weights stay fp32 for the optimizer and are cast to the input's type at use."""

    def __init__(self, num_inputs: int, num_outputs: int, *, zero_init: bool = False) -> None:
        super().__init__(num_inputs, num_outputs, bias=False)
        if zero_init:
            nn.init.zeros_(self.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight.to(inputs.dtype))


def rms_norm(inputs: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one; no weight."""
    return F.rms_norm(inputs, (inputs.size(-1),))
