"""Seconds of a sliding-window evaluation: ours beside the public batch-1 form, on one device.

    python benchmarks/sliding_evaluation.py --data data/docs --public PATH/TO/train_gpt.py \
        --recipe pr61_v2 --public-windows 500 --out sliding.json

`--public` is the script of PR 61 (it defines `eval_val_sliding` and `GPT.get_logits`). Both sides
hold the same weights (seeded and not trained, or from `--artifact`). The public form, and ours one
window at a time and uncompiled, score the first `--public-windows` windows; ours, batched and
compiled, scores the same ones for the comparison and then all of the validation set (or
`--windows`). Seconds a window and bits per byte of each; compilation is not in the times, which
each follow a warm-up.
"""

import argparse
import importlib.util
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import sentencepiece
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.artifact import unpack_artifact  # noqa: E402
from trainer.data.byte_lengths import load_byte_table  # noqa: E402
from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.evaluation.bits_per_byte import bits_per_byte, load_validation_tokens  # noqa: E402
from trainer.evaluation.scoring import Windows, evaluation_windows, score_tokens  # noqa: E402
from trainer.model.transformer import GPT  # noqa: E402
from trainer.phases.prepare import build_model, set_up_device  # noqa: E402
from trainer.process_group import ProcessGroup  # noqa: E402
from trainer.quantization.rounding import dequantize_state  # noqa: E402
from trainer.recipe import Recipe, recipe_settings  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402


def load_public(path: Path, recipe: Recipe) -> ModuleType:
    """The public script as a module, its settings those of the recipe."""
    for option, value in recipe_settings(recipe).items():
        os.environ[option.partition(".")[2].upper()] = str(
            int(value) if isinstance(value, bool) else value
        )
    spec = importlib.util.spec_from_file_location("public_train_gpt", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public_model(public: ModuleType, ours: GPT, device: torch.device) -> torch.nn.Module:
    """The public model with our weights, in the types that its script gives it."""
    arguments = public.Hyperparameters()
    wanted = list(inspect.signature(public.GPT.__init__).parameters)[1:]
    model = public.GPT(**{name: getattr(arguments, name) for name in wanted}).to(device)
    if device.type == "cuda":
        model.bfloat16()
        for module in model.modules():
            if isinstance(module, public.CastedLinear):
                module.float()
        public.restore_low_dim_params_to_fp32(model)
    model.load_state_dict(ours.state_dict())
    return model


def fill(model: GPT, recipe: Recipe, artifact: Path | None) -> None:
    """Weights from an artifact, or seeded ones with no matrix left at zero."""
    if artifact is not None:
        stored = unpack_artifact(artifact.read_bytes(), recipe.quantization)
        model.load_state_dict(dequantize_state(stored))
        return
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2 and not parameter.any():
                parameter.normal_(std=0.02)


def timed(group: ProcessGroup, what: Callable[[], object]) -> tuple[float, object]:
    """Seconds that something takes, the device's work included, and its result."""
    group.synchronize()
    started = time.perf_counter()
    result = what()
    group.synchronize()
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--public", type=Path, required=True, help="train_gpt.py of PR 61")
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--recipe", default="pr61_v2")
    parser.add_argument("--artifact", type=Path, help="default: seeded weights, not trained")
    parser.add_argument("--batch", type=int, default=64, help="our windows at once")
    parser.add_argument("--public-windows", type=int, default=500)
    parser.add_argument("--windows", type=int, default=1 << 40, help="ours, at most")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, {}).recipe
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if has_gpu else "cpu")
    group = ProcessGroup(rank=0, world_size=1, device=device)
    set_up_device(recipe.device)
    windows = replace(evaluation_windows(recipe), batch_size=arguments.batch)
    model = build_model(recipe, group)
    fill(model, recipe, arguments.artifact)
    model.use_positions(windows.seq_len)
    model.eval()
    results = compare(recipe, windows, model, arguments)
    print(json.dumps(results, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def compare(
    recipe: Recipe, windows: Windows, model: GPT, arguments: argparse.Namespace
) -> dict[str, object]:
    """Both sides on the same windows, then ours on all of them."""
    device = model.tok_emb.weight.device
    group = ProcessGroup(rank=0, world_size=1, device=device)
    dataset = find_datasets(arguments.data)[0]
    table = load_byte_table(dataset.tokenizer, recipe.model.vocab_size)
    everything = load_validation_tokens(dataset.folder, windows.seq_len, keep_tail=True)
    some = head(everything, windows, arguments.public_windows)
    much = head(everything, windows, arguments.windows)
    compiled = (
        torch.compile(model, dynamic=False, fullgraph=True) if device.type == "cuda" else model
    )
    one = replace(windows, batch_size=1)
    score_tokens(compiled, head(everything, windows, windows.batch_size), windows, group)
    score_tokens(model, head(everything, windows, 3), one, group)
    seconds, scored = timed(group, lambda: score_tokens(compiled, some, windows, group))
    all_seconds, _ = timed(group, lambda: score_tokens(compiled, much, windows, group))
    one_seconds, scored_one = timed(group, lambda: score_tokens(model, some, one, group))
    public_seconds, public_bpb = run_public(
        recipe, windows, model, (arguments.public, dataset, some)
    )
    num_windows, num_all = (windows.starts(tokens.size - 1).size for tokens in (some, much))
    ours, ours_one = (
        bits_per_byte(losses, some, table).bits_per_byte for losses in (scored, scored_one)
    )
    return {
        "recipe": arguments.recipe,
        "seq_len": windows.seq_len,
        "stride": windows.stride,
        "windows_compared": num_windows,
        "windows_of_ours": num_all,
        "public_ms_a_window": 1000 * public_seconds / num_windows,
        "ours_one_by_one_ms_a_window": 1000 * one_seconds / num_windows,
        "ours_ms_a_window_compared": 1000 * seconds / num_windows,
        "ours_ms_a_window": 1000 * all_seconds / num_all,
        "times_faster": public_seconds / num_windows / (all_seconds / num_all),
        "public_bpb": public_bpb,
        "ours_one_by_one_bpb": ours_one,
        "ours_bpb": ours,
        "ours_less_public_bpb": ours - public_bpb,
        "ours_less_one_by_one_bpb": ours - ours_one,
    }


def head(tokens: np.ndarray, windows: Windows, num_windows: int) -> np.ndarray:
    """The tokens that the first windows score, and no more."""
    return tokens[: windows.context + windows.stride * num_windows + 1]


def run_public(
    recipe: Recipe, windows: Windows, model: GPT, what: tuple[Path, object, np.ndarray]
) -> tuple[float, float]:
    """Seconds and bits per byte of the public form, after a short warm-up."""
    path, dataset, tokens = what
    public = load_public(path, recipe)
    device = model.tok_emb.weight.device
    group = ProcessGroup(rank=0, world_size=1, device=device)
    theirs = public_model(public, model, device)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(dataset.tokenizer))
    tables = public.build_sentencepiece_luts(pieces, recipe.model.vocab_size, device)

    def score(some: np.ndarray) -> tuple[float, float]:
        ids = torch.from_numpy(some.astype(np.int64))
        return public.eval_val_sliding(
            public.Hyperparameters(),
            theirs,
            0,
            1,
            device,
            ids,
            *tables,
            eval_seq_len=windows.seq_len,
            eval_stride=windows.stride,
        )

    score(head(tokens, windows, 3))
    seconds, (_, bpb) = timed(group, lambda: score(tokens))
    return seconds, bpb


if __name__ == "__main__":
    main()
