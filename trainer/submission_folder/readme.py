"""The README of a submission's folder: scores, how to run it again, what its recipe changes."""

import statistics

from trainer.recipe import Recipe, recipe_settings
from trainer.run_log import ARTIFACT_NAME
from trainer.submission_folder.folder_request import (
    FIGURE_NAME,
    METRICS_NAME,
    READABLE_NAME,
    SCRIPT_NAME,
    FolderRequest,
)
from trainer.submission_folder.seed_results import SeedResult, bits_per_decoded_byte


def readme(request: FolderRequest, results: list[SeedResult], text_bytes: int) -> str:
    """The content of README.md.

    Args:
        request: what is written.
        results: of all seeds.
        text_bytes: of the scored tokens' decoded text.
    """
    return "\n".join(
        [
            f"# {request.resolved.name}",
            "",
            request.resolved.what,
            "",
            *_score_lines(results, text_bytes),
            "",
            f"![Loss, learning rate and step time]({FIGURE_NAME})",
            "",
            f"Each logged step is a line of `{METRICS_NAME}`.",
            "",
            "## Run",
            "",
            *_run_lines(request, results),
            "",
            "## Recipe",
            "",
            _script_line(request),
            *recipe_lines(request.resolved.recipe),
            "",
        ]
    )


def _score_lines(results: list[SeedResult], text_bytes: int) -> list[str]:
    """A table row a seed, then their mean."""
    bits = [result.val_bpb for result in results]
    summary = f"Mean val_bpb **{statistics.fmean(bits):.6f}** over {len(bits)} seed(s)"
    if len(bits) > 1:
        summary += f", sample standard deviation {statistics.stdev(bits):.6f} (ddof 1)"
    return [
        "| seed | val_bpb | val_loss | steps | train s | eval s | artifact + code bytes |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *map(_seed_row, results),
        "",
        f"{summary}. Hardware: {results[0].hardware}; PyTorch {results[0].torch_version}.",
        f"Over the {text_bytes:,} bytes that the scored tokens decode to, "
        f"{bits_per_decoded_byte(results, text_bytes):.6f} bits per byte.",
    ]


def _seed_row(result: SeedResult) -> str:
    return (
        f"| {result.seed} | {result.val_bpb:.8f} | {result.val_loss:.8f} | {result.steps} | "
        f"{result.train_seconds:.1f} | {result.eval_seconds:.1f} | {result.total_bytes:,} |"
    )


def _run_lines(request: FolderRequest, results: list[SeedResult]) -> list[str]:
    validates = request.resolved.recipe.schedule.val_loss_every
    return [
        "```bash",
        *(run_command(request, result.seed) for result in results),
        "```",
        "",
        f"`{request.launch} train` stops when the artifact `{ARTIFACT_NAME}` is written;",
        f"`{request.launch} evaluate` starts from the artifact alone. Validation data are "
        f"{'opened' if validates else 'not opened'}",
        "before the artifact is written.",
    ]


def _script_line(request: FolderRequest) -> str:
    if request.is_packed:
        return (
            f"`{READABLE_NAME}` holds the whole recipe as literals at its top; "
            f"`{SCRIPT_NAME}` is the same program, packed."
        )
    return f"`{SCRIPT_NAME}` holds the whole recipe as literals at its top."


def run_command(request: FolderRequest, seed: int) -> str:
    """The command line that trains and scores a seed."""
    return (
        f"SEED={seed} DATA_PATH=./data/datasets/{request.dataset} "
        f"TOKENIZER_PATH=./data/tokenizers/{request.tokenizer} {request.launch}"
    )


def recipe_lines(recipe: Recipe) -> list[str]:
    """What a recipe changes, as lines of Markdown."""
    defaults = recipe_settings(Recipe())
    changed = [
        f"- `{path}`: {value} (baseline: {defaults[path]})"
        for path, value in recipe_settings(recipe).items()
        if value != defaults[path] and not path.startswith("run.")
    ]
    return ["Options that differ from the public baseline:", "", *(changed or ["none"])]
