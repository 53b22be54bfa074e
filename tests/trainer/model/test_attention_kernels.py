import pytest
import torch

from trainer.model.attention_kernels import (
    causal_attention,
    document_attention,
    document_mask,
    document_numbers,
    flex_documents,
    flex_mask,
)

BOUNDARIES = torch.tensor([0, 3, 4, 11, 12, 12], dtype=torch.int32)


@pytest.fixture
def heads():
    torch.manual_seed(0)
    return torch.randn(1, 12, 4, 8), torch.randn(1, 12, 2, 8), torch.randn(1, 12, 2, 8)


DOCUMENTS = [slice(0, 3), slice(3, 4), slice(4, 11), slice(11, 12)]


def by_itself(heads, spans=DOCUMENTS):
    """Each document through attention alone."""
    return torch.cat([causal_attention(*(h[:, span] for h in heads)) for span in spans], dim=1)


def test_attention_is_a_weighted_mean_of_what_came_before():
    queries, keys = torch.zeros(1, 3, 2, 4), torch.randn(1, 3, 1, 4)
    values = torch.tensor([3.0, 5.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    gathered = causal_attention(queries, keys, values)
    assert torch.allclose(gathered[0, :, 1, 0], torch.tensor([3.0, 4.0, 3.0]))


def test_packed_documents_attend_as_each_would_alone(heads):
    packed = document_attention(BOUNDARIES, (1, 12), longest=7)(*heads)
    assert torch.allclose(packed, by_itself(heads), atol=1e-6)


def test_documents_may_stand_in_several_rows(heads):
    rows = [h.view(3, 4, *h.shape[2:]) for h in heads]
    packed = document_attention(torch.tensor([0, 3, 4, 8, 11, 12]), (3, 4), longest=7)(*rows)
    spans = [slice(0, 3), slice(3, 4), slice(4, 8), slice(8, 11), slice(11, 12)]
    assert torch.allclose(packed.flatten(0, 1), by_itself(heads, spans)[0], atol=1e-6)


def test_padded_boundaries_begin_no_document():
    assert document_numbers(BOUNDARIES, 12).tolist() == [1, 1, 1, 2] + [3] * 7 + [4]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_gathers_the_same(heads):
    numbers = document_numbers(BOUNDARIES, 12)
    assert flex_mask(numbers).to_dense().any()
    gathered = flex_documents(flex_mask(numbers), *heads)
    assert torch.allclose(gathered, by_itself(heads), atol=1e-6)


def test_no_document_sees_another_or_the_future():
    mask = document_mask(torch.tensor([[1, 1, 2]]))
    assert mask[0, 0].tolist() == [[True, False, False], [True, True, False], [False, False, True]]
