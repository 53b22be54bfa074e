"""Passes that are played score as those that are done, and find everything where it was."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.evaluation.adapters import Adapters
from trainer.evaluation.test_time_training import Conduct, score_with_training
from trainer.model.transformer import GPT
from trainer.recipe_checks import build_recipe

SETTINGS = {
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_k_lora": True,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.ttt_warm_start_a": True,
    "evaluation.ttt_lora_lr": 0.02,
    "evaluation.ttt_weight_decay": 2.0,
    "evaluation.ttt_lora_rank": 2,
    "evaluation.ttt_chunk_size": 4,
    "evaluation.ttt_eval_seq_len": 12,
    "evaluation.ttt_batch_size": 16,
    "evaluation.ttt_batch_tokens": 96,
    "evaluation.ttt_recorded_window": 8,
    "evaluation.phased_ttt_num_phases": 1,
    "evaluation.phased_ttt_prefix_docs": 12,
    "evaluation.global_ttt_chunk_tokens": 12,
    "evaluation.global_ttt_lr": 0.1,
}


class PlaysClosures:
    """What records nothing but which work is to be done again."""

    def __init__(self):
        self.num_recorded = self.num_played = 0

    def around(self):
        return nullcontext()

    def __call__(self, work):
        self.num_recorded += 1

        def play():
            self.num_played += 1
            work()

        return play


@pytest.fixture
def recipe(tiny_settings):
    return build_recipe(tiny_settings | SETTINGS)


@pytest.fixture
def model(recipe):
    torch.manual_seed(0)
    model = GPT(recipe.model, num_positions=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.fixture
def tokens():
    random = np.random.default_rng(0)
    tokens = random.integers(4, 320, 1200).astype(np.uint16)
    tokens[random.choice(1200, 80, replace=False)] = 1
    tokens[0] = 1
    return tokens


def test_played_passes_score_as_those_that_are_done(model, tokens, recipe, alone):
    done = score_with_training(model, tokens, recipe, alone)
    recorder = PlaysClosures()
    played = score_with_training(model, tokens, recipe, alone, conduct=Conduct(recorder=recorder))
    assert recorder.num_played > recorder.num_recorded > 2
    assert torch.equal(played.losses, done.losses)
    assert played.ledger.events == done.ledger.events
    still = replace(recipe, evaluation=replace(recipe.evaluation, ttt_lora_lr=0.0))
    unmoved = score_with_training(model, tokens, still, alone).losses
    assert (done.losses - unmoved).abs().mean() > 0.01


def test_windows_beyond_the_longest_are_not_recorded(model, tokens, recipe, alone):
    recorder = PlaysClosures()
    none = replace(recipe, evaluation=replace(recipe.evaluation, ttt_recorded_window=3))
    score_with_training(model, tokens, none, alone, conduct=Conduct(recorder=recorder))
    assert recorder.num_recorded == 0


def test_batches_and_their_optimizers_use_the_same_memory(recipe):
    adapters = Adapters(GPT(recipe.model, num_positions=16), recipe.evaluation)

    def learn(num_documents):
        adapters.begin(16)
        adapters.keep(num_documents)
        for part in adapters.parts():
            part.grad = torch.ones_like(part)
        adapters.step()
        states = adapters.optimizer.state.values()
        held = [*adapters.parts(), *(tensor for state in states for tensor in state.values())]
        return {tensor.data_ptr() for tensor in held}

    first = learn(16)
    assert first == learn(5) == learn(16)


def test_a_gradient_comes_in_the_order_of_the_factors(recipe):
    """So that none is copied to be kept."""
    adapters = Adapters(GPT(recipe.model, num_positions=16), recipe.evaluation)
    added = adapters.deltas.head(torch.randn(16, 5, 16))
    down, up = adapters.deltas.head.down, adapters.deltas.head.up
    for part, gradient in zip(
        (down, up), torch.autograd.grad(added.sum(), (down, up)), strict=True
    ):
        assert gradient.stride() == part.stride()
