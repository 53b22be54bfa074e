from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import DataError
from trainer.evaluation.scoring import (
    Windows,
    check_token_ids,
    evaluation_windows,
    score_tokens,
    training_windows,
)
from trainer.model.transformer import GPT
from trainer.process_group import ProcessGroup
from trainer.recipe import BOS_ID
from trainer.recipe_checks import build_recipe


class LossIsTargetId(torch.nn.Module):
    """Says which token it was asked for, so that the order of scoring shows."""

    def forward(self, input_ids, target_ids):
        return target_ids.flatten().float()


class LossIsPlace(torch.nn.Module):
    """Says how many tokens of the window precede the target, so that the context shows."""

    def forward(self, input_ids, target_ids):
        return (torch.arange(input_ids.size(1)) + 1).repeat(input_ids.size(0)).float()


class Silent(ProcessGroup):
    """One of several processes whose results are added up by the test."""

    def sum_in_place(self, tensor):
        pass


@given(num_targets=st.integers(1, 200), stride=st.integers(1, 16), batch=st.integers(1, 9))
def test_every_token_but_the_first_is_scored_once_in_order(num_targets, stride, batch):
    windows = Windows(seq_len=16, stride=stride, batch_size=batch)
    tokens = np.arange(num_targets + 1, dtype=np.uint16)
    losses = sum(
        score_tokens(LossIsTargetId(), tokens, windows, process)
        for process in (
            Silent(rank=rank, world_size=3, device=torch.device("cpu")) for rank in range(3)
        )
    )
    assert losses.tolist() == tokens[1:].tolist()


@given(num_targets=st.integers(1, 200), stride=st.integers(1, 16))
def test_each_token_is_scored_with_the_least_context_promised_or_more(num_targets, stride):
    windows = Windows(seq_len=16, stride=stride, batch_size=4)
    alone = ProcessGroup(rank=0, world_size=1, device=torch.device("cpu"))
    tokens = np.zeros(num_targets + 1, dtype=np.uint16)
    contexts = score_tokens(LossIsPlace(), tokens, windows, alone).int().tolist()
    assert contexts[:16] == list(range(1, 17))[:num_targets]
    assert min(contexts[16:], default=16) >= min(16 - stride + 1, 16)


def test_the_number_of_windows_is_the_smallest_that_covers_the_tokens():
    windows = Windows(seq_len=16, stride=4, batch_size=1)
    assert [windows.starts(n).size for n in (1, 16, 17, 20, 21)] == [1, 1, 2, 2, 3]


def test_windows_follow_the_recipe(tiny_settings):
    plain = build_recipe(tiny_settings)
    assert evaluation_windows(plain) == Windows(seq_len=16, stride=16, batch_size=4)
    longer = build_recipe(
        tiny_settings | {"evaluation.eval_seq_len": 32, "evaluation.eval_stride": 8}
    )
    assert evaluation_windows(longer) == Windows(seq_len=32, stride=8, batch_size=2)
    assert training_windows(longer) == training_windows(plain)
    one = replace(plain.evaluation, eval_batch_seqs=1)
    assert evaluation_windows(replace(plain, evaluation=one)).batch_size == 1


def test_tokens_outside_the_vocabulary_are_named():
    with pytest.raises(DataError, match="token id 9 .* vocab_size is 9"):
        check_token_ids(np.array([1, 9], dtype=np.uint16), 9)


def test_batched_windows_score_what_each_window_scores_alone(tiny_recipe, alone):
    torch.manual_seed(0)
    model = GPT(tiny_recipe.model, num_positions=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    tokens = np.random.default_rng(0).integers(0, 320, 100).astype(np.uint16)
    windows = Windows(seq_len=16, stride=5, batch_size=7)
    losses = score_tokens(model, tokens, windows, alone)
    for start in windows.starts(99):
        ids = torch.from_numpy(tokens[start : start + 17].astype(np.int64))[None]
        own = model(ids[:, :-1], ids[:, 1:]).detach()
        first = 0 if start == 0 else windows.context
        expected = losses[start + first : start + 16]
        assert torch.allclose(own[first:], expected, rtol=1e-5)


def test_documents_are_scored_apart_where_training_packs_them(tiny_settings, alone):
    recipe = build_recipe(tiny_settings | {"batch.pack_documents": True})
    windows = evaluation_windows(recipe)
    torch.manual_seed(0)
    model = GPT(recipe.model, num_positions=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    tokens = np.random.default_rng(0).integers(4, 320, 65).astype(np.uint16)
    tokens[[0, 6, 25]] = BOS_ID
    changed = tokens.copy()
    changed[4] = 5
    before, after = (score_tokens(model.eval(), own, windows, alone) for own in (tokens, changed))
    assert torch.equal(before[6:], after[6:]) and not torch.equal(before[3:6], after[3:6])
    dense = score_tokens(model, tokens, replace(windows, are_cut_at_documents=False), alone)
    assert torch.equal(dense[:6], before[:6]) and not torch.allclose(dense[7:16], before[7:16])
