"""From settings to a recipe: each value parsed and held to its bounds, then against the others."""

import math
from collections.abc import Mapping
from dataclasses import Field
from typing import Any, get_args

from trainer.errors import RecipeError
from trainer.recipe import ModelOptions, Recipe, Value, options_by_path, section_types


def build_recipe(
    settings: Mapping[str, object], origins: Mapping[str, str] | None = None
) -> Recipe:
    """A recipe from settings; an option that is left out keeps its default.

    Args:
        settings: known path → value; a number may be a string, as the environment gives it.
        origins: path → where that setting was made, for messages.

    Raises:
        RecipeError: with all mistakes, one a line, each naming its origin and its path.
    """
    values: dict[str, dict[str, Any]] = {section: {} for section in section_types()}
    mistakes: list[str] = []
    known = options_by_path()
    places = origins or {}
    for path, raw in settings.items():
        section, _, name = path.partition(".")
        try:
            values[section][name] = parse_value(known[path], raw)
        except RecipeError as mistake:
            mistakes.append(f"{places.get(path, 'recipe')}: {path}: {mistake}")
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    parts = section_types()
    recipe = Recipe(**{section: parts[section](**options) for section, options in values.items()})
    if found := contradictions(recipe):
        raise RecipeError("\n".join(f"{place_of(what, places)}: {what}" for what in found))
    return recipe


def place_of(contradiction: str, origins: Mapping[str, str]) -> str:
    """Where the options were set that a contradiction names, if anywhere."""
    words = set(contradiction.replace(".", " ").replace(",", " ").split())
    places = [place for path, place in origins.items() if path.split(".")[1] in words]
    return ", ".join(dict.fromkeys(places)) or "recipe"


def parse_value(option: Field[Any], raw: object) -> Value:
    """One option's value, converted to its type and held to its bounds.

    Raises:
        RecipeError: the value is of another type or out of bounds.
    """
    if words := get_args(option.type):
        if raw not in words:
            raise RecipeError(f"expected one of {', '.join(words)}, not {raw!r}")
        return str(raw)
    value = _convert(option.type, raw)
    if isinstance(value, str):
        return value
    at_least, above = option.metadata["at_least"], option.metadata["above"]
    if at_least is not None and value < at_least:
        raise RecipeError(f"must be at least {at_least}, not {value}")
    if above is not None and value <= above:
        raise RecipeError(f"must be above {above}, not {value}")
    return value


def _convert(kind: object, raw: object) -> Value:
    text = str(raw).strip().lower()
    try:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text]
        if kind is str and isinstance(raw, str):
            return raw
        if kind is int and not isinstance(raw, bool | float):
            return int(text)
        if kind is float and math.isfinite(float(text)):
            return float(text)
    except (KeyError, ValueError):
        pass
    wanted: dict[object, str] = {
        bool: "0 or 1",
        str: "text",
        int: "a whole number",
        float: "a number",
    }
    raise RecipeError(f"expected {wanted[kind]}, not {raw!r}")


