"""Conversions between the challenge's units; pure arithmetic."""

import math


def bits_per_byte(loss_nats: float, num_tokens: float, num_bytes: float) -> float:
    """BPB of a mean loss in nats a token over a text: loss / ln 2 · tokens / bytes."""
    return loss_nats / math.log(2.0) * num_tokens / num_bytes


def nats_per_token(bpb: float, num_tokens: float, num_bytes: float) -> float:
    """The mean loss in nats a token that a BPB stands for; the inverse of bits_per_byte."""
    return bpb * math.log(2.0) * num_bytes / num_tokens


def implied_bytes(num_tokens: float, loss_nats: float, bpb: float) -> float:
    """The denominator that a printed loss and BPB were computed with."""
    return num_tokens * loss_nats / (bpb * math.log(2.0))
