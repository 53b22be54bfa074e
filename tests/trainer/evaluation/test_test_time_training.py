"""Every score comes from what precedes it, whatever learns, in whatever batches and processes."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from forked import run_together

from trainer.evaluation import document_batches
from trainer.evaluation.chunk_passes import chunks_of
from trainer.evaluation.document_batches import NO_DOCUMENT, Document, find_documents
from trainer.evaluation.order_check import check_order
from trainer.evaluation.order_ledger import ledger_path
from trainer.evaluation.scoring import Windows, score_tokens
from trainer.evaluation.test_time_training import Conduct, score_with_training
from trainer.model.transformer import GPT
from trainer.process_group import join_process_group, leave_process_group
from trainer.recipe_checks import build_recipe

BOS = 1
TTT = {
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_lora_rank": 2,
    "evaluation.ttt_chunk_size": 4,
    "evaluation.ttt_eval_seq_len": 12,
    "evaluation.ttt_batch_size": 3,
}
EVERYWHERE = {
    "evaluation.ttt_k_lora": True,
    "evaluation.ttt_o_lora": True,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.ttt_lora_alpha": 3,
    "evaluation.ttt_weight_decay": 1.0,
    "evaluation.ttt_beta1": 0.0,
    "evaluation.ttt_beta2": 0.99,
    "evaluation.ttt_first_chunk_sizes": "4:2,9:3",
}
PHASED = {
    "evaluation.phased_ttt_num_phases": 1,
    "evaluation.phased_ttt_prefix_docs": 2,
    "evaluation.global_ttt_chunk_tokens": 12,
    "evaluation.global_ttt_lr": 0.1,
}
KINDS = {
    "as #77": {},
    "every projection": EVERYWHERE,
    "in phases": EVERYWHERE | PHASED | {"evaluation.ttt_warm_start_a": True},
}


def a_model(recipe):
    torch.manual_seed(0)
    model = GPT(recipe.model, num_positions=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def some_tokens(seed=0):
    """Five documents of 1, 7, 13, 30 and 8 targets, the last one's end being the tape's."""
    tokens = np.random.default_rng(seed).integers(4, 320, 60).astype(np.uint16)
    tokens[[0, 1, 8, 21, 51]] = BOS
    return tokens


@pytest.fixture(params=KINDS)
def recipe(tiny_settings, request):
    return build_recipe(tiny_settings | TTT | KINDS[request.param])


@pytest.fixture
def cold(tiny_settings):
    return build_recipe(tiny_settings | TTT | EVERYWHERE)


@pytest.fixture
def model(tiny_settings):
    return a_model(build_recipe(tiny_settings))


tokens = pytest.fixture(some_tokens)


def changed(recipe, **options):
    return replace(recipe, evaluation=replace(recipe.evaluation, **options))


def losses_of(model, tokens, recipe, group):
    return score_with_training(model, tokens, recipe, group).losses


def place_of_change(tokens, place):
    other = tokens.copy()
    other[place] = 5 if other[place] != 5 else 6
    return other


def test_a_chunk_sees_its_document_and_no_more_than_the_window(tiny_settings):
    options = build_recipe(tiny_settings | TTT).evaluation
    tape = torch.zeros(200, dtype=torch.int32)
    chunks = list(chunks_of([Document(start=100, num_targets=14), NO_DOCUMENT], options, tape))
    scored = [chunk.slots[chunk.slots < 199].tolist() for chunk in chunks]
    assert scored == [[100, 101, 102, 103], [*range(104, 108)], [*range(108, 112)], [112, 113]]
    seen = [chunk.places[0][chunk.places[0] > 0].tolist() for chunk in chunks]
    assert seen[2] == [*range(100, 112)] and seen[3] == [*range(104, 114)]
    assert [chunk.goes_on.tolist() for chunk in chunks] == [[True, False]] * 3 + [[False] * 2]
    assert [chunk.is_last for chunk in chunks] == [False] * 3 + [True]


def test_without_learning_each_document_scores_as_alone(model, tokens, cold, alone):
    losses = losses_of(model, tokens, changed(cold, ttt_lora_lr=0.0), alone)
    for document in find_documents(tokens):
        end = min(document.num_targets, 10)  # beyond it, windows begin behind its first token
        own = tokens[document.start : document.start + end + 1]
        windows = Windows(seq_len=end, stride=end, batch_size=1)
        expected = score_tokens(model, own, windows, alone)
        found = losses[document.start : document.start + end]
        assert torch.allclose(found, expected, atol=1e-5)


def test_a_later_token_changes_no_earlier_score(model, tokens, cold, alone):
    before = losses_of(model, tokens, cold, alone)
    for place in (12, 30, 45, 59):
        after = losses_of(model, place_of_change(tokens, place), cold, alone)
        own = [d for d in find_documents(tokens) if d.start < place]
        earlier = slice(0, place - 1)
        assert torch.equal(before[earlier], after[earlier])
        following = own[-1].start + own[-1].num_targets
        assert torch.equal(before[following:], after[following:])
        assert not torch.equal(before[place - 1 : following], after[place - 1 : following])


def test_a_document_that_is_scored_later_changes_no_score_before(model, tokens, alone, recipe):
    """Documents of 30 and 13 are scored first, then those of 8, 7 and 1 side by side."""
    phased = changed(recipe, phased_ttt_num_phases=1, phased_ttt_prefix_docs=2)
    phased = changed(phased, global_ttt_chunk_tokens=12, global_ttt_lr=0.1)
    before = losses_of(model, tokens, phased, alone)
    late = losses_of(model, place_of_change(tokens, 55), phased, alone)
    early = losses_of(model, place_of_change(tokens, 12), phased, alone)
    assert torch.equal(before[8:51], late[8:51]) and not torch.equal(before[51:], late[51:])
    assert not torch.isclose(before[51:], early[51:]).any()


def test_learning_helps_where_a_document_repeats_itself(model, recipe, alone):
    tokens = np.tile(np.arange(10, 14), 20).astype(np.uint16)
    tokens[0] = BOS
    still, learnt = (
        losses_of(model, tokens, changed(recipe, ttt_lora_lr=rate), alone) for rate in (0.0, 0.05)
    )
    assert torch.equal(still[:2], learnt[:2])
    assert learnt[40:].mean() < still[40:].mean() - 0.5


def test_all_weights_learn_what_documents_share(model, tiny_settings, alone):
    recipe = build_recipe(tiny_settings | TTT | PHASED | {"evaluation.ttt_lora_lr": 0.0})
    recipe = changed(recipe, phased_ttt_prefix_docs=8, global_ttt_epochs=4)
    tokens = np.tile(np.r_[BOS, np.arange(10, 24)], 12).astype(np.uint16)
    still = losses_of(model, tokens, changed(recipe, phased_ttt_num_phases=0), alone)
    phased = losses_of(model, tokens, recipe, alone)
    assert torch.allclose(still[:120], phased[:120], atol=1e-4)
    assert phased[120:].mean() < still[120:].mean() - 0.5


def test_a_documents_score_does_not_depend_on_the_ones_beside_it(model, tokens, cold, alone):
    together = losses_of(model, tokens, cold, alone)
    for document in find_documents(tokens):
        part = slice(document.start, document.start + document.num_targets)
        own = tokens[document.start : document.start + document.num_targets + 1]
        by_itself = losses_of(model, own, cold, alone)
        assert torch.allclose(by_itself, together[part], atol=1e-4)


def test_leaving_out_documents_that_are_over_changes_no_score(
    model, tokens, recipe, alone, monkeypatch
):
    """Batches of three that two of them leave; a warm A goes on as if its document had stayed."""
    shrunk = losses_of(model, tokens, recipe, alone)
    monkeypatch.setattr(document_batches, "STAYING_SHARE", 0.0)
    assert torch.allclose(shrunk, losses_of(model, tokens, recipe, alone), atol=1e-5)


def test_warm_adapters_hand_on_what_they_learnt(model, cold, alone):
    tokens = some_tokens()
    warm = changed(cold, ttt_warm_start_a=True, ttt_batch_size=2)
    before = losses_of(model, tokens, warm, alone)
    after = losses_of(model, place_of_change(tokens, 22), warm, alone)
    assert not torch.isclose(before[51:59], after[51:59], atol=1e-6).all()


def test_the_model_is_as_it_was_afterwards(model, tokens, recipe, alone):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses_of(model, tokens, recipe, alone)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def score_in_a_process(rank, port, folder, recipe):
    names = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {name: str(value) for name, value in names.items()}
    torch.set_num_threads(1)
    group = join_process_group()
    scores = score_with_training(a_model(recipe), some_tokens(), recipe, group)
    scores.ledger.write(ledger_path(folder / "losses", rank))
    if group.is_master:
        scores.losses.numpy().tofile(folder / "losses")
    leave_process_group()


def test_two_processes_score_as_one(tiny_settings, tmp_path, alone, unused_port):
    """Phases too: batches hand nothing on where adapters are cold, and steps are shared."""
    recipe = build_recipe(tiny_settings | TTT | EVERYWHERE | PHASED)
    recipe = changed(recipe, global_ttt_chunk_tokens=36)
    run_together(score_in_a_process, (unused_port, tmp_path, recipe))
    expected = losses_of(a_model(recipe), some_tokens(), recipe, alone)
    assert np.abs(np.fromfile(tmp_path / "losses", "<f4") - expected.numpy()).max() < 1e-4
    order = check_order(tmp_path / "losses")
    assert (order.num_targets, order.num_phases, order.num_all_weights_steps) == (59, 1, 1)


def test_it_is_said_how_far_scoring_is_and_what_tokens_cost_so_far(
    model, tokens, cold, alone, monkeypatch
):
    monkeypatch.setattr("trainer.evaluation.test_time_training.SECONDS_BETWEEN_LINES", 0.0)
    said = []
    losses = score_with_training(
        model, tokens, cold, alone, conduct=Conduct(say=said.append)
    ).losses
    found = [re.match(r"ttt:scored (\d+)/(\d+) loss_so_far:(\S+) seconds:", x) for x in said]
    counts = [int(one[1]) for one in found]
    assert counts == sorted(counts) and counts[-1] == int(found[-1][2]) == losses.numel()
    assert float(found[-1][3]) == pytest.approx(float(losses.mean()), abs=1e-3)