def contradictions(recipe: Recipe) -> list[str]:
    """What is wrong between options that are each right on their own."""
    model, batch, schedule = recipe.model, recipe.batch, recipe.schedule
    micro_batch_tokens, rest = divmod(batch.train_batch_tokens, batch.micro_batches_per_step)
    head_dim = model.model_dim // model.num_heads
    eval_seq_len = recipe.evaluation.eval_seq_len or batch.train_seq_len
    checks = {
        "model.overtone_init shapes a tied embedding: set tie_embeddings, or leave it out": (
            model.tie_embeddings or not model.overtone_init
        ),
        "device.deterministic needs max_wallclock_seconds 0: no two runs take the same time": (
            not recipe.device.deterministic or schedule.max_wallclock_seconds == 0
        ),
        f"schedule.reserve_seconds {schedule.reserve_seconds} is kept for what the clock covers "
        "after the loop; clock loop covers nothing": (
            schedule.clock != "loop" or schedule.reserve_seconds == 0
        ),
        f"schedule.clock {schedule.clock} does not cover validation: set val_loss_every 0": (
            schedule.clock != "everything" or schedule.val_loss_every == 0
        ),
        f"optimizer.muon_momentum {recipe.optimizer.muon_momentum} must be below 1": (
            recipe.optimizer.muon_momentum < 1
        ),
        f"optimizer.ema_decay {recipe.optimizer.ema_decay} must be below 1, and 0 where "
        "swa_enabled": (
            recipe.optimizer.ema_decay == 0
            or (recipe.optimizer.ema_decay < 1 and not recipe.optimizer.swa_enabled)
        ),
        f"optimizer.muon_backend_steps {recipe.optimizer.muon_backend_steps}: polar_express has "
        "coefficients for 5": (
            recipe.optimizer.newton_schulz == "constant" or recipe.optimizer.muon_backend_steps <= 5
        ),
        f"quantization.matrix_bits {recipe.quantization.matrix_bits} must be at most 8": (
            recipe.quantization.matrix_bits <= 8
        ),
        f"quantization.embed_bits {recipe.quantization.embed_bits} must be 2 to 8, or 0": (
            recipe.quantization.embed_bits in (0, 2, 3, 4, 5, 6, 7, 8)
        ),
        "quantization.lqer_enabled and awq_lite_enabled need gptq_enabled": (
            recipe.quantization.gptq_enabled
            or not (recipe.quantization.lqer_enabled or recipe.quantization.awq_lite_enabled)
        ),
        f"evaluation.ttt_chunk_size {recipe.evaluation.ttt_chunk_size} must be at most "
        f"ttt_eval_seq_len {recipe.evaluation.ttt_eval_seq_len}": (
            recipe.evaluation.ttt_chunk_size <= recipe.evaluation.ttt_eval_seq_len
        ),
        f"evaluation.eval_stride {recipe.evaluation.eval_stride} must be at most the length of "
        f"the windows, {eval_seq_len}": recipe.evaluation.eval_stride <= eval_seq_len,
        f"batch.train_batch_tokens {batch.train_batch_tokens} must be a multiple of "
        f"micro_batches_per_step {batch.micro_batches_per_step} x train_seq_len "
        f"{batch.train_seq_len}": rest == 0 and micro_batch_tokens % batch.train_seq_len == 0,
        f"batch.val_batch_size {batch.val_batch_size} must be at least micro_batches_per_step "
        f"{batch.micro_batches_per_step} x train_seq_len {batch.train_seq_len}": (
            batch.val_batch_size >= batch.micro_batches_per_step * batch.train_seq_len
        ),
        f"model.model_dim {model.model_dim} must be a multiple of num_heads {model.num_heads}": (
            model.model_dim % model.num_heads == 0
        ),
        f"model.model_dim / num_heads = {head_dim} must be even for rotary positions": (
            head_dim % 2 == 0
        ),
        f"model.num_heads {model.num_heads} must be a multiple of num_kv_heads "
        f"{model.num_kv_heads}": model.num_heads % model.num_kv_heads == 0,
    }
    found = [message for message, holds in checks.items() if not holds]
    return found + model_contradictions(model)


def model_contradictions(model: ModelOptions) -> list[str]:
    """What is wrong between the model's own options."""
    last = model.num_layers - 1
    is_looped, has_lanes = model.num_loops > 0, model.parallel_start_layer > 0
    gates = ("attn_out_gate_enabled", "sparse_attn_gate_enabled", "gated_attn_enabled")
    numbers = [number.strip() for number in model.ve_layers.split(",")]
    checks = {
        f"model.rope_dims {model.rope_dims} must be even and at most model_dim / num_heads = "
        f"{model.head_dim}": model.rope_dims % 2 == 0 and model.rope_dims <= model.head_dim,
        f"model.gate_window {model.gate_window} must be at most model_dim {model.model_dim}": (
            model.gate_window <= model.model_dim
        ),
        f"model.{', '.join(gates)}: set one at most": sum(getattr(model, g) for g in gates) <= 1,
        f"model.num_loops {model.num_loops} repeats the blocks loop_start {model.loop_start} to "
        f"loop_end {model.loop_end}: set both, from 0 to {last}": (
            not is_looped or model.loop_start <= model.loop_end <= last
        ),
        f"model.parallel_start_layer {model.parallel_start_layer} must be at most {last}, and "
        f"above loop_end {model.loop_end} where blocks are looped": (
            not has_lanes
            or (model.loop_end if is_looped else 0) < model.parallel_start_layer <= last
        ),
        "model.parallel_residual_start and parallel_start_layer: set one at most": (
            not has_lanes or model.parallel_residual_start < 0
        ),
        f"model.ve_layers {model.ve_layers!r} must be numbers from 0 to {last} where ve_enabled": (
            not model.ve_enabled
            or all(number.isdecimal() and int(number) <= last for number in numbers)
        ),
    }
    return [message for message, holds in checks.items() if not holds]
