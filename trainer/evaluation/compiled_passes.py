"""The model with adapters, compiled before anything is scored, for batches and windows of any size.

As a whole, or part by part: the blocks of a model are the same code with other weights, so that one
of them is compiled for all, beside a skip, a block with two lanes, and the head. What is a number
of its layer is handed to it as a tensor.

B documents, T tokens, L tokens of a chunk, C channels.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from trainer.evaluation.adapters import Adapters
from trainer.model.attention import Surroundings
from trainer.model.transformer import GPT, Carrier, Result, carried_out

MOST_GRAPHS = 64  # of one model's parts: some layers may differ in more than their weights


class Forward(Protocol):
    """The model with adapters."""

    def __call__(
        self,
        input_ids: Tensor,  # (B, T) int64
        target_ids: Tensor,  # (B, L) int64
        *,
        scored: Tensor,  # (L,) int64: which inputs the targets follow
    ) -> Tensor:  # (B * L,) fp32, nats
        ...


def forward_pass(model: GPT, adapters: Adapters, backend: str | None) -> Forward:
    """The model with adapters, compiled once for batches, windows and chunks of any size.

    By the block, `through` and the blocks' `norm_scale` are changed: `borrowed` puts them back.
    """
    if backend is None:
        return partial(model, deltas=adapters.deltas)
    compiled = partial(torch.compile, backend=backend, fullgraph=True)
    if adapters.options.ttt_compile_unit == "whole":
        forward: Forward = partial(compiled(model), deltas=adapters.deltas)
        compile_now(forward, model, adapters)
        return forward
    forward = partial(model, deltas=adapters.deltas)
    for block in model.blocks:
        if block.norm_scale is not None:
            block.norm_scale = torch.tensor(block.norm_scale, device=adapters.device)
    compiled_part = compiled(carried_out)
    model.through = partial(carried_out_alike, partial(carried_out_at_any_size, compiled_part))
    compile_now(forward, model, adapters)
    model.through = partial(carried_out_alike, compiled_part)
    return forward


def compile_now(forward: Forward, model: GPT, adapters: Adapters) -> None:
    """Send random tokens through the model and back."""
    options, device = adapters.options, adapters.device
    shape = options.ttt_batch_size, options.ttt_eval_seq_len
    tokens = torch.randint(model.options.vocab_size, shape, device=device)
    scored = torch.arange(options.ttt_chunk_size, device=device)
    targets = tokens[:, scored]
    for tensor in (tokens, targets, scored, *adapters.parts()):
        torch._dynamo.mark_dynamic(tensor, 0)
    for ids in (tokens, targets):
        torch._dynamo.mark_dynamic(ids, 1)
    with (
        sizes_that_may_differ(),
        torch._dynamo.config.patch(recompile_limit=MOST_GRAPHS),
        torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
    ):
        losses = forward(tokens, targets, scored=scored)
    torch.autograd.backward(losses.sum())


def sizes_that_may_differ() -> AbstractContextManager[None]:
    """Within it, code is compiled for sizes that may differ though they are equal by chance."""
    patched: AbstractContextManager[None] = torch.fx.experimental._config.patch(  # type: ignore[attr-defined]
        use_duck_shape=False
    )
    return patched


def carried_out_alike(
    through: Carrier, part: Callable[..., Result], stream: object, *inputs: object, **more: object
) -> Result:
    """Hide what sets the first block's use apart, for which it would be compiled once more.

    Its stream is the embedding itself, and asks for no gradient.
    """
    if isinstance(stream, Tensor) and not stream.requires_grad:
        stream = stream.detach().requires_grad_()
    return through(part, stream, *inputs, **more)


def carried_out_at_any_size(
    through: Carrier, part: Callable[..., Result], *inputs: object, **more: object
) -> Result:
    """Have a part compiled for any number of documents and tokens."""
    for one in inputs:
        let_sizes_differ(one)
    return through(part, *inputs, **more)


def let_sizes_differ(one: object) -> None:
    """Mark what goes from part to part: streams (B, T, C), lanes, and tables of T positions."""
    if isinstance(one, tuple):
        for lane in one:
            let_sizes_differ(lane)
    elif isinstance(one, Surroundings):
        for table in (one.cosine, one.sine):
            torch._dynamo.mark_dynamic(table, 0)
        for values in (one.value_embeddings or {}).values():
            let_sizes_differ(values)
    elif isinstance(one, Tensor) and one.ndim == 3:
        torch._dynamo.mark_dynamic(one, [0, 1])
