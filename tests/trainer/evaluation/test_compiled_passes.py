"""What is compiled before anything is scored serves every pass, whatever is compiled at once."""

import numpy as np
import pytest
import torch

from trainer.evaluation.test_time_training import Conduct, score_with_training
from trainer.model.transformer import GPT, carried_out
from trainer.recipe_checks import build_recipe

SETTINGS = {
    "model.num_layers": 4,
    "model.num_loops": 1,
    "model.loop_start": 1,
    "model.loop_end": 1,
    "model.parallel_start_layer": 3,
    "model.parallel_lanes": "routed",
    "model.ln_scale": True,
    "model.skip_gates_enabled": True,
    "model.attention_backend": "auto",
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_k_lora": True,
    "evaluation.ttt_o_lora": True,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.ttt_lora_rank": 2,
    "evaluation.ttt_first_chunk_sizes": "4:2",
    "evaluation.ttt_chunk_size": 4,
    "evaluation.ttt_eval_seq_len": 12,
    "evaluation.ttt_batch_size": 3,
    "evaluation.phased_ttt_num_phases": 1,
    "evaluation.phased_ttt_prefix_docs": 2,
    "evaluation.global_ttt_chunk_tokens": 12,
    "evaluation.global_ttt_lr": 0.1,
}
# By the block: one, one with two lanes, a skip of the stream itself, of others, the head.
GRAPHS = {"whole": 1, "block": 5}


@pytest.fixture(params=GRAPHS)
def recipe(tiny_settings, request):
    return build_recipe(tiny_settings | SETTINGS | {"evaluation.ttt_compile_unit": request.param})


@pytest.fixture
def model(recipe):
    torch.manual_seed(0)
    model = GPT(recipe.model, num_positions=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.fixture
def tokens():
    tokens = np.random.default_rng(0).integers(4, 320, 60).astype(np.uint16)
    tokens[[0, 1, 8, 21, 51]] = 1
    return tokens


def test_nothing_is_compiled_once_scoring_has_begun(model, tokens, recipe, alone):
    """However batches, windows and chunks differ in size, and after a phase too."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = score_with_training(model, tokens, recipe, alone, conduct=Conduct(backend="eager"))
    num_graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert num_graphs == GRAPHS[recipe.evaluation.ttt_compile_unit]
    plain = score_with_training(model, tokens, recipe, alone)
    assert torch.allclose(compiled.losses, plain.losses, atol=1e-6)
    assert model.through is carried_out and isinstance(model.blocks[1].norm_scale, float)
