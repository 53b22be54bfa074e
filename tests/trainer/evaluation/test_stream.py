"""Predicting token by token gives the losses of the fast evaluation, and never knows more."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.errors import DataError
from trainer.evaluation.document_batches import find_documents
from trainer.evaluation.scoring import Windows, score_tokens
from trainer.evaluation.stream import LearningRound, WindowRound, round_maker, serve, unstreamed
from trainer.evaluation.test_time_training import score_with_training
from trainer.model.transformer import GPT
from trainer.recipe_checks import build_recipe

BOS = 1
TTT = {
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_lora_rank": 2,
    "evaluation.ttt_chunk_size": 4,
    "evaluation.ttt_eval_seq_len": 12,
    "evaluation.ttt_batch_size": 16,
}
EVERYWHERE = {
    "evaluation.ttt_k_lora": True,
    "evaluation.ttt_o_lora": True,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.ttt_lora_alpha": 3,
    "evaluation.ttt_weight_decay": 1.0,
    "evaluation.ttt_first_chunk_sizes": "4:2,9:3",
}
PHASED = {"evaluation.phased_ttt_num_phases": 1, "evaluation.global_ttt_chunk_tokens": 12}
MODELS = {
    "plain": {},
    "embeddings that see the token before": {
        "model.bigram_hash_buckets": 64,
        "model.bigram_hash_dim": 8,
        "model.use_smeargate": True,
    },
    "the later stack": {
        "model.smear_gate_enabled": True,
        "model.gate_window": 4,
        "model.xsa_last_n": 1,
        "model.attn_out_gate_enabled": True,
    },
}


def a_model(settings):
    torch.manual_seed(0)
    recipe = build_recipe(settings)
    model = GPT(recipe.model, num_positions=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval(), recipe


def streamed(streamed_round, rows):
    """Losses of each row's tokens behind those that it was given."""
    losses = [[] for _ in rows]
    for step in range(max(map(len, rows))):
        lanes = [lane for lane, row in enumerate(rows) if len(row) > step]
        predicted = streamed_round.predict()
        for lane in lanes:
            losses[lane].append(-float(predicted[lane, int(rows[lane][step])]))
        going = torch.tensor(
            [lane for lane in lanes if len(rows[lane]) > step + 1], dtype=torch.long
        )
        streamed_round.show(
            going, torch.tensor([int(rows[i][step]) for i in going], dtype=torch.long)
        )
    return np.array([loss for own in losses for loss in own])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stride", [16, 4])
def test_windows_score_as_in_evaluation(tiny_settings, alone, name, stride):
    model, _ = a_model(tiny_settings | MODELS[name])
    tokens = np.random.default_rng(0).integers(4, 320, 97).astype(np.uint16)
    windows = Windows(seq_len=16, stride=stride, batch_size=4)
    expected = score_tokens(model, tokens, windows, alone)
    begins = range(0, 96, stride)
    given = [tokens[max(b - windows.context, 0) : b + 1].astype(np.int64) for b in begins]
    found = streamed(WindowRound(model, given), [tokens[b + 1 : b + 1 + stride] for b in begins])
    assert np.abs(found - expected.numpy()).max() < 1e-5


def some_documents(count):
    random = np.random.default_rng(0)
    lengths = random.integers(1, 40, count)
    parts = [np.r_[BOS, random.integers(4, 40, length)] for length in lengths]
    return np.concatenate(parts).astype(np.uint16)


def fast(model, recipe, tokens, group):
    return score_with_training(model, tokens, recipe, group).losses.numpy()


@pytest.mark.parametrize("projections", [{}, EVERYWHERE], ids=["as #77", "every projection"])
def test_documents_that_are_learnt_from_score_as_in_evaluation(tiny_settings, alone, projections):
    model, recipe = a_model(tiny_settings | MODELS["the later stack"] | TTT | projections)
    tokens = some_documents(60)
    expected = fast(model, recipe, tokens, alone)
    still = replace(recipe, evaluation=replace(recipe.evaluation, ttt_lora_lr=0.0))
    assert np.abs(expected - fast(model, still, tokens, alone)).mean() > 0.01
    found = []
    documents = find_documents(tokens)
    for i in range(0, 60, 16):
        rows = [tokens[d.start + 1 : d.start + 1 + d.num_targets] for d in documents[i : i + 16]]
        begun = LearningRound(model, recipe, [np.array([BOS]) for _ in rows])
        found.append(streamed(begun, rows))
    assert np.abs(np.concatenate(found) - expected).max() < 1e-4


def test_documents_that_are_over_leave_their_round(tiny_settings):
    model, recipe = a_model(tiny_settings | TTT)
    rows = [np.arange(5, 5 + length) for length in (9, 3, 20, 6)]
    begun = LearningRound(model, recipe, [np.array([BOS]) for _ in rows])
    streamed(begun, rows)
    assert begun.adapters.num_documents == 1 and begun.lanes.tolist() == [2]


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({}, ""),
        ({"batch.pack_documents": True}, "batch.pack_documents to false"),
        (TTT | {"batch.pack_documents": True}, ""),
        (TTT | {"evaluation.ttt_warm_start_a": True}, "evaluation.ttt_warm_start_a to false"),
        (TTT | PHASED, "evaluation.phased_ttt_num_phases to 0"),
    ],
)
def test_what_learns_across_documents_is_not_streamed(tiny_settings, settings, setting):
    assert unstreamed(build_recipe(tiny_settings | settings)) == setting


def question(kind, *words, version=1, lanes=1):
    return np.array([version, kind, lanes, len(words), *words], "<u4").tobytes()


def test_every_question_is_answered_in_turn_and_rows_are_distributions(tiny_settings):
    model, recipe = a_model(tiny_settings)
    asked = question(1, 1, 2, 7, 8, 9, lanes=2) + question(2, 1, 5) + question(0, lanes=0)
    told = io.BytesIO()
    serve(round_maker(model, recipe), io.BytesIO(asked), told)
    first, second = told.getvalue()[: 16 + 8 * 320], told.getvalue()[16 + 8 * 320 :]
    assert np.frombuffer(first[:16], "<u4").tolist() == [1, 0, 2, 320]
    assert np.frombuffer(second[:16], "<u4").tolist() == [1, 1, 1, 320]
    rows = np.frombuffer(first[16:] + second[16:], "<f4").reshape(3, 320)
    assert np.allclose(np.exp(rows).sum(axis=1), 1, atol=1e-5)


def test_another_version_is_refused(tiny_settings):
    model, recipe = a_model(tiny_settings)
    asked = io.BytesIO(question(1, 1, 7, version=2))
    with pytest.raises(DataError, match="version 2"):
        serve(round_maker(model, recipe), asked, io.BytesIO())
