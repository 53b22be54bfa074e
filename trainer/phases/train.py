"""Training as a phase of a run: what it is given, and what the log says of it."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from trainer.data.token_shards import shard_paths
from trainer.evaluation.scoring import training_windows
from trainer.optimizer.muon import orthogonalizer
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.phases.prepare import PreparedRun, is_compiled
from trainer.phases.score import score_model
from trainer.process_group import ProcessGroup
from trainer.run_log import Progress, RunLog
from trainer.training_loop import TrainingRun, train, warm_up


def train_model(run: PreparedRun, training: TrainingRun) -> Progress:
    """Train to the end of the recipe's schedule; returns how far that was.

    Raises:
        PausedError: this process's share of the time is over.
    """
    log_training_setup(training)
    with run.log.phase("warm_up"):
        warm_up(training)
    with run.log.phase("training"):
        return train(training, partial(log_validation, run))


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
