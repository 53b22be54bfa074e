import torch

from trainer.model.embeddings import BigramHash, InputSmearGate, SmearGate, ValueEmbeddings
from trainer.recipe import BOS_ID, ModelOptions


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


def smeared(embedded, input_ids, **options):
    """What a gate makes of embeddings once it has learnt to add half of the token before."""
    gate = InputSmearGate(ModelOptions(gate_window=2, **options))
    with torch.no_grad():
        gate.strength.fill_(1.0)
    return gate(embedded, input_ids)


def test_a_new_input_gate_changes_nothing():
    embedded = torch.randn(2, 5, 4)
    gate = InputSmearGate(ModelOptions(gate_window=2))
    assert torch.equal(gate(embedded, torch.full((2, 5), 7)), embedded)
    assert sum(parameter.numel() for parameter in gate.parameters()) == 3


def test_the_input_gate_adds_of_the_token_before_as_the_own_one_wants():
    embedded = torch.randn(1, 4, 4)
    mixed = smeared(embedded, torch.full((1, 4), 7))
    assert torch.equal(mixed[:, 0], embedded[:, 0])
    assert torch.allclose(mixed[:, 1:], embedded[:, 1:] + embedded[:, :-1] / 2)


def test_the_input_gate_adds_nothing_across_the_beginning_of_a_document():
    embedded, ids = torch.randn(1, 4, 4), torch.tensor([[7, 7, BOS_ID, 7]])
    assert torch.equal(smeared(embedded, ids)[0, 2], embedded[0, 2])
    leaky = smeared(embedded, ids, smear_gate_bos_fix=False)
    assert not torch.equal(leaky[0, 2], embedded[0, 2])
    assert torch.equal(leaky[0, 3], smeared(embedded, ids)[0, 3])


def test_value_embeddings_are_shared_and_scaled_for_each_block():
    options = ModelOptions(vocab_size=9, ve_dim=16, model_dim=32, ve_layers="1, 3")
    embeddings = ValueEmbeddings(options)
    with torch.no_grad():
        embeddings.layer_scales.copy_(torch.tensor([1.0, 2.0]))
    added = embeddings(torch.tensor([[4, 2]]))
    assert set(added) == {1, 3} and torch.equal(2 * added[1], added[3])
    assert torch.allclose(added[1], 0.1 * embeddings.embed.weight[[4, 2]])


def test_projected_value_embeddings_start_as_nothing():
    embeddings = ValueEmbeddings(ModelOptions(vocab_size=9, ve_dim=8, ve_layers="0"))
    assert not embeddings(torch.tensor([[4, 2]]))[0].any()
