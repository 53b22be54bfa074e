"""From the trained model to the artifact's file; the only phase that writes one."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from trainer.artifact import PackedArtifact, pack_artifact
from trainer.data.batches import ReadyBatch
from trainer.fitted_artifact import fit_artifact
from trainer.phases.prepare import PreparedRun
from trainer.quantization.calibrated_rounding import Hessians, quantize_calibrated
from trainer.quantization.calibration import collect_hessians
from trainer.quantization.rounding import quantize_state
from trainer.run_log import ARTIFACT_NAME, written_whole


def calibrate(run: PreparedRun, batches: Iterator[ReadyBatch]) -> Hessians:
    """What each matrix is multiplied with, on the training tokens that come next.

    Every sequence stands by itself, packed documents or not, as in the public scripts.
    """
    recipe, model, group = run.recipe, run.model, run.group
    num_batches = math.ceil(recipe.quantization.gptq_calibration_batches / group.world_size)
    seq_len = recipe.batch.train_seq_len

    def head_inputs() -> Iterator[torch.Tensor]:
        is_cuda = group.device.type == "cuda"
        for batch in islice(batches, num_batches):
            rows = batch.on(group.device, seq_len).input_ids.view(-1, seq_len)
            with torch.no_grad(), torch.autocast(group.device.type, torch.bfloat16, is_cuda):
                yield model.final_stream(rows)

    model.use_positions(seq_len)
    head = "lm_head.weight" if model.lm_head else "tok_emb.weight"
    hessians = collect_hessians(model, head_inputs(), head=head, group=group)
    model.use_positions(recipe.batch.row_tokens, seq_len)
    run.log.write(f"gptq:collected {len(hessians)} hessians micro_batches:{num_batches}")
    return hessians


def write_artifact(run: PreparedRun, script: Path, hessians: Hessians) -> None:
    """Quantise, compress, write, and say how many bytes that makes."""
    if not run.group.is_master:
        return
    state, options = run.model.state_dict(), run.recipe.quantization
    code_bytes = script.stat().st_size
    artifact = packed_state(run, hessians, code_bytes)
    with written_whole(Path(ARTIFACT_NAME)) as part:
        part.write_bytes(artifact.compressed)
    model_bytes, payload = sum(one.nbytes for one in state.values()), artifact.payload_bytes
    form = f"int{options.matrix_bits}+{options.compressor}"
    for line in (
        f"Serialized model: {model_bytes} bytes",
        f"Code size: {code_bytes} bytes",
        f"Total submission size: {model_bytes + code_bytes} bytes",
        f"Serialized model {form}: {artifact.num_bytes} bytes (payload:{payload} "
        f"raw_torch:{artifact.raw_bytes} payload_ratio:{model_bytes / payload:.2f}x)",
        f"Total submission size {form}: {artifact.num_bytes + code_bytes} bytes",
    ):
        run.log.write(line)


def packed_state(run: PreparedRun, hessians: Hessians, code_bytes: int) -> PackedArtifact:
    """The model as an artifact; where the recipe gives a total, as fine as that allows.

    Raises:
        RecipeError: the total cannot be kept to.
    """
    state, options = run.model.state_dict(), run.recipe.quantization
    if options.fit_total_bytes > 0:
        store = partial(quantize_calibrated, state, hessians)
        fitted = fit_artifact(store, options, options.fit_total_bytes - code_bytes)
        run.log.write(
            f"size_law:clips_times:{fitted.clip_factor:.5f} predicted:{fitted.predicted_bytes} "
            f"packed:{len(fitted.artifact.compressed)}"
        )
        return fitted.artifact
    if options.gptq_enabled:
        return pack_artifact(quantize_calibrated(state, hessians, options), options)
    return pack_artifact(quantize_state(state, options), options)
