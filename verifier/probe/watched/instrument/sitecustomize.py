"""The instrument: Python loads it before the script, and it notes each loss and optimizer step.

It runs in the submission's own process, which can deceive it: what it notes can speak against a
script, never for it. The script is not changed. Only losses that PyTorch computes are seen; what is
not seen makes a sum that differs from the printed score. So that two trainings of one seed are
alike on a GPU, too, PyTorch is asked for algorithms that repeat themselves, where it has them.

File format, native byte order, one event after another: a header (kind, whether a gradient will be
taken, number of targets, the largest logarithm of a sum over the vocabulary), then for a loss its
targets as int32 and their losses as float32.
"""

import contextlib
import importlib
import inspect
import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.autograd.graph import Node

HEADER = struct.Struct("=BBxxId")
LOSS, STEP = 1, 2
ENOUGH_BYTES = 96_000_000
"""Beyond this the record ends, which whoever reads it sees by its size."""


class Record:
    """The file that events are appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_bytes = 0

    def add(self, kind: int, takes_gradient: bool, content: bytes, log_sum: float) -> None:
        if self.num_bytes > ENOUGH_BYTES:
            return
        event = HEADER.pack(kind, takes_gradient, len(content) // 8, log_sum) + content
        with self.path.open("ab") as file:
            file.write(event)
        self.num_bytes += len(event)


def watch(record: Record) -> None:
    """Put ears on optimizers, and on the two functions that losses of words come from."""
    import torch.nn.functional as functional
    from torch.optim.optimizer import register_optimizer_step_post_hook

    register_optimizer_step_post_hook(lambda *_: record.add(STEP, False, b"", 0.0))
    for name in ("cross_entropy", "nll_loss"):
        setattr(functional, name, listening(getattr(functional, name), record))


def listening(original: Callable[..., "Tensor"], record: Record) -> Callable[..., "Tensor"]:
    """The function itself, which notes the loss of each target on the way."""
    import torch

    is_log = original.__name__ == "nll_loss"

    def call(input: "Tensor", target: "Tensor", *args: object, **options: object) -> "Tensor":
        result = original(input, target, *args, **options)
        with torch.no_grad():
            if target.dim() > 0 and not target.is_floating_point():  # words, each by its number
                logits, ignored = input.detach().float(), options.get("ignore_index", -100)
                losses = original(logits, target, ignore_index=ignored, reduction="none")
                log_sum = float(logits.logsumexp(1).max()) if is_log else 0.0
                content = [
                    target.flatten().to("cpu", torch.int32).numpy().tobytes(),
                    losses.flatten().to("cpu", torch.float32).numpy().tobytes(),
                ]
                record.add(LOSS, result.requires_grad, b"".join(content), log_sum)
        return result

    return call


def repeat_yourself() -> None:
    """Prefer algorithms that give the same result twice, in PyTorch and FlashAttention-3.

    What has none only warns. The variable CUBLAS_WORKSPACE_CONFIG does its part for products.
    """
    import torch
    import torch.nn.functional as functional

    torch.use_deterministic_algorithms(True, warn_only=True)
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - a property
    attention = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = repeating(attention)
    with contextlib.suppress(ImportError, OSError):
        default_to_deterministic(importlib.import_module("flash_attn_interface"))


def repeating(attention: Callable[..., "Tensor"]) -> Callable[..., "Tensor"]:
    """PyTorch's attention, chosen and undone where nothing that varies may run.

    A preference alone is not enough: cuDNN's attention, which newer versions choose on Hopper and
    whose way back does not repeat itself, is passed over only where PyTorch is strict.
    """
    import torch

    def prefer() -> None:
        torch.use_deterministic_algorithms(True, warn_only=True)

    def call(*args: object, **options: object) -> "Tensor":
        torch.use_deterministic_algorithms(True)
        try:
            result = attention(*args, **options)
        except RuntimeError:  # cuDNN's is not offered to who asks for what repeats itself
            torch.use_deterministic_algorithms(False)
            return attention(*args, **options)
        finally:
            prefer()
        if (node := attention_node(result.grad_fn)) is not None:
            node.register_prehook(lambda _: torch.use_deterministic_algorithms(True))
            node.register_hook(lambda *_: prefer())
        return result

    return call


def attention_node(node: "Node | None") -> "Node | None":
    """The fused backward pass itself, which what cuts off padding may follow."""
    for _ in range(4):
        if node is None or "ScaledDotProduct" in node.name():
            return node
        node = node.next_functions[0][0] if node.next_functions else None
    return None


def default_to_deterministic(module: ModuleType) -> None:
    """Turn `deterministic=False` around where a module's functions have it as a default."""
    for function in vars(module).values():
        if not isinstance(function, FunctionType):
            continue
        parameters = inspect.signature(function).parameters.values()
        optional = [p for p in parameters if p.default is not p.empty and p.kind != p.KEYWORD_ONLY]
        function.__defaults__ = tuple(p.name == "deterministic" or p.default for p in optional)
        by_keyword = function.__kwdefaults__ or {}
        by_keyword.update({name: True for name in by_keyword if name == "deterministic"})


if path := os.environ.get("PGOLF_RECORD"):
    # Without PyTorch there is nothing that this instrument could hear.
    with contextlib.suppress(ImportError):
        watch(Record(Path(path).absolute()))
        repeat_yourself()
