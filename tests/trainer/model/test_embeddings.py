import torch

from trainer.model.embeddings import BigramHash, SmearGate


def test_the_gate_mixes_in_the_position_before_and_zero_before_the_first():
    gate = SmearGate(model_dim=4)
    embedded = torch.randn(2, 5, 4)
    with torch.no_grad():
        gate.gate.fill_(0.0)
        mixed = gate(embedded)
    assert torch.allclose(mixed[:, 0], embedded[:, 0] / 2)
    assert torch.allclose(mixed[:, 1:], (embedded[:, 1:] + embedded[:, :-1]) / 2)


def test_a_new_gate_leaves_nearly_all_to_the_token_itself():
    embedded = torch.ones(1, 3, 4)
    mixed = SmearGate(model_dim=4)(embedded).detach()
    assert torch.allclose(mixed[0, 0], torch.tensor(0.9526), atol=1e-4)


def test_a_new_table_of_pairs_adds_nothing():
    bigrams = BigramHash(num_buckets=16, hash_dim=4, model_dim=8)
    assert not bigrams(torch.randint(50, (2, 5))).any()


def test_equal_pairs_share_a_row_and_others_have_their_own():
    bigrams = BigramHash(num_buckets=1 << 20, hash_dim=4, model_dim=8)
    with torch.no_grad():
        bigrams.proj.weight.normal_()
        rows = bigrams(torch.tensor([[7, 3, 7, 3, 5]]))[0]
    assert torch.equal(rows[1], rows[3])
    assert not torch.allclose(rows[0], rows[2])  # nothing before the first: not the pair (3, 7)
    assert not torch.allclose(rows[3], rows[4])
