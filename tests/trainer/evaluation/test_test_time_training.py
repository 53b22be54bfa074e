from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.evaluation.scoring import Windows, score_tokens
from trainer.evaluation.test_time_training import (
    Adapters,
    Document,
    batches_of,
    chunks_of,
    find_documents,
    score_with_training,
)
from trainer.model.transformer import GPT
from trainer.process_group import ProcessGroup
from trainer.recipe_checks import build_recipe

BOS = 1
TTT = {
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_lora_rank": 2,
    "evaluation.ttt_chunk_size": 4,
    "evaluation.ttt_eval_seq_len": 12,
    "evaluation.ttt_batch_size": 3,
}


@pytest.fixture
def recipe(tiny_settings):
    return build_recipe(tiny_settings | TTT)


@pytest.fixture
def model(recipe):
    torch.manual_seed(0)
    model = GPT(recipe.model, num_positions=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.fixture
def tokens():
    """Five documents of 1, 7, 13, 30 and 8 targets, the last one's end being the tape's."""
    tokens = np.random.default_rng(0).integers(4, 320, 60).astype(np.uint16)
    tokens[[0, 1, 8, 21, 51]] = BOS
    return tokens


def with_rate(recipe, rate):
    return replace(recipe, evaluation=replace(recipe.evaluation, ttt_lora_lr=rate))


def test_documents_cover_every_target_once(tokens):
    lengths = [document.num_targets for document in find_documents(tokens)]
    assert lengths == [1, 7, 13, 30, 8]
    assert [d.start for d in find_documents(tokens[2:])] == [0, 6, 19, 49]


def test_a_chunk_sees_its_document_and_no_more_than_the_window(recipe):
    document = Document(start=100, num_targets=14)
    empty = Document(start=0, num_targets=0)
    chunks = list(chunks_of([document, empty], recipe.evaluation, torch.device("cpu")))
    scored = [chunk.places[chunk.is_scored].tolist() for chunk in chunks]
    assert scored == [[100, 101, 102, 103], [*range(104, 108)], [*range(108, 112)], [112, 113]]
    seen = [chunk.places[0][chunk.places[0] > 0].tolist() for chunk in chunks]
    assert seen[2] == [*range(100, 112)] and seen[3] == [*range(104, 114)]
    assert [chunk.is_learnt_from.tolist() for chunk in chunks] == [[True, False]] * 3 + [
        [False] * 2
    ]


def test_without_learning_each_document_scores_as_alone(model, tokens, recipe, alone):
    losses = score_with_training(model, tokens, with_rate(recipe, 0.0), alone)
    for document in find_documents(tokens):
        end = min(document.num_targets, 12)
        own = tokens[document.start : document.start + end + 1]
        windows = Windows(seq_len=end, stride=end, batch_size=1)
        expected = score_tokens(model, own, windows, alone)
        found = losses[document.start : document.start + end]
        assert torch.allclose(found, expected, atol=1e-5)


def test_a_later_token_changes_no_earlier_score(model, tokens, recipe, alone):
    before = score_with_training(model, tokens, recipe, alone)
    for place in (12, 30, 45, 59):
        changed = tokens.copy()
        changed[place] = 5 if changed[place] != 5 else 6
        after = score_with_training(model, changed, recipe, alone)
        own = [d for d in find_documents(tokens) if d.start < place]
        earlier = slice(0, place - 1)
        assert torch.equal(before[earlier], after[earlier])
        following = own[-1].start + own[-1].num_targets
        assert torch.equal(before[following:], after[following:])
        assert not torch.equal(before[place - 1 : following], after[place - 1 : following])


def test_learning_helps_where_a_document_repeats_itself(model, recipe, alone):
    tokens = np.tile(np.arange(10, 14), 20).astype(np.uint16)
    tokens[0] = BOS
    still, learnt = (
        score_with_training(model, tokens, with_rate(recipe, rate), alone) for rate in (0.0, 0.05)
    )
    assert torch.equal(still[:4], learnt[:4])
    assert learnt[40:].mean() < still[40:].mean() - 0.5


def test_a_documents_score_does_not_depend_on_the_ones_beside_it(model, tokens, recipe, alone):
    together = score_with_training(model, tokens, recipe, alone)
    for document in find_documents(tokens):
        part = slice(document.start, document.start + document.num_targets)
        own = tokens[document.start : document.start + document.num_targets + 1]
        by_itself = score_with_training(model, own, recipe, alone)
        assert torch.allclose(by_itself, together[part], atol=1e-4)


def test_processes_share_the_documents(model, tokens, recipe, alone):
    class Silent(ProcessGroup):
        def sum_in_place(self, tensor):
            pass

    shares = [
        score_with_training(
            model, tokens, recipe, Silent(rank=rank, world_size=2, device=torch.device("cpu"))
        )
        for rank in (0, 1)
    ]
    assert torch.allclose(sum(shares), score_with_training(model, tokens, recipe, alone), atol=1e-4)


def test_the_model_is_as_it_was_afterwards(model, tokens, recipe, alone):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    score_with_training(model, tokens, recipe, alone)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_adapters_start_as_nothing_and_forget_everything(model, recipe):
    adapters = Adapters(model, recipe)
    adapters.reset()
    inputs = torch.randn(3, 5, 16)
    assert not adapters.head(inputs).any()
    first = adapters.head.down.clone()
    with torch.no_grad():
        adapters.head.up.normal_()
        adapters.head.down.normal_()
    adapters.reset()
    assert torch.equal(adapters.head.down, first) and not adapters.head.up.any()


def test_batches_hold_documents_of_like_length(recipe):
    documents = [Document(start=n, num_targets=n) for n in (30, 1, 8, 2)]
    batches = list(batches_of(documents, recipe.evaluation))
    assert [[d.num_targets for d in batch] for batch in batches] == [[1, 2, 8], [30, 0, 0]]
