"""What is wrong between a recipe's options, each of which is right on its own."""

import re
from collections.abc import Iterator
from itertools import pairwise

from trainer.recipe import (
    BatchOptions,
    EvaluationOptions,
    ModelOptions,
    OptimizerOptions,
    QuantizationOptions,
    Recipe,
)


def contradictions(recipe: Recipe) -> Iterator[str]:
    """All contradictions, each a line that names the options."""
    yield from batch_contradictions(recipe.batch)
    yield from shape_contradictions(recipe.model)
    yield from kernel_contradictions(recipe.model)
    yield from block_contradictions(recipe.model)
    yield from optimizer_contradictions(recipe.optimizer)
    yield from schedule_contradictions(recipe)
    if recipe.schedule.train_seq_schedule:
        yield from length_contradictions(recipe)
    yield from quantization_contradictions(recipe.quantization)
    yield from evaluation_contradictions(recipe)


def batch_contradictions(batch: BatchOptions) -> Iterator[str]:
    """What cannot be dealt out evenly."""
    micro_batch_tokens, rest = divmod(batch.train_batch_tokens, batch.micro_batches_per_step)
    if rest > 0 or micro_batch_tokens % batch.train_seq_len > 0:
        yield (
            f"batch.train_batch_tokens {batch.train_batch_tokens} must be a multiple of "
            f"micro_batches_per_step {batch.micro_batches_per_step} x train_seq_len "
            f"{batch.train_seq_len}"
        )
    if batch.val_batch_size < batch.micro_batches_per_step * batch.train_seq_len:
        yield (
            f"batch.val_batch_size {batch.val_batch_size} must be at least micro_batches_per_step "
            f"{batch.micro_batches_per_step} x train_seq_len {batch.train_seq_len}"
        )


def shape_contradictions(model: ModelOptions) -> Iterator[str]:
    """What does not divide."""
    if model.model_dim % model.num_heads > 0:
        yield f"model.model_dim {model.model_dim} must be a multiple of num_heads {model.num_heads}"
    if model.head_dim % 2 > 0:
        yield (f"model.model_dim / num_heads = {model.head_dim} must be even for rotary positions")
    if model.num_heads % model.num_kv_heads > 0:
        yield (
            f"model.num_heads {model.num_heads} must be a multiple of num_kv_heads "
            f"{model.num_kv_heads}"
        )
    if model.rope_dims > 0 and (model.rope_dims % 2 > 0 or model.rope_dims > model.head_dim):
        yield (
            f"model.rope_dims {model.rope_dims} must be even and at most model_dim / num_heads = "
            f"{model.head_dim}"
        )
    gates = (model.attn_out_gate_enabled, model.sparse_attn_gate_enabled, model.gated_attn_enabled)
    if sum(gates) > 1:
        yield (
            "model.attn_out_gate_enabled, sparse_attn_gate_enabled, gated_attn_enabled: "
            "set one at most"
        )
    has_window = (
        model.attn_out_gate_enabled or model.sparse_attn_gate_enabled or model.smear_gate_enabled
    )
    if has_window and model.gate_window > model.model_dim:
        yield f"model.gate_window {model.gate_window} must be at most model_dim {model.model_dim}"
    if model.overtone_init and not model.tie_embeddings:
        yield "model.overtone_init shapes a tied embedding: set tie_embeddings, or leave it out"


def kernel_contradictions(model: ModelOptions) -> Iterator[str]:
    """What a kernel that is switched on cannot do."""
    if model.fused_mlp_enabled and (model.model_dim % 8 > 0 or model.hidden_dim % 8 > 0):
        yield (
            f"model.model_dim {model.model_dim} and the feed-forward's {model.hidden_dim} channels "
            "must be multiples of 8 where fused_mlp_enabled: it moves rows of whole 16 bytes"
        )
    if model.fused_ce_enabled and model.asym_logit_rescale:
        yield "model.asym_logit_rescale: the loss of fused_ce_enabled knows one softcap; set one"
    if model.fused_ce_enabled and (model.logit_softcap > 40 or model.vocab_size > 16_384):
        yield (
            f"model.logit_softcap {model.logit_softcap} must be at most 40 and vocab_size "
            f"{model.vocab_size} at most 16384 where fused_ce_enabled"
        )


