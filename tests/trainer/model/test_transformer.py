import math

import pytest
import torch

from trainer.model.deltas import AttentionDeltas, BlockDeltas, Deltas
from trainer.model.rotary import apply_rotary, ntk_base, rotary_tables
from trainer.model.transformer import GPT
from trainer.recipe import BOS_ID, ModelOptions

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
MODERN = {
    "num_layers": 6,
    "rope_dims": 4,
    "ln_scale": True,
    "xsa_last_n": 6,
    "leaky_relu_slope": 0.5,
    "skip_gates_enabled": True,
    "smear_gate_enabled": True,
    "ve_enabled": True,
    "ve_layers": "4,5",
    "num_loops": 2,
    "loop_start": 1,
    "loop_end": 2,
}
ROUTED = MODERN | {"parallel_start_layer": 4, "sparse_attn_gate_enabled": True}
MERGED = ROUTED | {"parallel_lanes": "merged"}
PARALLEL = MODERN | {"parallel_residual_start": 3, "gated_attn_enabled": True}
STACKS = [PAIRS, ROUTED, MERGED, PARALLEL]


@pytest.mark.parametrize("options", [{}, {"num_layers": 1}, {"tie_embeddings": False}, *STACKS])
def test_a_loss_does_not_depend_on_later_tokens(options):
    model = trained_looking(**options)
    ids = torch.randint(50, (1, 13))
    changed = ids.clone()
    changed[0, 8] = (ids[0, 8] + 1) % 50
    before, after = token_losses(model, ids), token_losses(model, changed)
    assert torch.equal(before[0, :7], after[0, :7])
    assert (before[0, 7:] != after[0, 7:]).all()


@pytest.mark.parametrize("options", [{}, ROUTED])
def test_sequences_of_a_batch_do_not_see_each_other(options):
    model = trained_looking(**options)
    ids = torch.randint(50, (3, 13))
    together = token_losses(model, ids)
    alone = token_losses(model, ids[1:2])
    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_the_feed_forward_layers_are_as_wide_as_asked():
    narrow, wide = trained_looking(mlp_hidden=24), trained_looking(mlp_mult=3)
    widths = [model.blocks[0].mlp.fc.weight.size(0) for model in (narrow, wide)]
    assert widths == [24, 48]


@pytest.mark.parametrize("options", [{}, ROUTED, MERGED, PARALLEL])
def test_packed_documents_score_as_each_would_alone(options):
    model = trained_looking(**options)
    documents = [[BOS_ID, 5, 9, 7], [BOS_ID, 3], [BOS_ID, 8, 2, 2, 6, 4]]
    ids = torch.tensor([sum(documents, [])])
    boundaries = torch.tensor([0, 4, 6, 12, 12], dtype=torch.int32)
    with torch.no_grad():
        packed = model(ids, ids, boundaries=boundaries)
        apart = [model(torch.tensor([own]), torch.tensor([own])) for own in documents]
    assert torch.allclose(packed, torch.cat(apart), atol=1e-4)


@pytest.mark.parametrize("options", STACKS)
def test_adapters_that_add_nothing_change_nothing_and_others_do(options):
    model = trained_looking(**options)
    ids = torch.randint(50, (2, 7))
    plain = model(ids, ids)

    def deltas(**own):
        return Deltas(blocks=[BlockDeltas(**own) for _ in model.steps])

    def to_attention(**own):
        def attention(inputs):
            return AttentionDeltas(**{name: added(inputs) for name, added in own.items()})

        return deltas(attention=attention)

    nothing = dict.fromkeys(("query", "key", "out"), lambda inputs: torch.zeros(1))
    assert torch.equal(model(ids, ids, deltas=to_attention(**nothing)), plain)
    changes = [deltas(mlp=lambda inputs: inputs)]
    for place, width in (("query", 16), ("key", 8), ("value", 8), ("out", 16)):
        changes.append(to_attention(**{place: lambda inputs, width=width: inputs[..., :width]}))
    assert not any(torch.allclose(model(ids, ids, deltas=own), plain) for own in changes)


