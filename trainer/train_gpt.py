"""The training script: what ships is what ran.

`pgolf-train` flattens this module and all that it needs into the submission's `train_gpt.py`,
with the recipe as literals at its top. Settings come from these, overridden by public names in the
environment.

    python train_gpt.py            train, write the artifact, evaluate it
    python train_gpt.py train      stop when the artifact is written
    python train_gpt.py evaluate   start from the artifact alone
    python train_gpt.py stream     likewise, and predict tokens that a harness shows one by one
"""

import hashlib
import math
import os
import platform
import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer.artifact import PackedArtifact, fit_artifact, pack_artifact, unpack_artifact
from trainer.data.batches import ReadyBatch
from trainer.data.byte_lengths import count_bytes, load_byte_table
from trainer.data.token_shards import read_token_bytes, shard_paths
from trainer.errors import DataError, PausedError, RecipeError, TrainerError
from trainer.evaluation.bits_per_byte import (
    Score,
    load_validation_tokens,
    score_over,
    write_token_losses,
)
from trainer.evaluation.order_check import check_order
from trainer.evaluation.order_ledger import ledger_path
from trainer.evaluation.scoring import (
    Windows,
    check_token_ids,
    evaluation_windows,
    score_tokens,
    training_windows,
)
from trainer.evaluation.stream import answer_stream, unstreamed
from trainer.evaluation.test_time_training import Conduct, score_with_training
from trainer.model.linear import CastedLinear
from trainer.model.transformer import GPT
from trainer.optimizer.muon import orthogonalizer
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.optimizer.stages import stages
from trainer.process_group import ProcessGroup, join_process_group, leave_process_group
from trainer.public_names import environment_settings, refuse_what_is_built_in
from trainer.quantization.calibrated_rounding import (
    Hessians,
    quantize_calibrated,
    restore_calibrated,
)
from trainer.quantization.calibration import collect_hessians
from trainer.quantization.codecs import check_codec
from trainer.quantization.fake_quantization import fake_quantize_rows
from trainer.quantization.rounding import (
    code_bits,
    dequantize_state,
    is_rounded,
    quantize_state,
)
from trainer.recipe import DeviceOptions, QuantizationOptions, Recipe, Value
from trainer.recipe_checks import build_recipe
from trainer.run_log import ARTIFACT_NAME, Progress, RunLog, open_run_log, written_whole
from trainer.training_loop import TrainingRun, train, warm_up

