import pytest
import torch

from trainer.model.transformer import GPT
from trainer.recipe import ModelOptions

TINY = {"vocab_size": 50, "num_layers": 5, "model_dim": 16, "num_heads": 2, "num_kv_heads": 1}


def built(**options):
    torch.manual_seed(0)
    return GPT(ModelOptions(**TINY | options), num_positions=8)


def test_overtones_fall_with_the_square_root_of_their_number():
    plain, shaped = built(), built(overtone_init=True)
    values = torch.linalg.svdvals(shaped.tok_emb.weight.detach())
    first = torch.linalg.svdvals(plain.tok_emb.weight.detach())[0]
    expected = first / torch.arange(1, 17).sqrt()
    assert torch.allclose(values, expected, rtol=1e-4)


def test_early_blocks_lean_on_the_embedding_and_late_ones_on_the_stream():
    mixes = torch.stack([block.resid_mix.detach() for block in built(phased_resid_mix=True).blocks])
    keep, add = mixes[:, 0, 0], mixes[:, 1, 0]
    assert torch.allclose(keep + add, torch.ones(5))
    assert keep.diff().min() > 0 and keep[2] == pytest.approx(0.5)
    assert keep[0] == pytest.approx(0.1824, abs=1e-4)


def test_matrices_start_orthogonal_and_those_at_zero_stay_there():
    block = built(orthogonal_init=True, bigram_hash_buckets=8).blocks[0]
    for weight in (block.attn.c_q.weight, block.attn.c_k.weight, block.mlp.fc.weight):
        values = torch.linalg.svdvals(weight.detach())
        assert torch.allclose(values, torch.ones_like(values), atol=1e-5)
    assert not block.attn.proj.weight.any() and not block.mlp.proj.weight.any()