@pytest.mark.parametrize("options", STACKS)
def test_scales_within_weights_change_neither_losses_nor_gradients(options):
    models = [trained_looking(**options, folded_scales_enabled=folds) for folds in (False, True)]
    ids = torch.randint(50, (2, 9))
    losses = [model(ids, ids) for model in models]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.mean().backward()
    for plain, folded in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(plain.grad, folded.grad, rtol=1e-4, atol=1e-6)


def test_each_use_of_a_looped_block_has_adapters_of_its_own():
    model = trained_looking(**ROUTED)
    ids = torch.randint(50, (1, 7))
    assert [step.layer for step in model.steps].count(1) == 3
    losses = []
    for place, step in enumerate(model.steps):
        own = [BlockDeltas() for _ in model.steps]
        own[place] = BlockDeltas(mlp=lambda inputs: inputs)
        losses += [model(ids, ids, deltas=Deltas(blocks=own)).sum()] if step.layer == 1 else []
    assert len(torch.stack(losses).unique()) == 3


def test_without_loops_every_block_is_used_once():
    model = trained_looking(**ROUTED)
    ids = torch.randint(50, (1, 7))
    looped = model(ids, ids)
    model.use_loops(wanted=False)
    straight = trained_looking(**ROUTED | {"num_loops": 0})
    own = model.state_dict() | {"skip_weights": model.skip_weights[:3]}
    straight.load_state_dict(own | {"skip_gates": model.skip_gates[:3]})
    assert torch.equal(model(ids, ids), straight(ids, ids))
    assert not torch.allclose(model(ids, ids), looped)


def test_norms_of_later_blocks_are_smaller():
    scales = [block.norm_scale for block in trained_looking(**ROUTED).blocks]
    assert scales == pytest.approx([1, 2**-0.5, 3**-0.5, 1 / 2, 5**-0.5, 6**-0.5])


def test_turning_leaves_the_other_channels_of_a_head_alone():
    heads = torch.randn(1, 5, 2, 8)
    turned = apply_rotary(heads, *rotary_tables(5, 4, 100.0))
    assert torch.equal(turned[..., 4:], heads[..., 4:])
    assert torch.equal(turned[:, 0], heads[:, 0]) and not torch.equal(turned, heads)


def test_the_whole_stack_is_one_graph():
    short = {"num_layers": 3, "loop_end": 1, "parallel_start_layer": 2, "ve_layers": "2"}
    model = trained_looking(**ROUTED | short)
    forward = torch.compile(model, fullgraph=True, dynamic=False, backend="eager")
    ids = torch.randint(50, (1, 12))
    boundaries = torch.tensor([0, 5, 12, 12], dtype=torch.int32)
    for wanted in (True, False):
        model.use_loops(wanted=wanted)
        assert torch.equal(
            forward(ids, ids, boundaries=boundaries), model(ids, ids, boundaries=boundaries)
        )


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
    query, key = (torch.randn(8).expand(1, 32, 1, 8) for _ in range(2))
    products = apply_rotary(query, *tables)[0, :, 0] @ apply_rotary(key, *tables)[0, :, 0].T
    assert products[9, 4] == pytest.approx(products[25, 20].item(), abs=1e-4)
    assert products[9, 4] != pytest.approx(products[9, 5].item(), abs=1e-2)


def test_scaling_keeps_the_slowest_pair_within_the_turn_that_it_was_trained_on():
    slowest = [
        rotary_tables(length, 16, ntk_base(10_000.0, length, 64, 16))[1][-1, -1]
        for length in (64, 256)
    ]
    assert slowest[1] == pytest.approx(slowest[0].item(), rel=0.02)
    assert ntk_base(10_000.0, 64, 64, 16) == 10_000.0


def test_another_length_changes_losses_only_when_positions_are_scaled():
    ids = torch.randint(50, (2, 13))
    for train_seq_len, changes in ((0, False), (12, True)):
        model = trained_looking(rope_train_seq_len=train_seq_len)
        before = token_losses(model, ids)
        model.use_positions(24)
        assert torch.equal(before, token_losses(model, ids)) != changes
