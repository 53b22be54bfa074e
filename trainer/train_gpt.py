"""The training script: what ships is what ran.

`pgolf-train` flattens this module and all that it needs into the submission's `train_gpt.py`,
with the recipe as literals at its top. Settings come from these, overridden by public names in the
environment.

    python train_gpt.py            train, write the artifact, evaluate it
    python train_gpt.py train      stop when the artifact is written
    python train_gpt.py evaluate   start from the artifact alone
    python train_gpt.py stream     likewise, and predict tokens that a harness shows one by one
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from trainer.data.byte_lengths import load_byte_table
from trainer.errors import PausedError, RecipeError, TrainerError
from trainer.phases.evaluate import evaluate_artifact, stream_artifact
from trainer.phases.pack import calibrate, write_artifact
from trainer.phases.prepare import PreparedRun, prepare_run
from trainer.phases.train import begin_training, log_peak_memory, train_model
from trainer.process_group import end_process, leave_process_group
from trainer.public_names import environment_settings, refuse_what_is_built_in
from trainer.quantization.calibrated_rounding import Hessians
from trainer.quantization.codecs import check_codec
from trainer.recipe import Recipe, Value
from trainer.recipe_checks import build_recipe

VERBS = ("train", "evaluate")
STREAM_VERB = "stream"


def main(settings: Mapping[str, Value], script: Path, built_in: Mapping[str, Value]) -> int:
    """Run the verbs of the command line; returns the exit code.

    Args:
        settings: the recipe, option path → value.
        script: the source that is running, for the log and for the count of code bytes.
        built_in: likewise the options that the script was written for, which cannot be changed.
    """
    exit_code = 0
    try:
        refuse_what_is_built_in(os.environ, built_in)
        run_verbs(build_recipe({**settings, **environment_settings(os.environ)}), script)
    except PausedError:
        pass  # the log says so; torchrun would report a failure at length
    except (TrainerError, OSError) as error:  # the latter is mostly a full disk
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        exit_code = getattr(error, "exit_code", TrainerError.exit_code)
    finally:
        leave_process_group()
    return end_process(exit_code)


def run_verbs(recipe: Recipe, script: Path) -> None:
    """Train, evaluate or stream, as the command line says; without a word the first two."""
    verbs = sys.argv[1:] or VERBS
    if unknown := set(verbs) - {*VERBS, STREAM_VERB}:
        raise RecipeError(f"no verb {min(unknown)!r}; expected train, evaluate or stream")
    run = prepare_run(recipe, script)
    if "train" in verbs:
        train_and_pack(run, script)
    run.group.barrier()
    if "evaluate" in verbs:
        evaluate_artifact(run)
    if STREAM_VERB in verbs:
        stream_artifact(run)


def train_and_pack(run: PreparedRun, script: Path) -> None:
    """Train, then write the artifact. Validation data stay closed unless the recipe asks.

    Raises:
        DataError: training data or tokenizer are missing, damaged or do not fit the recipe.
        RecipeError: the artifact cannot be compressed as the recipe says.
    """
    recipe, log = run.recipe, run.log
    check_codec(recipe.quantization.compressor)
    load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    training = begin_training(run)
    progress = train_model(run, training)
    hessians: Hessians = {}
    if recipe.quantization.gptq_enabled:
        with log.phase("calibration"):
            hessians = calibrate(run, training.batches(progress.step))
    log_peak_memory(log, run.group)
    with log.phase("serialise"):
        write_artifact(run, script, hessians)
