"""Test-time training against the public one, and against plain matrices and a written-out Adam.

The constants come from #1855's script (openai/parameter-golf), its phased evaluation run on a CPU
in fp32 with the shape, the weights, the tokens and the settings that are built here, and with our
random adapters in place of its own. Its pauses were given the documents without the second BOS
that it sets between them. The two then differed by no more than 2e-6 nats in any token; learning as
fast as here moves a token by 0.04 nats on average, in phases by 0.14.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.evaluation.document_batches import find_documents
from trainer.evaluation.test_time_training import score_with_training
from trainer.model.transformer import GPT
from trainer.recipe import EvaluationOptions, recipe_settings
from trainer.recipe_checks import build_recipe
from trainer.recipe_file import load_recipe

# Those longer than a window end with a whole chunk, where the public windows end as ours do.
LENGTHS = (42, 10, 48, 7, 30, 54, 78, 60, 20, 13, 66, 5, 17, 3, 36, 23)
SMALL = {
    "model.attention_backend": "auto",
    "model.vocab_size": 61,
    "model.num_layers": 6,
    "model.model_dim": 32,
    "model.num_heads": 4,
    "model.num_kv_heads": 2,
    "model.rope_dims": 4,
    "model.xsa_last_n": 6,
    "model.loop_start": 1,
    "model.loop_end": 2,
    "model.parallel_start_layer": 4,
    "evaluation.ttt_batch_size": 4,
    "evaluation.ttt_eval_seq_len": 24,
    "evaluation.ttt_chunk_size": 6,
    "evaluation.ttt_lora_rank": 4,
    "evaluation.ttt_lora_alpha": 14,
    "evaluation.ttt_lora_lr": 0.003,
    "evaluation.phased_ttt_num_phases": 2,
    "evaluation.phased_ttt_prefix_docs": 8,
    "evaluation.global_ttt_chunk_tokens": 24,
    "evaluation.global_ttt_lr": 0.01,
}
COLD = {"evaluation.ttt_warm_start_a": False, "evaluation.phased_ttt_num_phases": 0}
# The mean loss of each document, in nats.
PUBLIC = {
    "cold": (4.502415, 4.987809, 4.512131, 4.540841, 4.546949, 4.633011, 4.487841, 4.657507)
    + (4.600264, 5.022679, 4.59351, 3.739409, 4.70549, 4.732232, 4.494902, 4.716934),
    "warm, in phases": (4.344548, 4.769156, 4.360093, 4.302328, 4.406125, 4.633011, 4.487841)
    + (4.657507, 4.154211, 4.436195, 4.59351, 3.493313, 4.447254, 4.509734, 4.344699, 4.425765),
}


def wave(shape, phase):
    """A tensor of quasi-random numbers in [-1, 1]: the sine of a quadratic phase."""
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(index**2 * 0.7 + phase).float().view(shape)


def a_model(recipe):
    model = GPT(recipe.model, num_positions=recipe.evaluation.ttt_eval_seq_len).eval()
    with torch.no_grad():
        for index, (_, parameter) in enumerate(sorted(model.named_parameters())):
            is_matrix = parameter.ndim == 2 and parameter.shape[0] > 2
            filling = wave(parameter.shape, index)
            parameter.copy_(filling * 0.25 if is_matrix else 1 + 0.1 * filling)
    return model


@pytest.mark.parametrize("kind", PUBLIC)
def test_documents_score_as_in_the_public_script(kind, alone):
    settings = recipe_settings(load_recipe("pr1855", {}).recipe) | SMALL
    recipe = build_recipe(settings | (COLD if kind == "cold" else {}))
    tokens = np.arange(sum(LENGTHS) + 1) * 7919 % 57 + 4
    tokens[np.cumsum([0, *LENGTHS])] = 1
    losses = score_with_training(a_model(recipe), tokens.astype(np.uint16), recipe, alone).losses
    found = [losses[d.start : d.start + d.num_targets].mean() for d in find_documents(tokens)]
    assert found == pytest.approx(PUBLIC[kind], abs=5e-6)


DENSE = EvaluationOptions(
    ttt_enabled=True,
    ttt_k_lora=True,
    ttt_lora_rank=3,
    ttt_lora_alpha=6.0,
    ttt_lora_lr=0.02,
    ttt_beta1=0.0,
    ttt_beta2=0.9,
    ttt_weight_decay=2.0,
    ttt_chunk_size=5,
    ttt_eval_seq_len=15,
    ttt_batch_size=2,
)


def adapted_layers(model):
    """Name → shape, in the order in which adapters are drawn."""
    blocks = [f"blocks.{layer}.attn.c_{part}.weight" for layer in range(2) for part in "qkv"]
    return {name: model.get_parameter(name).shape for name in [*blocks, "lm_head.weight"]}


def dense_losses(model, tokens):
    """One document by hand: whole matrices W + 2 B A, and Adam without its first moment."""
    random = torch.Generator().manual_seed(0)
    parts, squares, losses = {}, {}, []
    for name, (num_outputs, num_inputs) in adapted_layers(model).items():
        bound = num_inputs**-0.5
        down = torch.empty(3, num_inputs).uniform_(-bound, bound, generator=random)
        parts[name] = [down, torch.zeros(num_outputs, 3)]
        squares[name] = [torch.zeros_like(part) for part in parts[name]]
    for step, first in enumerate(range(0, len(tokens) - 1, 5), start=1):
        leaves = {n: [p.clone().requires_grad_() for p in own] for n, own in parts.items()}
        dense = {n: model.get_parameter(n) + 2.0 * up @ down for n, (down, up) in leaves.items()}
        window = tokens[max(first + 5 - 15, 0) : first + 6]
        found = torch.func.functional_call(model, dense, (window[None, :-1], window[None, 1:]))
        own = found[min(first, 15 - 5) :][:5]
        losses += own.tolist()
        own.mean().backward()
        for name, own_parts in leaves.items():
            for index, part in enumerate(own_parts):
                squares[name][index].lerp_(part.grad**2, 0.1)
                scale = (squares[name][index] / (1 - 0.9**step)).sqrt() + 1e-10
                parts[name][index] = part.detach() * (1 - 0.02 * 2.0) - 0.02 * part.grad / scale
    return losses


def test_a_document_scores_as_with_whole_matrices_and_a_written_out_adam(tiny_settings, alone):
    recipe = build_recipe(tiny_settings | {"model.tie_embeddings": False})
    recipe = replace(recipe, evaluation=DENSE)
    model = a_model(recipe)
    tokens = torch.arange(38) * 7919 % 300 + 4
    tokens[0] = 1
    found = score_with_training(model, tokens.numpy().astype(np.uint16), recipe, alone).losses
    expected = dense_losses(model, tokens)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    still = replace(recipe, evaluation=replace(DENSE, ttt_lora_lr=0.0))
    unmoved = score_with_training(model, tokens.numpy().astype(np.uint16), still, alone).losses
    assert (found - unmoved).abs().mean() > 0.02