VERBS = ("train", "evaluate")
STREAM_VERB = "stream"
EVALUATION_GRAPHS = 8  # of the forward pass at most, beside those of training's stages


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """What training and evaluation both start from."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: GPT
    forward: nn.Module  # the model, compiled where the recipe says so


def main(settings: Mapping[str, Value], script: Path, built_in: Mapping[str, Value]) -> int:
    """Run the verbs of the command line; returns the exit code.

    Args:
        settings: the recipe, option path → value.
        script: the source that is running, for the log and for the count of code bytes.
        built_in: likewise the options that the script was written for, which cannot be changed.
    """
    try:
        verbs = sys.argv[1:] or VERBS
        if unknown := set(verbs) - {*VERBS, STREAM_VERB}:
            raise RecipeError(f"no verb {min(unknown)!r}; expected train, evaluate or stream")
        refuse_what_is_built_in(os.environ, built_in)
        recipe = build_recipe({**settings, **environment_settings(os.environ)})
        run = prepare_run(recipe, script)
        if "train" in verbs:
            train_and_pack(run, script)
        run.group.barrier()
        if "evaluate" in verbs:
            evaluate_artifact(run)
        if STREAM_VERB in verbs:
            stream_artifact(run)
    except PausedError:
        return 0  # the log says so; torchrun would report a failure at length
    except (TrainerError, OSError) as error:  # the latter is mostly a full disk
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return getattr(error, "exit_code", TrainerError.exit_code)
    finally:
        leave_process_group()
    return 0


def prepare_run(recipe: Recipe, script: Path) -> PreparedRun:
    """Join the other processes, begin the log, build the model from the seed.

    Raises:
        RecipeError: the micro-batches of a step cannot be dealt out to the processes.
        LaunchError: there are more processes than GPUs.
    """
    group = join_process_group()
    if recipe.batch.micro_batches_per_step % group.world_size:
        raise RecipeError(
            f"micro_batches_per_step {recipe.batch.micro_batches_per_step} must be a multiple of "
            f"the number of processes, {group.world_size}"
        )
    log = open_run_log(recipe.run.run_id, is_master=group.is_master)
    set_up_device(recipe.device)
    log_environment(log, group, script)
    model = build_model(recipe, group)
    forward: nn.Module = model
    if is_compiled(recipe, group):
        torch._dynamo.config.recompile_limit = len(stages(recipe)) + EVALUATION_GRAPHS
        forward = torch.compile(model, dynamic=False, fullgraph=True)  # type: ignore[assignment]
    return PreparedRun(recipe=recipe, group=group, log=log, model=model, forward=forward)


def is_compiled(recipe: Recipe, group: ProcessGroup) -> bool:
    """Whether the recipe wants compiled code on this device."""
    wanted = recipe.device.torch_compile
    return wanted == "always" or (wanted == "gpu" and group.device.type == "cuda")


def set_up_device(options: DeviceOptions) -> None:
    """On GPUs: TF32 for what is left in fp32, and flash attention or none."""
    if options.cpu_threads:
        torch.set_num_threads(options.cpu_threads)
    if options.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read at the first matrix product
        torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if torch.cuda.is_available():
        torch.backends.cuda.enable_math_sdp(False)


def build_model(recipe: Recipe, group: ProcessGroup) -> GPT:
    """The model that the seed gives, on this process's device.

    On GPUs embedding tables are bf16, with bf16 optimizer state, as in the public baseline.
    """
    random.seed(recipe.run.seed)
    np.random.seed(recipe.run.seed)
    torch.manual_seed(recipe.run.seed)
    model = GPT(recipe.model, num_positions=recipe.batch.train_seq_len).to(group.device)
    model.use_positions(recipe.batch.row_tokens, recipe.batch.train_seq_len)
    if group.device.type == "cuda":
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.to(torch.bfloat16)
    if recipe.quantization.qat_enabled:
        train_as_rounded(model, recipe.quantization)
    return model


def train_as_rounded(model: GPT, options: QuantizationOptions) -> None:
    """Let each weight that will be stored in codes be trained as if it were stored so already."""
    for path, module in model.named_modules():
        name = f"{path}.weight"
        if isinstance(module, CastedLinear) and is_rounded(name, module.weight, options):
            bits = code_bits(name, options)
            module.fake_quantize = partial(fake_quantize_rows, bits=bits)


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
    log_training_setup(training)
    with log.phase("warm_up"):
        warm_up(training)
    with log.phase("training"):
        progress = train(training, partial(log_validation, run))
    hessians: Hessians = {}
    if recipe.quantization.gptq_enabled:
        with log.phase("calibration"):
            hessians = calibrate(run, training.batches(progress.step))
    log_peak_memory(log, run.group)
    with log.phase("serialise"):
        write_artifact(run, script, hessians)


def begin_training(run: PreparedRun) -> TrainingRun:
    """All that training touches, with fresh optimizers.

    Raises:
        DataError: there are no training shards.
    """
    recipe, group = run.recipe, run.group
    orthogonalize = orthogonalizer(recipe.optimizer)
    if is_compiled(recipe, group):
        orthogonalize = torch.compile(orthogonalize, dynamic=False, fullgraph=True)
    return TrainingRun(
        recipe=recipe,
        group=group,
        log=run.log,
        model=run.model,
        forward=gradients_averaged(run),
        optimizers=build_optimizers(run.model, recipe.optimizer, group, orthogonalize),
        train_paths=shard_paths(recipe.run.data_path, "train"),
    )


def gradients_averaged(run: PreparedRun) -> nn.Module:
    """The model, its gradients averaged while they arise, unless optimizers do that."""
    if run.recipe.optimizer.gradient_reduction == "reduce_scatter":
        return run.forward
    return run.group.replicate(run.forward)


def log_validation(run: PreparedRun, progress: Progress) -> None:
    """Score the model as it is, in the middle of training."""
    score, _ = score_model(run, training_windows(run.recipe))
    run.log.write(progress.validation_line(score.loss_nats, score.bits_per_byte))


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


def score_model(
    run: PreparedRun, windows: Windows, *, learns: bool = False
) -> tuple[Score, torch.Tensor]:  # …, (N,) fp32 nats
    """Score the model as it is, or as it learns on the way: figures, and the loss of every token.

    Test-time training scores to the last token, as its public form does.
    """
    recipe = run.recipe
    tokens = load_validation_tokens(
        recipe.run.data_path,
        1 if learns else windows.seq_len,
        keep_tail=recipe.evaluation.score_tail or learns,
    )
    check_token_ids(tokens, recipe.model.vocab_size)
    pattern = Path(recipe.run.data_path) / "fineweb_val_*.bin"
    run.log.write(f"val_loader:shards pattern={pattern} tokens:{tokens.size - 1}")
    run.model.use_positions(windows.seq_len)
    run.model.eval()
    if learns:
        losses = learnt_losses(run, tokens)
    else:
        losses = score_tokens(run.forward, tokens, windows, run.group)
    run.model.use_positions(recipe.batch.row_tokens, recipe.batch.train_seq_len)
    run.model.train()
    return score_over(losses, scored_bytes(recipe, tokens)), losses


def learnt_losses(run: PreparedRun, tokens: np.ndarray) -> torch.Tensor:  # (N,) fp32 nats
    """The loss of every token but the first, from a model that learns from what was scored.

    Where losses are asked for, what was scored and learnt when is written beside them.
    """
    recipe, group, say = run.recipe, run.group, run.log.write
    how = Conduct(backend="inductor" if is_compiled(recipe, group) else None, say=say)
    scores = score_with_training(run.model, tokens, recipe, group, conduct=how)
    say(f"ttt:compiled seconds:{scores.compile_seconds:.1f}")
    if path := os.environ.get("PGOLF_TOKEN_LOSSES"):
        scores.ledger.write(ledger_path(Path(path), group.rank))
        group.barrier()
    return scores.losses


def scored_bytes(recipe: Recipe, tokens: np.ndarray) -> int:
    """How many bytes all tokens but the first stand for.

    Raises:
        DataError: tokenizer or sidecar are missing or do not fit.
    """
    if recipe.evaluation.caseops_enabled:
        return int(read_token_bytes(recipe.run.data_path)[1 : tokens.size].sum(dtype=np.int64))
    table = load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    return count_bytes(table, tokens[:-1], tokens[1:])


def log_environment(log: RunLog, group: ProcessGroup, script: Path) -> None:
    """Begin the log with the source, the versions and the hardware."""
    source = script.read_text(encoding="utf-8")
    log.write(source, console=False)
    log.write("=" * 100, console=False)
    log.write(f"script_sha256:{hashlib.sha256(source.encode()).hexdigest()}")
    log.write(f"Running Python {sys.version}")
    log.write(f"Running PyTorch {torch.__version__}")
    is_cuda = group.device.type == "cuda"
    name = torch.cuda.get_device_name(group.device) if is_cuda else platform.machine()
    log.write(f"device:{group.device.type} {name} threads:{torch.get_num_threads()}")


def log_training_setup(training: TrainingRun) -> None:
    """Say what is about to be trained, on what, and how."""
    recipe, log, world_size = training.recipe, training.log, training.group.world_size
    model, optimizer = recipe.model, recipe.optimizer
    batch, schedule = recipe.batch, recipe.schedule
    token_lr = optimizer.tied_embed_lr if model.tie_embeddings else optimizer.embed_lr
    head_lr = 0.0 if model.tie_embeddings else optimizer.head_lr
    num_parameters = sum(parameter.numel() for parameter in training.model.parameters())
    for line in (
        "val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=" + recipe.run.tokenizer_path,
        f"train_loader:dataset:{Path(recipe.run.data_path).resolve().name} "
        f"train_shards:{len(training.train_paths)}",
        f"model_params:{num_parameters}",
        f"world_size:{world_size} grad_accum_steps:{batch.micro_batches_per_step // world_size}",
        f"attention_mode:gqa num_heads:{model.num_heads} num_kv_heads:{model.num_kv_heads}",
        f"tie_embeddings:{model.tie_embeddings} embed_lr:{token_lr} head_lr:{head_lr} "
        f"matrix_lr:{optimizer.matrix_lr} scalar_lr:{optimizer.scalar_lr}",
        f"train_batch_tokens:{batch.train_batch_tokens} train_seq_len:{batch.train_seq_len} "
        f"iterations:{schedule.iterations} warmup_steps:{schedule.warmup_steps} "
        f"max_wallclock_seconds:{schedule.max_wallclock_seconds:.3f}",
        f"seed:{recipe.run.seed}",
    ):
        log.write(line)
    if schedule.train_seq_schedule:
        how = f"{schedule.train_seq_schedule} of:{schedule.train_seq_schedule_mode}"
        log.write(f"train_seq_schedule:{how} rewarmup:{schedule.seq_change_warmup_steps}")


def log_peak_memory(log: RunLog, group: ProcessGroup) -> None:
    """Say how much GPU memory training took; CPUs keep no such count."""
    if group.device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated() // 1024**2
        reserved = torch.cuda.max_memory_reserved() // 1024**2
        log.write(f"peak memory allocated: {allocated} MiB reserved: {reserved} MiB")
