"""What to say, and what to keep, when training cannot go on."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.errors import TrainerError
from trainer.process_group import ProcessGroup
from trainer.recipe import BatchOptions
from trainer.run_log import DIVERGED_PREFIX

NUM_NAMES = 3  # of tensors in a message; the file holds all


def refuse_divergence(model: nn.Module, group: ProcessGroup, step: int, loss_nats: float) -> None:
    """See to it that a loss is a number, between the backward pass and the update.

    Args:
        model: its weights are those that made the loss, its gradients those of that loss.
        group: whose process this is.
        step: steps done before this one.
        loss_nats: of this process's tokens.

    Raises:
        TrainerError: it is none; the weights and gradients are kept in a file.
    """
    if math.isfinite(loss_nats):
        return
    weights = dict(model.named_parameters())
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    path = Path(f"{DIVERGED_PREFIX}{group.rank}.pt")
    torch.save({"step": step, "weights": model.state_dict(), "gradients": gradients}, path)
    raise TrainerError(
        f"step {step + 1}: the training loss is {loss_nats}; not finite: "
        f"weights {describe_non_finite(weights)}, gradients {describe_non_finite(gradients)}; "
        f"both are in {path} as they were before the update; "
        "lower the learning rates, or clip gradients with optimizer.grad_clip_norm"
    )


def describe_non_finite(tensors: Mapping[str, Tensor]) -> str:
    """The names of the tensors that hold an infinity or no number, the first few in full."""
    names = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if not names:
        return "none"
    more = len(names) - NUM_NAMES
    return " ".join(names[:NUM_NAMES]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def memory_advice(batch: BatchOptions) -> Iterator[None]:
    """Within it, running out of memory says what to lower.

    Raises:
        TrainerError: the GPU's memory did not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        tokens = batch.train_batch_tokens // batch.micro_batches_per_step
        raise TrainerError(
            f"out of GPU memory with micro-batches of {tokens} tokens "
            f"({str(error).partition('.')[0]}): raise batch.micro_batches_per_step from "
            f"{batch.micro_batches_per_step} to {2 * batch.micro_batches_per_step}, which changes "
            "no result, or lower batch.train_batch_tokens, num_layers or model_dim"
        ) from None
