"""Each kernel beside what eager PyTorch and torch.compile make of its reference, on one GPU.

    python benchmarks/kernels.py
    python benchmarks/kernels.py --only leaky_relu_squared --tiles
    python benchmarks/kernels.py --frozen       as in test-time training: one gradient is asked for

Shapes are those of the records from PR 1218 on: 98,304 tokens a micro-batch, 512 channels, 8 heads
on 4 key-value heads, vocabularies of 1,024 and 8,192. Each line of output is a JSON object: median
and spread of a forward and backward pass in milliseconds by CUDA events, GB/s and TFLOP/s of what
the algorithm cannot do without, and the floor: the larger of those bytes and operations over the
card's own rates, measured first by a copy and a matrix product. Run the tests first:

    pytest -m gpu tests/trainer/kernels
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.kernels.flash_attention_4 import FlashDocuments  # noqa: E402
from trainer.kernels.leaky_relu_squared import triton_kernel as squared  # noqa: E402
from trainer.kernels.leaky_relu_squared.reference import feed_forward  # noqa: E402
from trainer.kernels.own_value_gate.reference import gated_without_own_value  # noqa: E402
from trainer.kernels.own_value_gate.triton_kernel import (  # noqa: E402
    fused_gated_without_own_value,
)
from trainer.kernels.query_key_rotation.reference import (  # noqa: E402
    heads_of_joint,
    normed_and_turned,
)
from trainer.kernels.query_key_rotation.triton_kernel import (  # noqa: E402
    fused_heads_of_joint,
    fused_normed_and_turned,
)
from trainer.kernels.residual_norm.reference import mixed_and_normed  # noqa: E402
from trainer.kernels.residual_norm.triton_kernel import fused_mixed_and_normed  # noqa: E402
from trainer.kernels.softcapped_cross_entropy.reference import (  # noqa: E402
    softcapped_cross_entropy,
)
from trainer.kernels.softcapped_cross_entropy.triton_kernel import (  # noqa: E402
    head_losses,
    losses_over_logits,
)
from trainer.model.attention_kernels import (  # noqa: E402
    document_attention,
    flash_for_documents,
    flash_for_rows,
    row_attention,
)
from trainer.model.rotary import rotary_tables  # noqa: E402
from trainer.recipe import ModelOptions  # noqa: E402

NUM_TOKENS, NUM_CHANNELS, NUM_HIDDEN = 98_304, 512, 2_048
SEQ_LEN, NUM_HEADS, NUM_KV_HEADS, HEAD_DIM, ROPE_DIMS = 2_048, 8, 4, 64, 16
SOFTCAP, SLOPE, NORM_SCALE = 30.0, 0.5, 0.5
ELEMENT_BYTES = 2  # bf16
BACKENDS = ("auto", "cudnn", "flash_2", "flash_3", "flash_4", "flex")
DOCUMENT_TOKENS = 700
REPEATS, WARM_UPS = 30, 5
TILES = product((64, 128), (128, 256), (4, 8), (3, 4))  # rows, columns, warps, stages


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kernel at one shape."""

    name: str
    shape: str
    fused: Callable[..., object]
    plain: Callable[..., object]
    inputs: list[Tensor]  # floating-point ones get gradients, or the first alone
    moved_elements: int  # that must go through memory, forward and backward
    operations: int = 0  # of matrix products


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.bfloat16)


