"""A training step, and a pass of test-time training, counted: operations, bytes, least times.

    python benchmarks/counted_step.py --recipe pr1855

Nothing runs: shapes are the recipe's, passes over memory those that the kernels' docstrings tell or
that fused code cannot do without (a tensor read once by each kernel that needs all of its rows).
Rates are an H100's: 781 TFLOP/s (a product of 8192³ in bf16, measured), 3.35 TB/s (its memory).
What is counted is a floor: work that takes twice as long has room.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.model.topology import looped_layers  # noqa: E402
from trainer.recipe import Recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402

FLOPS_PER_MS, BYTES_PER_MS = 781e9, 3.35e9
VISIBLE_TOKENS = 661  # that a token attends to on average, in FineWeb's documents cut at 2,048
# Passes over a stream of N x C in bf16, forward and backward, for each use of a block. Norms of
# queries and keys 3 + 6, XSA and gate 2.5 + 4, and what reads or writes the residual stream: twice
# as much where it is in fp32.
ATTENTION_PASSES, STREAM_PASSES = 15.5, 24.0
SCALE_PASSES = 4.0  # to sum the gradients of attn_scale and mlp_scale, unless weights hold them


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A part of a step."""

    name: str
    flops: float = 0.0
    moved_bytes: float = 0.0

    @property
    def ms(self) -> float:
        """The least that it can take: arithmetic and memory side by side."""
        return max(self.flops / FLOPS_PER_MS, self.moved_bytes / BYTES_PER_MS)


def counted_step(recipe: Recipe, num_uses: int, *, is_plain: bool) -> list[Work]:
    """All parts of a training step that uses so many blocks, on one GPU.

    Plain: the stream is in fp32 and scales stand beside their weights. Else in bf16, and within.
    """
    model, tokens = recipe.model, recipe.batch.train_batch_tokens
    channels, hidden = model.model_dim, model.hidden_dim
    projections = 2 * channels * (2 * channels + 2 * model.kv_dim)  # FLOP a token, forward
    product = 2 * channels * hidden
    stream = 2.0 * tokens * channels  # bytes, in bf16
    stream_passes = STREAM_PASSES * (2 if is_plain else 1)
    attention = 4 * VISIBLE_TOKENS * channels * 3.5
    matrices = num_matrix_elements(recipe)
    return [
        Work(name="products of attention", flops=3 * num_uses * projections * tokens),
        Work(name="products of feed-forward, four plain", flops=4 * num_uses * product * tokens),
        Work(
            name="and two with the activation",
            flops=2 * num_uses * product * tokens,
            moved_bytes=num_uses * tokens * 2 * (4 * hidden + 2 * channels),
        ),
        Work(name="attention", flops=num_uses * attention * tokens),
        Work(name="passes in attention", moved_bytes=num_uses * ATTENTION_PASSES * stream),
        Work(name="passes over the stream", moved_bytes=num_uses * stream_passes * stream),
        Work(
            name="sums of scales' gradients",
            moved_bytes=num_uses * SCALE_PASSES * stream * is_plain,
        ),
        Work(name="head", flops=6 * channels * model.vocab_size * tokens),
        Work(name="loss, in place", moved_bytes=2 * 2.0 * model.vocab_size * tokens),
        # fp32: clip 3, bank 2, momentum 7, rows 3, update 3, decay 2, EMA 3; bf16 in between.
        Work(name="optimizer's passes", moved_bytes=25 * 4.0 * matrices),
        Work(name="Newton-Schulz", flops=newton_schulz_flops(recipe)),
    ]


def num_matrix_elements(recipe: Recipe) -> int:
    """Elements of all that Muon moves."""
    return sum(rows * columns * number for rows, columns, number in matrix_shapes(recipe))


def matrix_shapes(recipe: Recipe) -> list[tuple[int, int, int]]:
    """Rows, columns and number of each kind of matrix."""
    model = recipe.model
    channels, layers = model.model_dim, model.num_layers
    return [
        (channels, channels, 2 * layers),
        (model.kv_dim, channels, 2 * layers),
        (model.hidden_dim, channels, 2 * layers),
    ]


def newton_schulz_flops(recipe: Recipe) -> float:
    """Two products with the matrix and one of its Gram matrix with itself, an iteration."""
    total = 0.0
    for rows, columns, number in matrix_shapes(recipe):
        short, long = sorted((rows, columns))
        total += number * (4 * short * short * long + 2 * short**3)
    return total * recipe.optimizer.muon_backend_steps


def counted_pass(recipe: Recipe, num_tokens: int) -> list[Work]:
    """All parts of a pass over a batch of documents, so many tokens of each, that then learns.

    Weights stand still: each product of the model has one more on the way back, not two.
    """
    model, options = recipe.model, recipe.evaluation
    rank, channels, kv_dim = options.ttt_lora_rank, model.model_dim, model.kv_dim
    uses, documents = len(looped_layers(model)), options.ttt_batch_size
    tokens = documents * num_tokens
    products = 2 * channels * (2 * channels + 2 * kv_dim + 2 * model.hidden_dim)
    widths = [channels, kv_dim, kv_dim, channels, channels]  # of what adapters add
    adapters = sum(2 * rank * (channels + width) for width in widths)
    parameters = (
        documents
        * rank
        * (uses * sum(channels + width for width in widths) + channels + model.vocab_size)
    )
    stream = 2.0 * tokens * channels
    # A use: inputs read and halves written (1 + 4 ranks), each added (2 passes); twice that back.
    adapter_passes = 3 * (2 + 2 * sum(widths) / channels + 10 * rank / channels)
    return [
        Work(name="products of the model", flops=2 * uses * products * tokens),
        Work(
            name="products of adapters",
            flops=3 * uses * adapters * tokens,
            moved_bytes=uses * adapter_passes * stream,
        ),
        Work(name="attention", flops=uses * 4 * num_tokens / 2 * channels * 3.5 * tokens),
        Work(name="passes in attention", moved_bytes=uses * ATTENTION_PASSES * stream),
        Work(name="passes over the stream, fp32", moved_bytes=uses * 2 * STREAM_PASSES * stream),
        Work(name="adapters' weights to bf16, used, back", moved_bytes=18.0 * parameters),
        Work(name="Adam", moved_bytes=28.0 * parameters),
    ]


def print_ledger(title: str, works: list[Work]) -> None:
    """A line for each part, and the sum."""
    print(title)
    for work in works:
        told = f"{work.flops / 1e12:8.2f} TFLOP {work.moved_bytes / 1e9:8.1f} GB"
        print(f"  {work.name:40}{told}{work.ms:9.2f} ms")
    print(f"  {'all':40}{'':26}{sum(work.ms for work in works):9.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="pr1855")
    recipe = load_recipe(parser.parse_args().recipe, {}).recipe
    looped = len(looped_layers(recipe.model))
    for num_uses in sorted({recipe.model.num_layers, looped}):
        for is_plain, name in ((True, "stream in fp32"), (False, "stream in bf16, scales within")):
            title = f"step, {num_uses} uses of blocks, {name}"
            print_ledger(title, counted_step(recipe, num_uses, is_plain=is_plain))
    if recipe.evaluation.ttt_enabled:
        for num_tokens in (recipe.evaluation.ttt_chunk_size, recipe.evaluation.ttt_eval_seq_len):
            documents = recipe.evaluation.ttt_batch_size
            title = f"pass that learns, {documents} documents, {num_tokens} tokens of each"
            print_ledger(title, counted_pass(recipe, num_tokens))


if __name__ == "__main__":
    main()