def block_contradictions(model: ModelOptions) -> Iterator[str]:
    """What names blocks that the model does not have, or cannot use so."""
    last = model.num_layers - 1
    if model.num_loops > 0 and not model.loop_start <= model.loop_end <= last:
        yield (
            f"model.num_loops {model.num_loops} repeats the blocks loop_start {model.loop_start} "
            f"to loop_end {model.loop_end}: set both, from 0 to {last}"
        )
    end_of_loop = model.loop_end if model.num_loops > 0 else 0
    if model.parallel_start_layer > 0 and not end_of_loop < model.parallel_start_layer <= last:
        yield (
            f"model.parallel_start_layer {model.parallel_start_layer} must be at most {last}, and "
            f"above loop_end {end_of_loop} where blocks are looped"
        )
    if model.parallel_start_layer > 0 and model.parallel_residual_start >= 0:
        yield "model.parallel_residual_start and parallel_start_layer: set one at most"
    if model.ve_enabled and not are_numbers(model.ve_layers, last):
        yield (
            f"model.ve_layers {model.ve_layers!r} must be numbers from 0 to {last} where ve_enabled"
        )


def are_numbers(text: str, largest: int) -> bool:
    """Whether a text is whole numbers from 0, with commas between."""
    numbers = [number.strip() for number in text.split(",")]
    return all(number.isdecimal() and int(number) <= largest for number in numbers)


def optimizer_contradictions(optimizer: OptimizerOptions) -> Iterator[str]:
    """What no optimizer can do."""
    if optimizer.muon_momentum >= 1:
        yield f"optimizer.muon_momentum {optimizer.muon_momentum} must be below 1"
    if optimizer.ema_decay > 0 and (optimizer.ema_decay >= 1 or optimizer.swa_enabled):
        yield (
            f"optimizer.ema_decay {optimizer.ema_decay} must be below 1, and 0 where swa_enabled"
        )
    if optimizer.grad_clip == "local" and optimizer.gradient_reduction == "all_reduce":
        yield "optimizer.grad_clip local needs gradient_reduction reduce_scatter"
    if optimizer.newton_schulz == "polar_express" and optimizer.muon_backend_steps > 5:
        yield (
            f"optimizer.muon_backend_steps {optimizer.muon_backend_steps}: polar_express has "
            "coefficients for 5"
        )


def schedule_contradictions(recipe: Recipe) -> Iterator[str]:
    """What no clock can keep."""
    schedule = recipe.schedule
    if recipe.device.deterministic and schedule.max_wallclock_seconds > 0:
        yield "device.deterministic needs max_wallclock_seconds 0: no two runs take the same time"
    if schedule.clock == "loop" and schedule.reserve_seconds > 0:
        yield (
            f"schedule.reserve_seconds {schedule.reserve_seconds} is kept for what the clock "
            "covers after the loop; clock loop covers nothing"
        )
    if recipe.run.stop_after_seconds > 0 and schedule.checkpoint_every == 0:
        yield "run.stop_after_seconds needs checkpoints to go on from: set checkpoint_every"
    if schedule.clock == "everything" and schedule.val_loss_every > 0:
        yield f"schedule.clock {schedule.clock} does not cover validation: set val_loss_every 0"


