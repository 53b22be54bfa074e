from dataclasses import replace

import pytest
import torch

from trainer.errors import RecipeError
from trainer.evaluation.document_batches import Document
from trainer.evaluation.global_sgd import WeightLearner, losses_of_rows, twin_of
from trainer.model.transformer import GPT
from trainer.recipe import EvaluationOptions
from trainer.recipe_checks import build_recipe

OPTIONS = EvaluationOptions(
    ttt_eval_seq_len=8, global_ttt_chunk_tokens=16, global_ttt_lr=0.5, global_ttt_epochs=2
)
DOCUMENTS = [Document(start=0, num_targets=30), Document(start=30, num_targets=11)]


@pytest.fixture
def model(tiny_settings):
    torch.manual_seed(0)
    return GPT(build_recipe(tiny_settings).model, num_positions=16).eval().requires_grad_(False)


@pytest.fixture
def tape():
    tape = torch.arange(42, dtype=torch.int32) * 7 % 40 + 4
    tape[[0, 30, 41]] = 1
    return tape


def test_what_was_read_is_read_better_in_place_and_a_rest_is_left_out(model, tape, alone):
    rows, head = torch.arange(32).view(4, 8), model.tok_emb.weight
    before = losses_of_rows(model, rows, tape).mean()
    assert WeightLearner(model, OPTIONS, alone).learn(DOCUMENTS, tape) == 4
    assert losses_of_rows(model, rows, tape).mean() < before - 0.1
    assert model.tok_emb.weight is head and not any(p.requires_grad for p in model.parameters())


def test_documents_in_one_row_see_nothing_of_each_other(model, tape):
    rows = torch.arange(26, 34)[None]
    other = tape.clone()
    other[26:30] += 1
    before, after = losses_of_rows(model, rows, tape), losses_of_rows(model, rows, other)
    assert torch.equal(before[4:], after[4:]) and not torch.equal(before[:4], after[:4])


def test_a_twin_has_its_models_memory_and_gradients_of_its_own(model):
    twin = twin_of(model)
    with torch.no_grad():
        twin.skip_weights += 1
    assert torch.equal(twin.skip_weights, model.skip_weights)
    assert twin.skip_weights.requires_grad and not model.skip_weights.requires_grad


def test_more_processes_than_rows_of_a_step_are_refused(model, alone):
    crowd = replace(alone, world_size=3)
    with pytest.raises(RecipeError, match="global_ttt_chunk_tokens 16 must be at least"):
        WeightLearner(model, OPTIONS, crowd)
