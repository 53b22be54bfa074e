import pytest
import torch

from trainer.optimizer.averaging import WeightAverage
from trainer.recipe import OptimizerOptions


@pytest.fixture
def model():
    model = torch.nn.Linear(1, 1, bias=False)
    return with_weight(model, 1.0)


def with_weight(model, value):
    with torch.no_grad():
        model.weight.fill_(value)
    return model


def after_steps(model, options, weights, scale=0.1):
    average = WeightAverage(model, options)
    for step, weight in enumerate(weights, start=1):
        with_weight(model, weight)
        average.update(step, scale)
    return average.replace_weights()


def test_the_moving_average_starts_with_the_first_weights_and_forgets_by_its_decay(model):
    assert after_steps(model, OptimizerOptions(ema_decay=0.75), [2.0, 4.0]) == 2
    assert model.weight.item() == pytest.approx(0.75**2 * 1 + 0.75 * 0.25 * 2 + 0.25 * 4)


def test_the_plain_average_is_the_mean_of_every_nth_weight(model):
    options = OptimizerOptions(swa_enabled=True, swa_every=2)
    assert after_steps(model, options, [9.0, 2.0, 9.0, 4.0, 9.0, 9.0]) == 3
    assert model.weight.item() == pytest.approx((2 + 4 + 9) / 3)


def test_nothing_counts_before_learning_rates_have_fallen(model):
    options = OptimizerOptions(swa_enabled=True, swa_every=1, swa_start_frac=0.5)
    assert after_steps(model, options, [2.0, 4.0], scale=0.5) == 0
    assert model.weight.item() == 4.0


def test_without_an_average_the_weights_stay(model):
    assert after_steps(model, OptimizerOptions(), [2.0, 4.0]) == 0
    assert model.weight.item() == 4.0


def test_the_average_keeps_what_bf16_weights_cannot(model):
    model.to(torch.bfloat16)
    average = WeightAverage(model, OptimizerOptions(ema_decay=0.999))
    for step in range(1, 101):
        with_weight(model, 2.0)
        average.update(step, 1.0)
    assert average.mean[0].item() == pytest.approx(2 - 0.999**100, rel=1e-4)


@pytest.mark.parametrize("options", [{"ema_decay": 0.9}, {"swa_enabled": True, "swa_every": 1}])
def test_a_checkpoint_holds_the_average(model, options):
    begun = WeightAverage(model, OptimizerOptions(**options))
    with_weight(model, 3.0)
    begun.update(1, 0.1)
    resumed = WeightAverage(model, OptimizerOptions(**options))
    resumed.load_state_dict(begun.state_dict())
    with_weight(model, 7.0)
    for average in (begun, resumed):
        average.update(2, 0.1)
    assert resumed.mean == begun.mean and resumed.replace_weights() == 2
