"""The submission's folder: the script first, logs as seeds finish, then what is said of them."""

import json
import shutil
import statistics
from pathlib import Path

from trainer.errors import FolderError
from trainer.recipe import Value
from trainer.run_log import written_whole
from trainer.submission_folder.contract import contract, requirements
from trainer.submission_folder.folder_request import (
    CONTRACT_NAME,
    FIGURE_NAME,
    METRICS_NAME,
    READABLE_NAME,
    SCRIPT_NAME,
    FolderRequest,
)
from trainer.submission_folder.metrics import StepMetrics, metrics_lines
from trainer.submission_folder.pack_script import pack_script
from trainer.submission_folder.readme import readme
from trainer.submission_folder.run_figure import draw_run
from trainer.submission_folder.seed_results import SeedResult, bits_per_decoded_byte


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
