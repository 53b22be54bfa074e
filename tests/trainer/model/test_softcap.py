import math

import numpy as np
import pytest
import torch

from trainer.errors import RecipeError
from trainer.evaluation.document_batches import Document
from trainer.evaluation.global_sgd import WeightLearner
from trainer.model.softcap import SignedSoftcap
from trainer.model.transformer import GPT
from trainer.optimizer.muon import orthogonalizer
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.optimizer.schedules import Pace
from trainer.recipe_checks import build_recipe

SIGNED = {
    "model.asym_logit_rescale": True,
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_chunk_size": 4,
    "evaluation.ttt_eval_seq_len": 16,
    "evaluation.phased_ttt_num_phases": 1,
    "evaluation.global_ttt_chunk_tokens": 32,
}


def caps(model):
    return [float(cap) for cap in model.signed_softcap.parameters()]


def test_each_sign_has_a_bound_of_its_own():
    softcap = SignedSoftcap(30.0)
    softcap.softcap_neg.data.fill_(15.0)
    bounded = softcap(torch.tensor([60.0, -60.0, 0.0, 3.0]))
    worked = [30 * math.tanh(2), -15 * math.tanh(4), 0.0, 30 * math.tanh(0.1)]
    assert bounded.tolist() == pytest.approx(worked)


def test_before_anything_is_learnt_it_is_the_one_softcap(tiny_settings):
    tokens = torch.arange(33).view(1, -1)
    losses = []
    for settings in (tiny_settings, tiny_settings | SIGNED):
        torch.manual_seed(3)
        model = GPT(build_recipe(settings).model, num_positions=32)
        losses.append(model(tokens[:, :-1], tokens[:, 1:]))
    assert torch.equal(*losses)


def test_training_leaves_both_bounds_and_phases_move_both(tiny_settings, alone):
    recipe = build_recipe(tiny_settings | SIGNED)
    model = GPT(recipe.model, num_positions=16)
    model.tok_emb.weight.data.mul_(1000.0)  # large logits: small ones hardly feel their bound
    optimizer = build_optimizers(model, recipe.optimizer, alone, orthogonalizer(recipe.optimizer))
    tape = torch.from_numpy(np.random.default_rng(0).integers(2, 320, 81)).int()
    model(tape[None, :16].long(), tape[None, 1:17].long()).mean().backward()
    optimizer.step(Pace(momentum=0.9))
    assert caps(model) == [30.0, 30.0]
    WeightLearner(model, recipe.evaluation, alone).learn([Document(start=0, num_targets=80)], tape)
    assert 30.0 not in caps(model)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"model.fused_ce_enabled": True}, "knows one softcap"),
        ({"evaluation.phased_ttt_num_phases": 0}, "learnt in phases alone"),
    ],
)
def test_where_nothing_could_move_the_bounds_the_recipe_is_refused(tiny_settings, change, mistake):
    with pytest.raises(RecipeError, match=mistake):
        build_recipe(tiny_settings | SIGNED | change)
