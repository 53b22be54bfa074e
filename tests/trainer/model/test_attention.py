import pytest
import torch

from trainer.model.attention import HeadGate, head_gate, without_own_value
from trainer.model.transformer import GPT
from trainer.recipe import ModelOptions

TINY = {"vocab_size": 50, "model_dim": 16, "num_heads": 4, "num_kv_heads": 2}


def test_nothing_is_left_along_a_positions_own_value():
    torch.manual_seed(0)
    gathered, values = torch.randn(2, 5, 4, 8), torch.randn(2, 5, 2, 8)
    left = without_own_value(gathered, values)
    along = (left * values.repeat_interleave(2, dim=2)).sum(dim=-1)
    assert along.abs().max() < 1e-5
    taken = gathered - left
    norms = taken.norm(dim=-1) * values.repeat_interleave(2, dim=2).norm(dim=-1)
    products = (taken * values.repeat_interleave(2, dim=2)).sum(dim=-1)
    assert torch.allclose(products.abs(), norms, atol=1e-5)  # along the value and nothing else


def test_a_worked_example_of_two_channels():
    gathered = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    values = torch.tensor([0.0, 2.0]).view(1, 1, 1, 2)
    assert without_own_value(gathered, values).flatten().tolist() == [3.0, 0.0]


def test_it_concerns_the_last_blocks_alone():
    blocks = GPT(ModelOptions(num_layers=5, xsa_last_n=2, **TINY), num_positions=8).blocks
    assert [block.attn.has_xsa for block in blocks] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("kind", "at_first"), [("attn_out_gate_enabled", 1.0), ("sparse_attn_gate_enabled", 0.5)]
)
def test_a_new_gate_of_zeros_scales_every_head_alike(kind, at_first):
    gate = head_gate(ModelOptions(**TINY, **{kind: True}))
    factors = gate.factors(gate.initial_weight(4), torch.randn(1, 3, 16))
    assert torch.equal(factors, torch.full((1, 3, 4), at_first))


def test_a_gate_sees_the_first_channels_at_its_scale():
    gate = HeadGate(window=2, init_std=0.0, scale=0.5, height=2.0)
    factors = gate.factors(torch.tensor([[1.0, 1.0]]), torch.tensor([[[2.0, 4.0, 99.0]]]))
    assert factors.item() == pytest.approx(2 / (1 + torch.exp(torch.tensor(-3.0)).item()))


@pytest.mark.parametrize(
    ("kind", "weights"),
    [("gated_attn_enabled", 16), ("sparse_attn_gate_enabled", 12), ("attn_out_gate_enabled", 12)],
)
def test_a_gate_has_a_row_of_weights_for_each_head(kind, weights):
    model = GPT(ModelOptions(num_layers=1, **TINY, **{kind: True}), num_positions=8)
    assert model.blocks[0].attn.attn_gate_w.shape == (4, weights)


def test_the_dense_gate_starts_with_the_spread_that_is_asked_for():
    torch.manual_seed(0)
    options = ModelOptions(gated_attn_enabled=True, gated_attn_init_std=0.005)
    assert head_gate(options).initial_weight(64).std().item() == pytest.approx(0.005, rel=0.05)
