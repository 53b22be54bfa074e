"""Mix and norm, one after the other. N tokens, C channels."""

import torch.nn.functional as F
from torch import Tensor

from trainer.kernels.query_key_rotation.reference import EPSILON


def mixed_and_normed(
    stream: Tensor,  # (N, C)
    embedded: Tensor,  # (N, C)
    mix: Tensor,  # (2, C) what is kept of the stream, what is added of the embedding
    scale: float,
) -> tuple[Tensor, Tensor]:  # (N, C) mixed, (N, C) mixed to a root mean square of `scale`
    """The stream with the embedding mixed in channel by channel, and its norm."""
    mixed = mix[0] * stream + mix[1] * embedded
    return mixed, scale * F.rms_norm(mixed, (mixed.size(-1),), eps=EPSILON)
