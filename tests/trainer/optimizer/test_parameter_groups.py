import pytest
import torch

from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.optimizer.parameter_groups import build_optimizers, group_parameters
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
        optimizers.step(1.0, momentum=0.9)
        ends.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in start)
    assert not torch.equal(ends[0]["tok_emb.weight"], start["tok_emb.weight"])
