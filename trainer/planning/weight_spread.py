"""How far apart the weights of a recipe lie once it is trained, from its rates and steps alone.

The spread follows a random walk whose steps are the optimizer's: a Muon step moves a weight by
lr / sqrt(max(R, C)) * sqrt(max(1, R / C)) on average (R rows, C columns), an Adam step by lr;
consecutive steps agree more the higher the momentum, and weight decay pulls back.
"""

import math
from collections.abc import Callable
from functools import cache

from torch import Tensor

from trainer.optimizer.schedules import learning_rate_scale, muon_momentum
from trainer.recipe import OptimizerOptions, Recipe, matches_any

# How much further a weight gets than by steps that know nothing of each other. Fitted to one run of
# the demo recipe.
MUON_PERSISTENCE = 0.68  # times sqrt((1 + momentum) / (1 - momentum))
ADAM_PERSISTENCE = 0.7


def trained_spread(name: str, shape: Tensor, recipe: Recipe) -> float:
    """The standard deviation of a matrix's weights after training."""
    is_control = matches_any(name, recipe.optimizer.control_tensor_name_patterns)
    if name.startswith("blocks.") and not is_control:
        return muon_spread(shape.shape[0], math.prod(shape.shape[1:]), recipe)
    return adam_spread(recipe)


@cache
def muon_spread(rows: int, columns: int, recipe: Recipe) -> float:
    """The spread of what Muon trains."""
    options = recipe.optimizer
    per_lr = math.sqrt(max(1.0, rows / columns) / max(rows, columns))
    return random_walk(
        recipe,
        step=lambda index: per_lr * options.matrix_lr * muon_persistence(options, index),
        decay=options.muon_weight_decay * options.matrix_lr,
        initial=1 / math.sqrt(3 * columns),
    )


@cache
def adam_spread(recipe: Recipe) -> float:
    """The spread of the embedding."""
    options = recipe.optimizer
    lr = options.tied_embed_lr if recipe.model.tie_embeddings else options.embed_lr
    return random_walk(
        recipe,
        step=lambda index: ADAM_PERSISTENCE * lr,
        decay=options.embed_weight_decay * lr,
        initial=recipe.model.tied_embed_init_std,
    )


def muon_persistence(options: OptimizerOptions, step: int) -> float:
    """How much further Muon gets by a step than one that knows nothing of those before it."""
    momentum = muon_momentum(options, step)
    return MUON_PERSISTENCE * math.sqrt((1 + momentum) / (1 - momentum))


def random_walk(
    recipe: Recipe, *, step: Callable[[int], float], decay: float, initial: float
) -> float:
    """The spread after all iterations of steps that shrink in the warm-down."""
    schedule = recipe.schedule
    variance = initial**2
    for index in range(schedule.iterations):
        scale = learning_rate_scale(schedule, index, 0.0, math.inf)
        variance = variance * (1 - scale * decay) ** 2 + (scale * step(index)) ** 2
    return math.sqrt(variance)
