"""What trained weights come to as GPTQ codes: sizes under each codec, and the size law's word.

    python benchmarks/quantized_sizes.py weights.pt --recipe pr1855 --data data/docs --rows 8

`weights.pt` is a state_dict of the recipe's model (torch.save). Calibrates on the first rows of the
training shards, rounds, packs with the recipe's clips under each codec, then fits the clips to
what a script of --code-bytes leaves of 16,000,000. One line a figure, as soon as it is known.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.artifact import pack_artifact, unpack_artifact  # noqa: E402
from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.data.token_shards import read_shard, shard_paths  # noqa: E402
from trainer.fitted_artifact import fit_artifact  # noqa: E402
from trainer.model.transformer import GPT  # noqa: E402
from trainer.process_group import ProcessGroup  # noqa: E402
from trainer.quantization.calibrated_rounding import (  # noqa: E402
    Hessians,
    clip_sigmas,
    quantize_calibrated,
)
from trainer.quantization.calibration import collect_hessians  # noqa: E402
from trainer.quantization.gptq import (  # noqa: E402
    gptq_codes,
    nearest_codes,
    output_error,
    row_grid,
    sigma_steps,
)
from trainer.quantization.rounding import code_bits, is_rounded  # noqa: E402
from trainer.quantization.size_law import gaussian_code_bits  # noqa: E402
from trainer.recipe import QuantizationOptions  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402

CODECS = (("rans", "brotli"), ("bytes", "zlib"), ("bytes", "zstd"), ("bytes", "brotli"))


def head_inputs(model: GPT, tokens: np.ndarray, rows: int) -> Iterator[torch.Tensor]:
    length = 512
    for row in range(rows):
        ids = torch.from_numpy(tokens[row * length : (row + 1) * length].astype(np.int64))
        with torch.no_grad():
            yield model.final_stream(ids[None])


def code_entropy_bytes(codes: np.ndarray) -> float:
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(shares * np.log2(shares)).sum()) * codes.size / 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--recipe", default="pr1855")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--code-bytes", type=int, default=60_000)
    parser.add_argument("--codecs", type=int, default=len(CODECS), help="how many, fastest first")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, {}).recipe
    model = GPT(recipe.model, num_positions=512)
    model.load_state_dict(torch.load(arguments.weights))
    tokens = read_shard(shard_paths(find_datasets(arguments.data)[0].folder, "train")[0])
    alone = ProcessGroup(rank=0, world_size=1, device=torch.device("cpu"))
    started = time.perf_counter()
    passes = head_inputs(model, tokens, arguments.rows)
    hessians = collect_hessians(model, passes, head="tok_emb.weight", group=alone)
    seconds = time.perf_counter() - started
    tell(f"calibration: {len(hessians)} hessians, {seconds:.1f} s")
    weights = Weights(state=model.state_dict(), hessians=hessians, options=recipe.quantization)
    tell_codes(weights)
    tell_codecs(weights, CODECS[: arguments.codecs])
    tell_fit(weights, arguments.code_bytes)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What is rounded, and how."""

    state: dict[str, torch.Tensor]
    hessians: Hessians
    options: QuantizationOptions


def tell_codes(weights: Weights) -> None:
    """Entropy of the nearest codes beside the law's, and what GPTQ gains on one block."""
    entropy = foretold = 0.0
    ratios = []
    for name, matrix in weights.state.items():
        if is_rounded(name, matrix, weights.options):
            bits, sigmas = code_bits(name, weights.options), clip_sigmas(name, weights.options)
            grid = row_grid(sigma_steps(matrix, bits, sigmas), bits)
            nearest = nearest_codes(matrix, grid)
            entropy += code_entropy_bytes(nearest.numpy())
            foretold += matrix.numel() * gaussian_code_bits(sigmas, bits) / 8
            if "blocks.5" in name:  # one block stands for all
                hessian = weights.hessians[name]
                codes = (gptq_codes(matrix, hessian, grid), nearest)
                errors = [float(output_error(matrix, hessian, c, grid).sum()) for c in codes]
                ratios.append((name, errors[0] / errors[1]))
    tell(f"codes: {entropy:,.0f} bytes of entropy, {foretold:,.0f} by the law")
    for name, ratio in ratios:
        tell(f"output error over that of nearest codes: {name} {ratio:.3f}")


def tell_codecs(weights: Weights, codecs: Sequence[tuple[str, str]]) -> None:
    """Bytes and seconds of each codec on the same codes."""
    started = time.perf_counter()
    stored = quantize_calibrated(weights.state, weights.hessians, weights.options)
    tell(f"GPTQ: {time.perf_counter() - started:.1f} s")
    for packing, codec in codecs:
        options = replace(weights.options, code_packing=packing, compressor=codec)
        started = time.perf_counter()
        packed = pack_artifact(stored, options).compressed
        written = time.perf_counter()
        unpack_artifact(packed, options)
        read_seconds = time.perf_counter() - written
        told = f"{written - started:.1f} s to write, {read_seconds:.1f} s to read"
        tell(f"{packing}+{codec}: {len(packed):,} bytes, {told}")


def tell_fit(weights: Weights, code_bytes: int) -> None:
    """The clips that fill what the script leaves, and how well their bytes were foretold."""
    rounding = partial(quantize_calibrated, weights.state, weights.hessians)
    fitted = fit_artifact(rounding, weights.options, 16_000_000 - code_bytes)
    size = len(fitted.artifact.compressed)
    tell(
        f"fitted: clips x {fitted.clip_factor:.4f}, {fitted.predicted_bytes:,} predicted, "
        f"{size:,} packed ({size / fitted.predicted_bytes - 1:+.3%}), "
        f"{size + code_bytes:,} with the script, "
        f"{math.log2(fitted.clip_factor):+.3f} bits a code"
    )


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
