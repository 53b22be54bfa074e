import math

import pytest
import torch

from trainer.model.rotary import apply_rotary, ntk_base, rotary_tables
from trainer.model.transformer import GPT
from trainer.recipe import ModelOptions

TINY = {"vocab_size": 50, "model_dim": 16, "num_heads": 2, "num_kv_heads": 1}


def token_losses(model, ids):
    with torch.no_grad():
        return model(ids[:, :-1], ids[:, 1:]).view(ids.size(0), -1)


def trained_looking(**options):
    """A model none of whose weights is zero, so that every path carries something."""
    torch.manual_seed(0)
    model = GPT(ModelOptions(**TINY | options), num_positions=12)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


PAIRS = {"use_smeargate": True, "bigram_hash_buckets": 40, "bigram_hash_dim": 8}


@pytest.mark.parametrize("options", [{}, {"num_layers": 1}, {"tie_embeddings": False}, PAIRS])
def test_a_loss_does_not_depend_on_later_tokens(options):
    model = trained_looking(**options)
    ids = torch.randint(50, (1, 13))
    changed = ids.clone()
    changed[0, 8] = (ids[0, 8] + 1) % 50
    before, after = token_losses(model, ids), token_losses(model, changed)
    assert torch.equal(before[0, :7], after[0, :7])
    assert (before[0, 7:] != after[0, 7:]).all()


def test_sequences_of_a_batch_do_not_see_each_other():
    model = trained_looking()
    ids = torch.randint(50, (3, 13))
    together = token_losses(model, ids)
    alone = token_losses(model, ids[1:2])
    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_the_feed_forward_layers_are_as_wide_as_asked():
    narrow, wide = trained_looking(mlp_hidden=24), trained_looking(mlp_mult=3)
    widths = [model.blocks[0].mlp.fc.weight.size(0) for model in (narrow, wide)]
    assert widths == [24, 48]


@pytest.mark.parametrize("tied", [True, False])
def test_an_untrained_model_knows_nothing(tied):
    torch.manual_seed(0)
    model = GPT(ModelOptions(tie_embeddings=tied), num_positions=64)
    losses = token_losses(model, torch.randint(1024, (2, 65)))
    assert losses.mean().item() == pytest.approx(math.log(1024), abs=0.02)


def test_losses_are_those_of_a_normalised_distribution():
    model = trained_looking()
    context = torch.randint(50, (1, 5)).repeat(50, 1)
    continuations = torch.cat((context, torch.arange(50)[:, None]), dim=1)
    probabilities = torch.exp(-token_losses(model, continuations)[:, -1])
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_turned_queries_and_keys_meet_by_distance_alone():
    torch.manual_seed(0)
    tables = rotary_tables(32, 8, 100.0)
    query, key = (torch.randn(8).expand(1, 1, 32, 8) for _ in range(2))
    products = apply_rotary(query, *tables)[0, 0] @ apply_rotary(key, *tables)[0, 0].T
    assert products[9, 4] == pytest.approx(products[25, 20].item(), abs=1e-4)
    assert products[9, 4] != pytest.approx(products[9, 5].item(), abs=1e-2)


def test_scaling_keeps_the_slowest_pair_within_the_turn_that_it_was_trained_on():
    slowest = [
        rotary_tables(length, 16, ntk_base(10_000.0, length, 64, 16))[1][-1, -1]
        for length in (64, 256)
    ]
    assert slowest[1] == pytest.approx(slowest[0].item(), rel=0.02)
    assert ntk_base(10_000.0, 64, 64, 16) == ntk_base(10_000.0, 256, 0, 16) == 10_000.0


def test_another_length_changes_losses_only_when_positions_are_scaled():
    ids = torch.randint(50, (2, 13))
    for train_seq_len, changes in ((0, False), (12, True)):
        model = trained_looking(rope_train_seq_len=train_seq_len)
        before = token_losses(model, ids)
        model.use_positions(24)
        assert torch.equal(before, token_losses(model, ids)) != changes
