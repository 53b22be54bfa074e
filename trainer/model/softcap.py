"""A bound on logits for each sign."""

import torch
from torch import Tensor, nn


class SignedSoftcap(nn.Module):
    """c tanh(z / c), with one c for logits above zero and one for those below (#1923).

    Both begin at the recipe's softcap, and training leaves them there; phases of test-time training
    move them with all other weights. In #1923, #1945, #1953, #2014 and #2135 nothing does: what
    their SGD goes down is the loss of training, with one fixed softcap, so that these two never
    get a gradient and the option changes nothing. Where they do, it is small: u = z / c moves the
    logit by tanh u - u / cosh² u ≈ 2u³/3 a unit of c, 0.002 at z = 4.
    """

    def __init__(self, softcap: float) -> None:
        super().__init__()
        self.softcap_pos = nn.Parameter(torch.tensor(softcap), requires_grad=False)
        self.softcap_neg = nn.Parameter(torch.tensor(softcap), requires_grad=False)

    def forward(self, raw: Tensor) -> Tensor:
        bound = torch.where(raw > 0, self.softcap_pos, self.softcap_neg).to(raw.dtype)
        return bound * torch.tanh(raw / bound)
