"""Cross-entropy of capped logits, as anyone would write it. N tokens, V vocabulary."""

import torch
import torch.nn.functional as F
from torch import Tensor


def softcapped_cross_entropy(
    logits: Tensor,  # (N, V) before the cap
    targets: Tensor,  # (N,) int64; negative: leave out
    softcap: float,
) -> Tensor:  # (N,) nats, fp32 or wider; 0 where left out
    """-log softmax(c tanh(logits / c)) at the targets."""
    capped = softcap * torch.tanh(logits / softcap)
    wide = capped.to(torch.promote_types(capped.dtype, torch.float32))
    return F.cross_entropy(wide, targets.clamp(min=-1), reduction="none", ignore_index=-1)
