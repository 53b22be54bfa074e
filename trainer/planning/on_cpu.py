"""What to say before a CPU does the work of a GPU."""

from collections.abc import Iterator

from trainer.optimizer.stages import stages
from trainer.planning.model_plan import training_flops_per_token
from trainer.recipe import Recipe, recipe_settings

CPU_FLOPS_PER_SECOND = 4e10
"""What eager training reaches on a core or two: 3.7e10 with `demo`, 4.4e10 with `best`'s shape."""
LONG_WARM_UP_SECONDS = 120
KERNEL_OPTIONS = ("model.fused_", "model.attention_backend")


def cpu_warnings(recipe: Recipe) -> Iterator[str]:
    """Options that a CPU leaves aside, and a warm-up of minutes, which no clock limits."""
    if idle := idle_options(recipe):
        yield f"no GPU here, and a CPU goes the plain way: no effect of {', '.join(idle)}"
    flops_per_token = training_flops_per_token(recipe.model, recipe.batch.train_seq_len)
    step_seconds = flops_per_token * recipe.batch.train_batch_tokens / CPU_FLOPS_PER_SECOND
    num_steps = recipe.schedule.warmup_steps * len(stages(recipe))
    if num_steps * step_seconds > LONG_WARM_UP_SECONDS:
        yield (
            f"no GPU here: a step takes a CPU about {step_seconds:,.0f} s, and warming up is "
            f"{num_steps} steps before the clock; to try a recipe in small lower "
            "batch.train_batch_tokens, model.model_dim, num_layers and schedule.warmup_steps"
        )


def idle_options(recipe: Recipe) -> list[str]:
    """The options that choose kernels, where they are not left at their defaults."""
    plain = recipe_settings(Recipe())
    return [
        path
        for path, value in recipe_settings(recipe).items()
        if path.startswith(KERNEL_OPTIONS) and value != plain[path]
    ]
