"""The limit of warm adapters: it stops the instability where that is planted, and else nothing."""

import numpy as np
import pytest
import torch

from trainer.evaluation.test_time_training import score_with_training
from trainer.model.transformer import GPT
from trainer.recipe_checks import build_recipe

WARM = {
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_k_lora": True,
    "evaluation.ttt_o_lora": True,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.ttt_warm_start_a": True,
    "evaluation.ttt_lora_rank": 4,
    "evaluation.ttt_beta1": 0.0,
    "evaluation.ttt_beta2": 0.999,
    "evaluation.ttt_chunk_size": 4,
    "evaluation.ttt_eval_seq_len": 16,
    "evaluation.ttt_batch_size": 4,
}


@pytest.fixture
def score(tiny_settings, alone):
    rng = np.random.default_rng(0)
    documents = [[1, *np.minimum(rng.geometric(0.05, 24) + 1, 319)] for _ in range(64)]
    tokens = np.array(sum(documents, []), dtype=np.uint16)

    def losses(rate, limit):
        options = {"evaluation.ttt_lora_lr": rate, "evaluation.ttt_warm_start_limit": limit}
        recipe = build_recipe(tiny_settings | WARM | options)
        torch.manual_seed(1)
        model = GPT(recipe.model, num_positions=16)
        return score_with_training(model, tokens, recipe, alone).losses

    return losses


def test_at_an_honest_rate_the_limit_changes_no_bit(score):
    assert torch.equal(score(0.003, limit=0.0), score(0.003, limit=2.0))


# Ten times that rate: A outgrows the limit, and what is lost by that is not lost where it is held.
def test_at_a_rate_where_growth_does_harm_the_limit_stops_it(score):
    assert score(0.03, limit=0.0).mean() > score(0.03, limit=2.0).mean() + 5e-4
