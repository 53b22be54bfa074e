"""The submission's folder: the script first, logs as seeds finish, then what is said of them."""

import json
import math
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import FolderError
from trainer.evaluation.scoring import evaluation_windows
from trainer.evaluation.stream import MOST_STREAM_LANES, unstreamed
from trainer.quantization.codecs import OPTIONAL_PACKAGES
from trainer.recipe import Recipe, Value, recipe_settings
from trainer.recipe_file import ResolvedRecipe
from trainer.run_log import ARTIFACT_NAME, written_whole
from trainer.submission_folder.metrics import StepMetrics, metrics_lines
from trainer.submission_folder.pack_script import pack_script
from trainer.submission_folder.run_figure import draw_run
from trainer.submission_folder.seed_results import SeedResult

SCRIPT_NAME = "train_gpt.py"
READABLE_NAME = "train_gpt_readable.py"  # beside a packed script
METRICS_NAME = "metrics.jsonl"
FIGURE_NAME = "training.svg"
CONTRACT_NAME = "pgolf.yaml"  # written with the script, so it marks a folder as one of ours


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderRequest:
    """What is to be written, and by whom."""

    resolved: ResolvedRecipe
    folder: Path
    dataset: str  # name of the data set's folder
    tokenizer: str  # name of the tokenizer's file
    num_gpus: int | None  # None: no torchrun
    is_packed: bool  # the script is compressed, with its readable source beside it
    author: str
    github_id: str
    date: str  # ISO

    @property
    def launch(self) -> str:
        if self.num_gpus is None:
            return f"python {SCRIPT_NAME}"
        return f"torchrun --standalone --nproc_per_node={self.num_gpus} {SCRIPT_NAME}"


def script_of(request: FolderRequest, readable: str) -> str:
    """The script that runs and counts: the readable one, or its packed form."""
    if not request.is_packed:
        return readable
    return pack_script(readable, readable.partition("\n")[0].lstrip("# "), READABLE_NAME)


def begin_folder(request: FolderRequest, readable: str, *, overwrite: bool, resume: bool) -> None:
    """Write what does not depend on the runs: script, contract, requirements.

    Raises:
        FolderError: the folder exists and may not be touched, or cannot be written.
    """
    folder, script = request.folder, script_of(request, readable)
    try:
        if folder.exists() and any(folder.iterdir()):
            _make_room(folder, script, overwrite=overwrite, resume=resume)
        folder.mkdir(parents=True, exist_ok=True)
        # The contract first: it tells the next command that the folder is one of ours.
        write_whole(folder / CONTRACT_NAME, contract(request))
        write_whole(folder / "requirements.txt", requirements(request))
        if request.is_packed:
            write_whole(folder / READABLE_NAME, readable)
        write_whole(folder / SCRIPT_NAME, script)
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot write here: {error.strerror}; make room, or choose another --out"
        ) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file of which no half is ever there under its name.

    Raises:
        TrainerError: the disk refuses.
    """
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def contract(request: FolderRequest) -> str:
    """The content of pgolf.yaml: how to train, how to evaluate, what stands between the two."""
    return (
        f"version: 1\ntrain: {request.launch} train\nevaluate: {request.launch} evaluate\n"
        f"artifact: [{ARTIFACT_NAME}]\ncode: [{SCRIPT_NAME}]\n"
        f"{documents_line(request.resolved.recipe)}{stream_lines(request.resolved.recipe)}"
    )


def documents_line(recipe: Recipe) -> str:
    """What is promised of documents: that each is scored alone, or knows no word of others.

    Packed documents stand in windows that end where they end, so that their places count.
    """
    learning, model = recipe.evaluation, recipe.model
    if learning.ttt_enabled:
        shares = learning.ttt_warm_start_a or learning.phased_ttt_num_phases > 0
        return "" if shares else "documents: alone\n"
    looks_back = model.use_smeargate or model.bigram_hash_buckets > 0
    looks_back |= model.smear_gate_enabled and not model.smear_gate_bos_fix
    return "documents: apart\n" if recipe.batch.pack_documents and not looks_back else ""


def stream_lines(recipe: Recipe) -> str:
    """How the script predicts token by token; nothing where it does not."""
    if unstreamed(recipe):
        return ""
    windows = evaluation_windows(recipe)
    pieces, lanes = str(windows.stride), MOST_STREAM_LANES
    if recipe.evaluation.ttt_enabled:
        pieces, lanes = "documents", recipe.evaluation.ttt_batch_size
    elif windows.context % windows.stride:
        return ""
    return (
        f"stream:\n  command: python {SCRIPT_NAME} stream\n  pieces: {pieces}\n"
        f"  context: {0 if pieces == 'documents' else windows.context}\n  lanes: {lanes}\n"
    )


def requirements(request: FolderRequest) -> str:
    """The content of requirements.txt: what the script imports, the recipe's codec included."""
    codec = OPTIONAL_PACKAGES.get(request.resolved.recipe.quantization.compressor)
    packages = {"numpy", "sentencepiece", "torch"} | ({codec} if codec else set())
    return "\n".join(sorted(packages)) + "\n"


def _make_room(folder: Path, script: str, *, overwrite: bool, resume: bool) -> None:
    if not (folder / CONTRACT_NAME).is_file():
        raise FolderError(f"{folder}: is no submission of pgolf-train; choose another --out")
    if not overwrite and not resume:
        raise FolderError(f"{folder}: exists; add --resume, --overwrite, or another --out")
    begun = folder / SCRIPT_NAME
    if overwrite:
        _empty(folder)
    elif begun.is_file() and begun.read_text(encoding="utf-8") != script:
        raise FolderError(
            f"{folder}: was begun with another script; its seeds do not go with this one: "
            "add --overwrite, or another --out"
        )