def cases() -> Iterator[Case]:
    """In the order of the kernels' share of a step; each one's tensors go before the next come."""
    per_tokens, per_heads = NUM_TOKENS * NUM_CHANNELS, NUM_TOKENS * NUM_HEADS * HEAD_DIM
    for vocabulary in (8_192, 1_024):
        targets = torch.randint(vocabulary, (NUM_TOKENS,))
        yield Case(
            name="softcapped_cross_entropy",
            shape=f"{NUM_TOKENS}x{NUM_CHANNELS}x{vocabulary}",
            fused=lambda stream, head, targets: head_losses(stream, head, targets, SOFTCAP),
            plain=lambda stream, head, targets: softcapped_cross_entropy(
                stream @ head.T, targets, SOFTCAP
            ),
            inputs=[random(NUM_TOKENS, NUM_CHANNELS), random(vocabulary, NUM_CHANNELS), targets],
            # Logits written and read, slopes written and twice read; the stream's own traffic.
            moved_elements=5 * NUM_TOKENS * vocabulary + 4 * per_tokens,
            operations=6 * NUM_TOKENS * NUM_CHANNELS * vocabulary,
        )
    yield Case(
        name="leaky_relu_squared",
        shape=f"{NUM_TOKENS}x{NUM_CHANNELS}x{NUM_HIDDEN}",
        fused=squared_feed_forward,
        plain=lambda inputs, widen, narrow: feed_forward(inputs, widen, narrow, SLOPE),
        inputs=[
            random(NUM_TOKENS, NUM_CHANNELS),
            random(NUM_HIDDEN, NUM_CHANNELS) * NUM_CHANNELS**-0.5,
            random(NUM_CHANNELS, NUM_HIDDEN),
        ],
        # Two outputs written, one read by the next product; backward one read, one written and
        # twice read, one read again.
        moved_elements=8 * NUM_TOKENS * NUM_HIDDEN + 6 * per_tokens,
        operations=12 * NUM_TOKENS * NUM_CHANNELS * NUM_HIDDEN,
    )
    yield Case(
        name="residual_norm",
        shape=f"{NUM_TOKENS}x{NUM_CHANNELS}",
        fused=lambda stream, embedded, mix: fused_mixed_and_normed(
            stream, embedded, mix, NORM_SCALE, torch.bfloat16
        ),
        plain=lambda stream, embedded, mix: mixed_and_normed(stream, embedded, mix, NORM_SCALE),
        inputs=[random(NUM_TOKENS, NUM_CHANNELS) for _ in range(2)] + [random(2, NUM_CHANNELS)],
        moved_elements=10 * per_tokens,
    )
    rows = (NUM_TOKENS // SEQ_LEN, SEQ_LEN)
    tables = rotary_tables(SEQ_LEN, ROPE_DIMS, 10_000.0)
    halves = [table.bfloat16() for table in tables]  # as the model casts them
    yield Case(
        name="query_key_rotation",
        shape=f"{NUM_TOKENS}x{NUM_HEADS}x{HEAD_DIM}",
        fused=lambda heads, gains: fused_normed_and_turned(heads, *tables, gains),
        plain=lambda heads, gains: normed_and_turned(heads, *halves, gains),
        inputs=[random(*rows, NUM_HEADS, HEAD_DIM), random(NUM_HEADS)],
        moved_elements=5 * per_heads,
    )
    yield Case(
        name="query_key_rotation",
        shape=f"{NUM_TOKENS}x({NUM_HEADS}+2x{NUM_KV_HEADS})x{HEAD_DIM}",
        fused=lambda joint, gains: fused_heads_of_joint(joint, *tables, gains),
        plain=lambda joint, gains: heads_of_joint(joint, *halves, gains),
        inputs=[random(*rows, NUM_HEADS + 2 * NUM_KV_HEADS, HEAD_DIM), random(NUM_HEADS)],
        moved_elements=5 * per_heads + 9 * per_heads * NUM_KV_HEADS // NUM_HEADS,
    )
    yield Case(
        name="own_value_gate",
        shape=f"{NUM_TOKENS}x{NUM_HEADS}/{NUM_KV_HEADS}x{HEAD_DIM}",
        fused=fused_gated_without_own_value,
        plain=gated_without_own_value,
        inputs=[
            random(*rows, NUM_HEADS, HEAD_DIM),
            random(*rows, NUM_KV_HEADS, HEAD_DIM),
            random(*rows, NUM_HEADS).sigmoid(),
        ],
        moved_elements=5 * per_heads + 3 * per_heads * NUM_KV_HEADS // NUM_HEADS,
    )


def median_ms(step: Callable[[], object]) -> tuple[float, float]:
    """The median of many, and how far apart the middle half of them lies."""
    for _ in range(WARM_UPS):
        step()
    times = []
    for _ in range(REPEATS):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        step()
        last.record()
        last.synchronize()
        times.append(first.elapsed_time(last))
    quarters = statistics.quantiles(times, n=4)
    return quarters[1], quarters[2] - quarters[0]


def measured_rates() -> tuple[float, float]:
    """What the card reaches: bytes a second in a copy, operations a second in a bf16 product."""
    numbers = torch.empty(2**30, dtype=torch.bfloat16).uniform_()
    copy_ms, _ = median_ms(numbers.clone)
    left, right = random(8_192, 8_192), random(8_192, 8_192)
    product_ms, _ = median_ms(lambda: left @ right)
    return 2 * numbers.nbytes / copy_ms * 1e3, 2 * 8_192**3 / product_ms * 1e3


def forward_and_backward(
    function: Callable[..., object], inputs: list[Tensor], *, is_frozen: bool = False
) -> Callable[[], None]:
    """A step that leaves nothing behind; where frozen, the first input alone gets a gradient."""
    leaves = [
        tensor.requires_grad_(tensor.is_floating_point() and not (is_frozen and index > 0))
        for index, tensor in enumerate(inputs)
    ]
    learnt = [tensor for tensor in leaves if tensor.requires_grad]
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    upstream = [torch.randn_like(output) for output in outputs]

    def step() -> None:
        again = function(*leaves)
        again = again if isinstance(again, tuple) else (again,)
        torch.autograd.grad(again, learnt, upstream)

    return step


def report(case: Case, form: str, times: tuple[float, float], rates: tuple[float, float]) -> None:
    """One line of output."""
    moved_bytes, seconds = case.moved_elements * ELEMENT_BYTES, times[0] / 1e3
    floor_ms = 1e3 * max(moved_bytes / rates[0], case.operations / rates[1])
    line = {
        "kernel": case.name,
        "shape": case.shape,
        "form": form,
        "ms": round(times[0], 4),
        "middle_half_ms": round(times[1], 4),
        "gb_per_s": round(moved_bytes / seconds / 1e9),
        "tflop_per_s": round(case.operations / seconds / 1e12),
        "floor_ms": round(floor_ms, 4),
        "times_floor": round(times[0] / floor_ms, 2),
        "peak_mib": torch.cuda.max_memory_allocated() // 2**20,
    }
    print(json.dumps(line), flush=True)


def compare(case: Case, rates: tuple[float, float], *, is_frozen: bool) -> None:
    """Every form of a case, one after the other, in one process."""
    forms = {
        "eager": case.plain,
        "compiled": torch.compile(case.plain, dynamic=False, fullgraph=True),
        "fused": case.fused,
        "fused_and_compiled": torch.compile(case.fused, dynamic=False, fullgraph=True),
    }
    for form, function in forms.items():
        report_or_error(case, form, function, rates, is_frozen=is_frozen)


def report_or_error(
    case: Case,
    form: str,
    function: Callable[..., object],
    rates: tuple[float, float],
    *,
    is_frozen: bool = False,
) -> None:
    """What a form takes, or why it does not run: the others are still of interest."""
    torch.cuda.reset_peak_memory_stats()
    try:
        step = forward_and_backward(function, case.inputs, is_frozen=is_frozen)
        report(case, f"{form} frozen" if is_frozen else form, median_ms(step), rates)
    except Exception as error:
        print(json.dumps({"kernel": case.name, "form": form, "error": str(error)[:300]}))


def loss_alone(rates: tuple[float, float]) -> None:
    """The loss kernel without its matrix products."""
    for vocabulary in (8_192, 1_024):
        logits = random(NUM_TOKENS, vocabulary)
        targets = torch.randint(vocabulary, (NUM_TOKENS,))
        case = Case(
            name="softcapped_cross_entropy",
            shape=f"{NUM_TOKENS}x{vocabulary}",
            fused=losses_over_logits,
            plain=losses_over_logits,
            inputs=[],
            moved_elements=2 * logits.numel(),
        )
        step = partial(losses_over_logits, logits, targets, SOFTCAP, wants_slopes=True)
        report(case, "kernel alone", median_ms(step), rates)


def compare_attention(rates: tuple[float, float]) -> None:
    """Every backend that is installed, over rows of one document and over packed documents."""
    rows = (NUM_TOKENS // SEQ_LEN, SEQ_LEN)
    ends = torch.arange(0, NUM_TOKENS + DOCUMENT_TOKENS, DOCUMENT_TOKENS).clamp(max=NUM_TOKENS)
    boundaries = ends.int()
    squares = {"rows": rows[0] * SEQ_LEN**2, "documents": int(ends.diff().square().sum())}
    for backend, (kind, pairs) in product(BACKENDS, squares.items()):
        options = ModelOptions(attention_backend=backend)
        named, flash = flash_for_rows(options), flash_for_documents(options)
        if backend.startswith("flash") and named is None:
            continue
        attention = row_attention(options, flash=named)
        if kind == "documents":
            shape = (1, NUM_TOKENS)
            attention = partial(attend_documents, boundaries, shape, flash)
        leading = (1, NUM_TOKENS) if kind == "documents" else rows
        heads = [random(*leading, n, HEAD_DIM) for n in (NUM_HEADS, NUM_KV_HEADS, NUM_KV_HEADS)]
        case = Case(
            name="attention",
            shape=f"{kind} {NUM_TOKENS}x{NUM_HEADS}/{NUM_KV_HEADS}x{HEAD_DIM}",
            fused=attention,
            plain=attention,
            inputs=heads,
            moved_elements=4 * NUM_TOKENS * HEAD_DIM * (NUM_HEADS + NUM_KV_HEADS),
            # Two products forward, five backward, over half of each square of pairs.
            operations=7 * pairs * NUM_HEADS * HEAD_DIM,
        )
        report_or_error(case, backend, torch.compile(case.fused, dynamic=False), rates)


def attend_documents(
    boundaries: Tensor, shape: tuple[int, int], flash: FlashDocuments | None, *heads: Tensor
) -> Tensor:
    return document_attention(boundaries, shape, SEQ_LEN, flash=flash)(*heads)


def compare_tiles(case: Case, rates: tuple[float, float]) -> None:
    """The feed-forward kernel with tiles of other sizes."""
    for rows, columns, warps, stages in TILES:
        squared.TILE_ROWS, squared.TILE_COLUMNS = rows, columns
        squared.TILE_WARPS, squared.TILE_STAGES = warps, stages
        step = forward_and_backward(squared_feed_forward, case.inputs)
        report(
            case, f"tiles {rows}x{columns} warps {warps} stages {stages}", median_ms(step), rates
        )


def squared_feed_forward(inputs: Tensor, widen: Tensor, narrow: Tensor) -> Tensor:
    return squared.fused_feed_forward(inputs, widen, narrow, SLOPE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of a kernel's name")
    parser.add_argument("--tiles", action="store_true", help="try tiles of the feed-forward kernel")
    parser.add_argument("--frozen", action="store_true", help="the first input's gradient alone")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_default_device("cuda")
    rates = measured_rates()
    card, version = torch.cuda.get_device_name(), torch.__version__
    gb_per_s, tflop_per_s = rates[0] / 1e9, rates[1] / 1e12
    print(
        json.dumps(
            {"card": card, "torch": version, "gb_per_s": gb_per_s, "tflop_per_s": tflop_per_s}
        )
    )
    if arguments.only in "softcapped_cross_entropy" and not arguments.frozen:
        loss_alone(rates)
    if arguments.only in "attention" and not arguments.frozen:
        compare_attention(rates)
    for case in cases():
        if arguments.only not in case.name:
            continue
        compare(case, rates, is_frozen=arguments.frozen)
        if arguments.tiles and case.name == "leaky_relu_squared":
            compare_tiles(case, rates)


if __name__ == "__main__":
    main()
