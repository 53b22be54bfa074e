import pytest
import torch

from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.optimizer.parameter_groups import build_optimizers, group_parameters
from trainer.optimizer.schedules import Pace
from trainer.recipe import CONTROL_TENSORS, ModelOptions, OptimizerOptions


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_belongs_to_exactly_one_group(tied):
    pairs = {"use_smeargate": True, "bigram_hash_buckets": 64}
    model = GPT(ModelOptions(tie_embeddings=tied, **pairs), num_positions=8)
    groups = group_parameters(model, CONTROL_TENSORS)
    everything = groups.embedding + groups.head + groups.matrices + groups.scalars
    assert sorted(map(id, everything)) == sorted(map(id, model.parameters()))
    assert len(groups.head) == (0 if tied else 1)


def test_muon_gets_the_matrices_of_the_blocks_and_nothing_else():
    model = GPT(ModelOptions(num_layers=2), num_positions=8)
    matrices = group_parameters(model, CONTROL_TENSORS).matrices
    expected = [p for n, p in model.blocks.named_parameters() if n.endswith(".weight")]
    assert list(map(id, matrices)) == list(map(id, expected)) and len(matrices) == 12


def test_the_table_of_token_pairs_is_an_embedding_and_its_projection_a_matrix():
    model = GPT(ModelOptions(num_layers=1, bigram_hash_buckets=64), num_positions=8)
    groups = group_parameters(model, CONTROL_TENSORS)
    assert any(model.bigram_hash.table.weight is tensor for tensor in groups.embedding)
    assert any(model.bigram_hash.proj.weight is tensor for tensor in groups.matrices)


def test_gates_and_lanes_are_scalars_and_value_embeddings_embeddings():
    options = ModelOptions(
        num_layers=3,
        attn_out_gate_enabled=True,
        smear_gate_enabled=True,
        skip_gates_enabled=True,
        parallel_start_layer=2,
        ve_enabled=True,
        ve_layers="1",
    )
    model = GPT(options, num_positions=8)
    groups = group_parameters(model, CONTROL_TENSORS)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scalars = {names[id(tensor)].split(".")[-1] for tensor in groups.scalars}
    assert {"attn_gate_w", "skip_gates", "parallel_post_lambdas", "strength"} <= scalars
    assert "smear_gate.gate.weight" in {names[id(tensor)] for tensor in groups.scalars}
    assert {names[id(tensor)] for tensor in groups.embedding} == {
        "tok_emb.weight",
        "ve_shared.embed.weight",
    }
    assert "ve_shared.proj.weight" in {names[id(tensor)] for tensor in groups.matrices}


def test_each_group_decays_by_its_own_share_of_its_learning_rate(alone):
    options = OptimizerOptions(
        tied_embed_lr=0.1,
        scalar_lr=0.2,
        matrix_lr=0.5,
        embed_weight_decay=0.3,
        adam_weight_decay=0.4,
        muon_weight_decay=0.6,
    )
    model = GPT(ModelOptions(num_layers=1, model_dim=16, num_heads=2, num_kv_heads=1), 8)
    torch.nn.init.ones_(model.blocks[0].mlp.proj.weight)
    optimizers = build_optimizers(model, options, alone, newton_schulz)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizers.step(Pace(momentum=0.9, learning_rate_scale=0.5, weight_decay_scale=0.1))
    for name, lr, weight_decay in (
        ("tok_emb.weight", 0.05, 0.3),
        ("blocks.0.attn_scale", 0.1, 0.4),
        ("blocks.0.mlp.proj.weight", 0.25, 0.06),
    ):
        assert torch.allclose(model.get_parameter(name), before[name] * (1 - lr * weight_decay))


def test_forgetting_makes_the_next_step_a_first_step(alone):
    torch.manual_seed(0)
    model = GPT(ModelOptions(num_layers=1, model_dim=16, num_heads=2, num_kv_heads=1), 8)
    optimizers = build_optimizers(model, OptimizerOptions(), alone, newton_schulz)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ends = []
    for _ in range(2):
        model.load_state_dict(start)
        optimizers.forget()
        model(
            torch.ones(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.long)
        ).sum().backward()
        optimizers.step(Pace(momentum=0.9))
        ends.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in start)
    assert not torch.equal(ends[0]["tok_emb.weight"], start["tok_emb.weight"])
