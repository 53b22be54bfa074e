import math

import pytest
import torch

from trainer.errors import TrainerError
from trainer.recipe import BatchOptions
from trainer.training_failures import describe_non_finite, memory_advice, refuse_divergence


def test_names_of_broken_tensors_are_listed_and_the_rest_counted():
    tensors = {f"layer{index}": torch.tensor([1.0, math.nan]) for index in range(5)}
    assert describe_non_finite({"whole": torch.ones(2)}) == "none"
    assert describe_non_finite(tensors | {"whole": torch.ones(2)}) == (
        "layer0 layer1 layer2 and 2 more"
    )


def test_a_lost_loss_names_the_gradients_and_keeps_the_weights_before_the_update(
    alone, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    layer = torch.nn.Linear(2, 1)
    layer.weight.grad = torch.full_like(layer.weight, math.inf)
    with pytest.raises(TrainerError, match="step 8: .* nan; .* weights none, gradients weight;"):
        refuse_divergence(layer, alone, step=7, loss_nats=math.nan)
    kept = torch.load("diverged_rank0.pt", weights_only=True)
    assert torch.equal(kept["weights"]["weight"], layer.weight)
    assert kept["gradients"]["weight"].isinf().all() and kept["step"] == 7


def test_a_loss_that_is_a_number_passes(alone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_divergence(torch.nn.Linear(2, 1), alone, step=0, loss_nats=3.5)
    assert not list(tmp_path.iterdir())


def test_running_out_of_memory_says_what_to_lower():
    with (
        pytest.raises(TrainerError, match="of 65536 tokens .*_per_step from 8 to 16"),
        memory_advice(BatchOptions()),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
