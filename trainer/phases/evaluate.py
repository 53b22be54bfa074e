"""From the artifact's file to its score, or to its predictions for a harness that asks."""

import os
import time
from pathlib import Path

from trainer.artifact import unpack_artifact
from trainer.errors import DataError, RecipeError
from trainer.evaluation.bits_per_byte import write_token_losses
from trainer.evaluation.order_check import check_order
from trainer.evaluation.scoring import evaluation_windows
from trainer.evaluation.stream import answer_stream, unstreamed
from trainer.model.transformer import GPT
from trainer.phases.prepare import PreparedRun
from trainer.phases.score import score_model
from trainer.quantization.calibrated_rounding import restore_calibrated
from trainer.quantization.rounding import dequantize_state
from trainer.recipe import QuantizationOptions
from trainer.run_log import ARTIFACT_NAME


def evaluate_artifact(run: PreparedRun) -> None:
    """Load the artifact from its file and score it on the whole validation set.

    Raises:
        DataError: artifact, tokenizer or validation data are missing, damaged or do not fit.
    """
    with run.log.phase("load"):
        load_artifact(run.model, run.recipe.quantization)
    windows, learns = evaluation_windows(run.recipe), run.recipe.evaluation.ttt_enabled
    run.log.write(
        f"eval_mode:{'test_time_training' if learns else 'windows'} "
        f"seq_len:{windows.seq_len} stride:{windows.stride}"
    )
    started = time.perf_counter()
    with run.log.phase("evaluate"):
        score, losses = score_model(run, windows, learns=learns)
    eval_ms = 1000.0 * (time.perf_counter() - started)
    if (path := os.environ.get("PGOLF_TOKEN_LOSSES")) and run.group.is_master:
        write_token_losses(losses, Path(path))
        if learns:
            log_order(run, Path(path))
    options = run.recipe.quantization
    label = f"final_int{options.matrix_bits}_{options.compressor}_roundtrip"
    nats, bpb = score.loss_nats, score.bits_per_byte
    run.log.write(f"{label} val_loss:{nats:.4f} val_bpb:{bpb:.4f} eval_time:{eval_ms:.0f}ms")
    run.log.write(f"{label}_exact val_loss:{nats:.8f} val_bpb:{bpb:.8f}")


def log_order(run: PreparedRun, losses: Path) -> None:
    """Check what all processes noted beside the losses, and say what it was.

    Raises:
        DataError: something was learnt from before it was scored, or scored twice or never.
    """
    order = check_order(losses)
    run.log.write(
        f"order_ledger:scored_once:{order.num_targets} then_learnt:{order.num_learnt} "
        f"phases:{order.num_phases} all_weights_steps:{order.num_all_weights_steps}"
    )


def stream_artifact(run: PreparedRun) -> None:
    """Load the artifact from its file and predict what the harness asks for.

    Raises:
        DataError: the artifact is missing, damaged or does not fit, or there is no harness.
        RecipeError: the recipe cannot be streamed.
    """
    if setting := unstreamed(run.recipe):
        raise RecipeError(f"what documents share is not streamed; set {setting}")
    load_artifact(run.model, run.recipe.quantization)
    run.model.use_positions(evaluation_windows(run.recipe).seq_len)
    run.model.eval()
    answer_stream(run.model, run.recipe)


def load_artifact(model: GPT, options: QuantizationOptions) -> None:
    """Put the artifact's weights into the model.

    Raises:
        DataError: there is no artifact, or it belongs to another model.
    """
    try:
        stored = unpack_artifact(Path(ARTIFACT_NAME).read_bytes(), options)
        if options.gptq_enabled:
            state = restore_calibrated(stored, options)
        else:
            state = dequantize_state(stored)
        model.load_state_dict(state)
    except OSError:
        raise DataError(f"{ARTIFACT_NAME}: no such file here; run the verb train first") from None
    except RuntimeError:
        raise DataError(f"{ARTIFACT_NAME}: belongs to a model of another shape") from None
