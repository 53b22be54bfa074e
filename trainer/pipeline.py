"""The main path: recipe → script → folder → one run a seed → the folder's figures."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from trainer.data.run_data import DataLocation, check_data
from trainer.errors import LaunchError, RecipeError
from trainer.evaluation.decoded_text import decoded_bytes
from trainer.launcher import Launch, run_seed, seed_log
from trainer.planning.on_cpu import cpu_warnings
from trainer.planning.total_size import cap_warning, describe_total, track_cap_bytes
from trainer.recipe import Recipe, RunOptions, Value, recipe_settings
from trainer.recipe_file import ResolvedRecipe
from trainer.submission_folder.bundle_script import bundle_script
from trainer.submission_folder.folder_request import READABLE_NAME, SCRIPT_NAME, FolderRequest
from trainer.submission_folder.hold_folder import held
from trainer.submission_folder.metrics import read_metrics
from trainer.submission_folder.pack_script import pack_script
from trainer.submission_folder.seed_results import SeedResult, read_seed_result
from trainer.submission_folder.untrained_folder import describe_untrained
from trainer.submission_folder.write_folder import begin_folder, finish_folder, script_of

Watch = Callable[[int, str], None]  # seed, a line that its run printed


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmissionRequest:
    """What `pgolf-train RECIPE` was asked to do."""

    folder: FolderRequest
    data: DataLocation
    seeds: list[int]
    overwrite: bool
    resume: bool
    stop_after_seconds: float | None  # of this command; None: it may take as long as it takes


def make_submission(
    request: SubmissionRequest, watch: Watch, warn: Callable[[str], None]
) -> list[SeedResult]:
    """Train every seed with the script that is handed in, and write the folder.

    Args:
        request: what to do.
        watch: is given every line that a run prints.
        warn: is told what will most likely go wrong: the track's cap broken, a CPU for GPUs' work.

    Raises:
        RecipeError: the recipe does not fit the number of processes.
        DataError: the data are missing, damaged, or do not fit the recipe.
        FolderError: the folder exists, cannot be written, or another command is at work there.
        LaunchError: there are too few GPUs, or a seed's run failed; finished seeds are kept for
            --resume.
        PausedError: the command's time is over; all that it did is kept for --resume.
    """
    started, folder = time.monotonic(), request.folder
    resolved = folder.resolved
    check_processes(resolved.recipe, folder.num_gpus)
    num_gpus = torch.cuda.device_count()
    if warning := missing_gpus(folder.num_gpus or 0, num_gpus):
        warn(warning)
    check_data(request.data, resolved.recipe)
    for warning in cpu_warnings(resolved.recipe) if num_gpus == 0 else ():
        warn(warning)
    with held(folder.folder):
        return train_seeds(request, started, watch, warn)


def train_seeds(
    request: SubmissionRequest, started: float, watch: Watch, warn: Callable[[str], None]
) -> list[SeedResult]:
    """The part of `make_submission` that writes; started is a reading of the monotonic clock."""
    folder, resolved = request.folder, request.folder.resolved
    cap_bytes = begin_submission(request, warn)
    launch = Launch(
        script=folder.folder / SCRIPT_NAME,
        log_folder=folder.folder,
        data_path=request.data.dataset,
        tokenizer_path=request.data.tokenizer,
        num_gpus=folder.num_gpus,
        stop_at=started + request.stop_after_seconds if request.stop_after_seconds else None,
    )
    results = []
    for seed in request.seeds:
        if read_seed_result(seed_log(folder.folder, seed), seed) is None:
            run_seed(launch, seed, partial(watch, seed))
        results.append(checked_result(launch, seed))
    metrics = [
        step
        for seed in request.seeds
        for step in read_metrics(seed_log(folder.folder, seed), seed, resolved.recipe)
    ]
    num_tokens = results[0].num_tokens
    text_bytes = decoded_bytes(request.data.dataset, request.data.tokenizer, num_tokens)
    finish_folder(folder, results, metrics, text_bytes)
    if (largest := max(result.total_bytes for result in results)) > cap_bytes:
        warn(f"artifact and script take {largest:,} bytes, over the track's cap of {cap_bytes:,}")
    return results


def make_untrained(request: SubmissionRequest, warn: Callable[[str], None]) -> None:
    """Write a submission's folder without running anything; it says that nothing was run.

    Args:
        request: what to do; data and seeds do not matter.
        warn: as for `make_submission`.

    Raises:
        RecipeError: the recipe does not fit the number of processes.
        FolderError: the folder exists, cannot be written, or another command is at work there.
    """
    check_processes(request.folder.resolved.recipe, request.folder.num_gpus)
    with held(request.folder.folder):
        begin_submission(request, warn)
        describe_untrained(request.folder)


def begin_submission(request: SubmissionRequest, warn: Callable[[str], None]) -> int:
    """Write the script and what goes with it; returns the track's cap in bytes.

    Raises:
        RecipeError: the script alone takes all that the recipe gives artifact and script.
        FolderError: the folder exists, or cannot be written.
    """
    folder, resolved = request.folder, request.folder.resolved
    readable = bundle_script(shipped_settings(resolved.recipe), script_title(resolved))
    cap_bytes = track_cap_bytes(resolved.track)
    code_bytes = len(script_of(folder, readable).encode())
    if 0 < resolved.recipe.quantization.fit_total_bytes <= code_bytes:
        raise RecipeError(
            f"quantization.fit_total_bytes {resolved.recipe.quantization.fit_total_bytes} leaves "
            f"nothing for the artifact beside {code_bytes:,} bytes of script: raise it"
            + ("" if folder.is_packed else ", or add --packed")
        )
    if warning := cap_warning(resolved.recipe, code_bytes, cap_bytes):
        warn(warning)
    begin_folder(folder, readable, overwrite=request.overwrite, resume=request.resume)
    return cap_bytes


def shipped_settings(recipe: Recipe) -> dict[str, Value]:
    """The recipe as the script holds it: seed and paths come from the environment of each run."""
    return recipe_settings(replace(recipe, run=RunOptions()))


def describe_script(resolved: ResolvedRecipe, artifact_bytes: int, cap_bytes: int) -> str:
    """What the script comes to with an artifact, readable and packed, as lines of text."""
    readable = bundle_script(shipped_settings(resolved.recipe), script_title(resolved))
    forms = {
        "readable script": readable,
        "script with --packed": pack_script(readable, script_title(resolved), READABLE_NAME),
    }
    totals = {form: len(script.encode()) for form, script in forms.items()}
    lines = [
        f"{num_bytes:>14,}  bytes of {form}: "
        + describe_total(resolved.recipe, artifact_bytes, num_bytes, cap_bytes)
        for form, num_bytes in totals.items()
    ]
    warning = cap_warning(resolved.recipe, totals["readable script"], cap_bytes)
    return "\n".join([*lines, warning] if warning else lines)


def script_title(resolved: ResolvedRecipe) -> str:
    """The first line of the script."""
    return f"{resolved.name}: {resolved.what}"


def checked_result(launch: Launch, seed: int) -> SeedResult:
    """The result of a finished seed.

    Raises:
        LaunchError: its log lacks a figure, or is of another script.
    """
    log = seed_log(launch.log_folder, seed)
    result = read_seed_result(log, seed)
    if result is None:
        raise LaunchError(f"{log}: the run ended without a result; read the log, then --overwrite")
    if result.script_sha256 != hashlib.sha256(launch.script.read_bytes()).hexdigest():
        raise LaunchError(f"{log}: is the log of another script; start again with --overwrite")
    return result


def check_processes(recipe: Recipe, num_gpus: int | None) -> None:
    """See to it that a step can be dealt out to the processes.

    Raises:
        RecipeError: it cannot.
    """
    num_micro_batches = recipe.batch.micro_batches_per_step
    if num_micro_batches % (num_gpus or 1):
        raise RecipeError(
            f"--gpus {num_gpus}: batch.micro_batches_per_step {num_micro_batches} must be a "
            "multiple of the number of GPUs"
        )


def missing_gpus(wanted: int, found: int) -> str | None:
    """What to say where a machine has no GPU for the processes that were asked for.

    Raises:
        LaunchError: it has some, but too few.
    """
    if 0 < found < wanted:
        raise LaunchError(f"--gpus {wanted}: this machine has {found}; lower it, or leave it out")
    if wanted > 0 and found == 0:
        return f"--gpus {wanted}: this machine has no GPU, so that its CPU does the work of all"
    return None
