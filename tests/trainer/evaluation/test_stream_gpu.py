"""On a GPU, in bf16, streaming scores what evaluation scores but for its rounding."""

import numpy as np
import pytest
import torch

from trainer.evaluation.scoring import Windows, score_tokens
from trainer.evaluation.stream import WindowRound
from trainer.model.transformer import GPT
from trainer.process_group import ProcessGroup
from trainer.recipe_checks import build_recipe

pytestmark = pytest.mark.gpu
SIZES = {
    "model.model_dim": 128,
    "model.num_heads": 2,
    "batch.train_seq_len": 128,
    "batch.train_batch_tokens": 256,
    "batch.val_batch_size": 256,
}


def test_windows_score_as_in_evaluation_on_a_gpu(tiny_settings):
    torch.manual_seed(0)
    recipe = build_recipe(tiny_settings | SIZES)
    model = GPT(recipe.model, num_positions=128).cuda().eval()
    group = ProcessGroup(rank=0, world_size=1, device=torch.device("cuda"))
    tokens = np.random.default_rng(0).integers(4, 320, 64 * 128 + 1).astype(np.uint16)
    windows = Windows(seq_len=128, stride=128, batch_size=64)
    expected = score_tokens(model, tokens, windows, group).cpu().numpy()
    rows = tokens[1:].reshape(64, 128).astype(np.int64)
    begun = WindowRound(model, [tokens[i : i + 1].astype(np.int64) for i in range(0, 8192, 128)])
    found = np.empty((64, 128))
    for step in range(128):
        predicted = begun.predict().cpu().numpy()
        found[:, step] = -predicted[np.arange(64), rows[:, step]]
        begun.show(torch.arange(64), torch.from_numpy(rows[:, step]))
    differences = found.ravel() - expected
    assert abs(differences.mean()) < 1e-3 and np.abs(differences).max() < 0.1
