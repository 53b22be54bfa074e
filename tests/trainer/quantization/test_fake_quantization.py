import torch

from trainer.quantization.fake_quantization import fake_quantize_rows


def test_forward_sees_few_levels_and_the_gradient_passes_unchanged():
    torch.manual_seed(0)
    weight = torch.randn(5, 400, requires_grad=True)
    seen = fake_quantize_rows(weight, bits=4)
    assert all(row.unique().numel() <= 15 for row in seen)
    assert (seen - weight).abs().max() <= 0.51 * weight.abs().max() / 7
    probe = torch.randn(5, 400)
    (seen * probe).sum().backward()
    assert torch.equal(weight.grad, probe)


def test_a_rounded_weight_stays_what_it_is():
    weight = torch.tensor([[31.0, -7.0, 0.0], [0.0, 0.0, 0.0]])
    assert torch.equal(fake_quantize_rows(weight, bits=6), weight)
