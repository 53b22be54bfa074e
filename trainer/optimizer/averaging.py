"""Averages of the weights along the way, which replace them when training is over."""

from typing import Any

import torch
from torch import nn

from trainer.recipe import OptimizerOptions


class WeightAverage:
    """An exponential moving average from the first step on, or a mean over the end of a run.

    In fp32 whatever the weights are. EMA (#287): a becomes d a + (1 - d) w after each step, from
    the weights that training began with. SWA (#162): the mean of the weights after every
    `swa_every`-th step, once the learning rate is below `swa_start_frac` of itself.
    """

    def __init__(self, model: nn.Module, options: OptimizerOptions) -> None:
        self.options = options
        self.weights = [parameter.detach() for parameter in model.parameters()]
        self.num_averaged = 0
        self.mean = [weight.float().clone() for weight in self.weights]

    def update(self, step: int, learning_rate_scale: float) -> None:
        """Take in the weights after a step, if they count."""
        options = self.options
        if options.ema_decay > 0:
            self._move_towards_weights(1.0 - options.ema_decay)
        elif learning_rate_scale < options.swa_start_frac:
            if step % options.swa_every == 0:
                self._move_towards_weights(1.0 / (self.num_averaged + 1))

    def replace_weights(self) -> int:
        """Put the average in the weights' place; returns how many weights went into it."""
        if self.num_averaged > 0:
            torch._foreach_copy_(self.weights, self.mean)
        return self.num_averaged

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"mean": self.mean, "num_averaged": self.num_averaged}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from what a checkpoint kept."""
        self.num_averaged = state_dict["num_averaged"]
        self.mean = state_dict["mean"]

    def _move_towards_weights(self, share: float) -> None:
        weights = [weight.float() for weight in self.weights]
        torch._foreach_lerp_(self.mean, weights, share)
        self.num_averaged += 1


def weight_average(model: nn.Module, options: OptimizerOptions) -> WeightAverage | None:
    """The average that the recipe asks for, if it does."""
    if options.ema_decay == 0 and not options.swa_enabled:
        return None
    return WeightAverage(model, options)
