from functools import partial

import pytest
import torch
import torch.nn.functional as F
from assert_matches_reference import (
    TOLERANCES,
    assert_matches_reference,
    backward_calls,
    relative_error,
)

from trainer.kernels.softcapped_cross_entropy.reference import softcapped_cross_entropy
from trainer.kernels.softcapped_cross_entropy.triton_kernel import head_losses, losses_over_logits


def plain(stream, head, targets):
    return softcapped_cross_entropy(stream @ head.T, targets, 30.0)


def test_the_reference_is_cross_entropy_where_the_cap_is_far():
    logits, targets = torch.randn(4, 9, dtype=torch.float64), torch.tensor([0, 8, 3, -1])
    losses = softcapped_cross_entropy(logits, targets, 1e6)
    expected = F.cross_entropy(logits[:3], targets[:3], reduction="none")
    assert torch.allclose(losses[:3], expected) and losses[3] == 0


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [(3, 16, 1024), (2, 8, 1000), (1, 8, 8193), (5, 3, 7)])
def test_losses_and_gradients_are_the_references(device, shape, dtype):
    num_tokens, num_channels, vocabulary = shape
    torch.manual_seed(0)
    stream = 3 * torch.randn(num_tokens, num_channels, dtype=torch.float64)
    head = 3 * torch.randn(vocabulary, num_channels, dtype=torch.float64)
    targets = torch.randint(vocabulary, (num_tokens,))
    inputs = [tensor.to(device) for tensor in (stream, head, targets)]
    assert_matches_reference(partial(head_losses, softcap=30.0), plain, inputs, dtype)


def test_a_gradient_that_nobody_asks_for_takes_no_product(device):
    stream, head = (torch.randn(n, 8, dtype=torch.float64, device=device) for n in (3, 24))
    inputs = [stream, head, torch.randint(24, (3,), device=device)]
    calls = backward_calls(partial(head_losses, softcap=30.0), plain, inputs)
    assert {asked: calls[asked]["mm"] for asked in calls} == {
        (True, False, False): 1,
        (False, True, False): 1,
        (True, True, False): 2,
    }


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("target", [0, 1, 2])
def test_saturated_logits_keep_their_loss_and_have_no_slope(device, target):
    logits = torch.tensor([[1e4, -1e4, 0.0]], device=device)
    targets = torch.tensor([target], device=device)
    expected = softcapped_cross_entropy(logits.double(), targets, 30.0)
    losses = losses_over_logits(logits, targets, 30.0, wants_slopes=True)
    assert torch.allclose(losses.double(), expected, rtol=1e-6)
    assert logits[0, :2].abs().max() < 1e-6


def test_tokens_without_a_target_cost_nothing_and_teach_nothing(device):
    logits = torch.randn(3, 5, device=device)
    before, targets = logits.clone(), torch.tensor([2, -1, -100], device=device)
    losses = losses_over_logits(logits, targets, 30.0, wants_slopes=True)
    assert losses[0] > 0 and losses[1:].tolist() == [0, 0] and not logits[1:].any()
    assert relative_error(losses[:1], softcapped_cross_entropy(before, targets, 30.0)[:1]) < 1e-5


def test_where_no_gradient_is_wanted_logits_stay(device):
    logits = torch.randn(3, 5, device=device)
    before = logits.clone()
    losses_over_logits(logits, torch.zeros(3, dtype=torch.int64, device=device), 30.0)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(("softcap", "vocabulary"), [(41.0, 8), (30.0, 16_385)])
def test_what_no_row_of_registers_holds_is_refused(softcap, vocabulary):
    with pytest.raises(ValueError, match="switch it off"):
        head_losses(torch.ones(1, 2), torch.ones(vocabulary, 2), torch.zeros(1).long(), softcap)