def length_contradictions(recipe: Recipe) -> Iterator[str]:
    """What no sequences can grow by."""
    text, longest = recipe.schedule.train_seq_schedule, recipe.batch.train_seq_len
    said = f"schedule.train_seq_schedule {text!r}"
    if not all(re.fullmatch(r"[1-9]\d*@\d*\.?\d+", phase) for phase in text.split(",")):
        yield f"{said} must be lengths and ends, such as '1024@0.1,2048@0.7,3072@1'"
        return
    phases = recipe.length_phases
    ends = [0.0, *(phase.end for phase in phases)]
    if any(end <= before for before, end in pairwise(ends)) or ends[-1] > 1:
        yield f"{said}: ends must grow, from above 0 to at most 1"
    if max(phase.seq_len for phase in phases) != longest:
        yield f"{said}: the longest must be train_seq_len {longest}"
    micro_batch_tokens = recipe.batch.train_batch_tokens // recipe.batch.micro_batches_per_step
    if any(micro_batch_tokens % phase.seq_len > 0 for phase in phases):
        yield f"{said}: each length must divide a micro-batch, {micro_batch_tokens} tokens"


def quantization_contradictions(options: QuantizationOptions) -> Iterator[str]:
    """What no codes can hold."""
    if options.matrix_bits > 8:
        yield f"quantization.matrix_bits {options.matrix_bits} must be at most 8"
    if options.embed_bits not in (0, 2, 3, 4, 5, 6, 7, 8):
        yield f"quantization.embed_bits {options.embed_bits} must be 2 to 8, or 0"
    if (options.lqer_enabled or options.awq_lite_enabled) and not options.gptq_enabled:
        yield "quantization.lqer_enabled and awq_lite_enabled need gptq_enabled"
    if options.fit_total_bytes > 0 and not options.gptq_enabled:
        yield "quantization.fit_total_bytes needs gptq_enabled"


def evaluation_contradictions(recipe: Recipe) -> Iterator[str]:
    """What no window can hold."""
    options = recipe.evaluation
    if options.ttt_enabled:
        yield from test_time_contradictions(options)
    if recipe.model.asym_logit_rescale and not (
        options.ttt_enabled and options.phased_ttt_num_phases > 0
    ):
        yield "model.asym_logit_rescale is learnt in phases alone: set phased_ttt_num_phases"
    eval_seq_len = options.eval_seq_len or recipe.batch.train_seq_len
    if options.eval_stride > eval_seq_len:
        yield (
            f"evaluation.eval_stride {options.eval_stride} must be at most the length of "
            f"the windows, {eval_seq_len}"
        )


def test_time_contradictions(options: EvaluationOptions) -> Iterator[str]:
    """What nothing can learn from."""
    seq_len, first_sizes = options.ttt_eval_seq_len, options.ttt_first_chunk_sizes
    if options.ttt_chunk_size > seq_len:
        yield (
            f"evaluation.ttt_chunk_size {options.ttt_chunk_size} must be at most "
            f"ttt_eval_seq_len {seq_len}"
        )
    if options.ttt_warm_start_limit > 0 and not options.ttt_warm_start_a:
        yield "evaluation.ttt_warm_start_limit holds what is warm: set ttt_warm_start_a"
    if first_sizes and not are_places_and_sizes(first_sizes, seq_len):
        yield (
            f"evaluation.ttt_first_chunk_sizes {first_sizes!r} must be pairs of a place and a "
            f"size from 1 to ttt_eval_seq_len {seq_len}, such as '256:8,2000:24'"
        )
    if options.phased_ttt_num_phases > 0 and options.global_ttt_chunk_tokens % seq_len > 0:
        yield (
            f"evaluation.global_ttt_chunk_tokens {options.global_ttt_chunk_tokens} must be a "
            f"multiple of ttt_eval_seq_len {seq_len}"
        )


def are_places_and_sizes(text: str, largest: int) -> bool:
    """Whether a text is pairs "place:size", with commas between and sizes from 1."""
    pairs = [re.fullmatch(r"(\d+):(\d+)", pair) for pair in text.split(",")]
    return all(pair and 0 < int(pair[2]) <= largest for pair in pairs)