def _empty(folder: Path) -> None:
    """Remove all but the contract: cut off half-way, the folder is still known as one of ours."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != CONTRACT_NAME:
            path.unlink()


def finish_folder(
    request: FolderRequest,
    results: list[SeedResult],
    metrics: list[StepMetrics],
    text_bytes: int,
) -> None:
    """Write README.md, submission.json and the course of training from the seeds' logs.

    Args:
        request: what is written.
        results: of all seeds.
        metrics: of all seeds' logged steps.
        text_bytes: of the scored tokens' decoded text.
    """
    shutil.rmtree(request.folder / "checkpoints", ignore_errors=True)
    write_whole(request.folder / "README.md", readme(request, results, text_bytes))
    write_whole(request.folder / METRICS_NAME, metrics_lines(metrics))
    figure = draw_run(metrics, f"{request.resolved.name}: training")
    write_whole(request.folder / FIGURE_NAME, figure)
    # The claim last: where it is, so is all else.
    claim = json.dumps(submission_record(request, results, text_bytes), indent=2) + "\n"
    write_whole(request.folder / "submission.json", claim)


def submission_record(
    request: FolderRequest, results: list[SeedResult], text_bytes: int
) -> dict[str, object]:
    """The content of submission.json; sizes and times in the units that its keys name."""
    bits = [result.val_bpb for result in results]
    record: dict[str, object] = {
        "author": request.author,
        "github_id": request.github_id,
        "name": request.resolved.name,
        "blurb": request.resolved.what,
        "date": request.date,
        "track": request.resolved.track,
        "val_bpb": round(statistics.fmean(bits), 8),
        "val_loss": round(statistics.fmean(result.val_loss for result in results), 8),
        "decoded_text": {
            "bytes": text_bytes,
            "bits_per_byte": round(bits_per_decoded_byte(results, text_bytes), 8),
        },
        "seeds": [result.seed for result in results],
        "seed_results": {str(result.seed): _seed_record(result) for result in results},
        "bytes_total": max(result.total_bytes for result in results),
        "bytes_code": (request.folder / SCRIPT_NAME).stat().st_size,
        "hardware": results[0].hardware,
        "pytorch_version": results[0].torch_version,
    }
    if len(bits) > 1:
        record["val_bpb_std"] = round(statistics.stdev(bits), 8)
        record["val_bpb_std_kind"] = "sample standard deviation over seeds (ddof 1)"
    return record


def _seed_record(result: SeedResult) -> dict[str, Value]:
    return {
        "val_bpb": result.val_bpb,
        "val_loss": result.val_loss,
        "artifact_bytes": result.total_bytes,
        "train_time_s": result.train_seconds,
        "eval_time_s": result.eval_seconds,
        "steps": result.steps,
    }


def bits_per_decoded_byte(results: list[SeedResult], text_bytes: int) -> float:
    """The mean score if the decoded text's bytes are the denominator."""
    mean_nats = statistics.fmean(result.val_loss * result.num_tokens for result in results)
    return mean_nats / math.log(2.0) / text_bytes


def readme(request: FolderRequest, results: list[SeedResult], text_bytes: int) -> str:
    """The content of README.md."""
    rows = [
        f"| {result.seed} | {result.val_bpb:.8f} | {result.val_loss:.8f} | {result.steps} | "
        f"{result.train_seconds:.1f} | {result.eval_seconds:.1f} | {result.total_bytes:,} |"
        for result in results
    ]
    bits = [result.val_bpb for result in results]
    summary = f"Mean val_bpb **{statistics.fmean(bits):.6f}** over {len(bits)} seed(s)"
    if len(bits) > 1:
        summary += f", sample standard deviation {statistics.stdev(bits):.6f} (ddof 1)"
    return "\n".join(
        [
            f"# {request.resolved.name}",
            "",
            request.resolved.what,
            "",
            "| seed | val_bpb | val_loss | steps | train s | eval s | artifact + code bytes |",
            "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"{summary}. Hardware: {results[0].hardware}; PyTorch {results[0].torch_version}.",
            f"Over the {text_bytes:,} bytes that the scored tokens decode to, "
            f"{bits_per_decoded_byte(results, text_bytes):.6f} bits per byte.",
            "",
            f"![Loss, learning rate and step time]({FIGURE_NAME})",
            "",
            f"Each logged step is a line of `{METRICS_NAME}`.",
            "",
            "## Run",
            "",
            "```bash",
            *(run_command(request, result.seed) for result in results),
            "```",
            "",
            f"`{request.launch} train` stops when the artifact `{ARTIFACT_NAME}` is written;",
            f"`{request.launch} evaluate` starts from the artifact alone. Validation data are "
            + ("opened" if request.resolved.recipe.schedule.val_loss_every else "not opened"),
            "before the artifact is written.",
            "",
            "## Recipe",
            "",
            f"`{READABLE_NAME if request.is_packed else SCRIPT_NAME}` holds the whole recipe as "
            "literals at its top"
            + (f"; `{SCRIPT_NAME}` is the same program, packed" if request.is_packed else "")
            + ".",
            *recipe_lines(request.resolved.recipe),
            "",
        ]
    )


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
