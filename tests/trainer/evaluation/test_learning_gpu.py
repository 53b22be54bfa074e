"""On a GPU, in bf16, test-time training scores alike: compiled first, or played from recordings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.evaluation.recorded_passes import CudaRecorder
from trainer.evaluation.test_time_training import Conduct, score_with_training
from trainer.phases.prepare import build_model
from trainer.process_group import ProcessGroup
from trainer.recipe_checks import build_recipe

pytestmark = pytest.mark.gpu
SETTINGS = {
    "model.model_dim": 128,
    "model.bf16_stream_enabled": True,
    "model.folded_scales_enabled": True,
    "model.fused_mlp_enabled": True,
    "model.fused_qkv_enabled": True,
    "batch.train_seq_len": 64,
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_k_lora": True,
    "evaluation.ttt_o_lora": True,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.ttt_warm_start_a": True,
    "evaluation.ttt_first_chunk_sizes": "32:8",
    "evaluation.ttt_chunk_size": 16,
    "evaluation.ttt_eval_seq_len": 64,
    "evaluation.ttt_batch_size": 8,
    "evaluation.ttt_batch_tokens": 256,
    "evaluation.ttt_recorded_window": 48,
    "evaluation.phased_ttt_num_phases": 2,
    "evaluation.phased_ttt_prefix_docs": 16,
    "evaluation.global_ttt_chunk_tokens": 256,
}


@pytest.fixture
def group():
    return ProcessGroup(rank=0, world_size=1, device=torch.device("cuda"))


@pytest.fixture
def tokens():
    tokens = np.random.default_rng(0).integers(4, 320, 3001).astype(np.uint16)
    tokens[np.random.default_rng(1).permutation(3000)[:48]] = 1
    return tokens


def recipe_with(tiny_settings, **options):
    changes = {f"evaluation.{name}": value for name, value in options.items()}
    return build_recipe(tiny_settings | SETTINGS | {"batch.train_batch_tokens": 256} | changes)


@pytest.mark.parametrize(("unit", "most_graphs"), [("whole", 1), ("block", 5)])
def test_what_is_compiled_first_serves_batches_windows_and_phases_and_scores_as_without_it(
    tiny_settings, group, tokens, unit, most_graphs
):
    recipe = recipe_with(tiny_settings, ttt_compile_unit=unit)
    model = build_model(recipe, group).eval()
    plain = score_with_training(model, tokens, recipe, group).losses
    torch._dynamo.utils.counters.clear()
    compiled = score_with_training(
        model,
        tokens,
        recipe,
        group,
        conduct=Conduct(backend="inductor"),
    ).losses
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs <= most_graphs + 1  # FlexAttention's pass, where it was not compiled before
    assert (compiled - plain).abs().mean() < 0.02 and abs((compiled - plain).mean()) < 0.002


@pytest.mark.parametrize("backend", [None, "inductor"])
def test_played_passes_score_as_those_that_are_launched(tiny_settings, group, tokens, backend):
    """Phases included, in which all weights move where recordings read them."""
    recipe = recipe_with(tiny_settings, ttt_compile_unit="block", ttt_lora_lr=0.01)
    model = build_model(recipe, group).eval()
    launched = Conduct(backend=backend)
    plain = score_with_training(model, tokens, recipe, group, conduct=launched).losses
    recorder = CountsRecordings()
    conduct = replace(launched, recorder=recorder)
    played = score_with_training(model, tokens, recipe, group, conduct=conduct).losses
    still = replace(recipe, evaluation=replace(recipe.evaluation, ttt_lora_lr=0.0))
    unmoved = score_with_training(model, tokens, still, group, conduct=launched).losses
    assert recorder.num_played > recorder.num_recorded > 4
    learnt = (unmoved - plain).abs().mean()
    assert (played - plain).abs().mean() < 0.05 * learnt, learnt


class CountsRecordings(CudaRecorder):
    def __init__(self):
        super().__init__()
        self.num_recorded = self.num_played = 0

    def __call__(self, work):
        play = super().__call__(work)
        self.num_recorded += 1

        def counted():
            self.num_played += 1
            play()

        return counted
