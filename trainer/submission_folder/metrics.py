"""The course of a run as data: one JSON line a logged step, read off the seeds' logs."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.optimizer.schedules import learning_rate_scale
from trainer.recipe import Recipe

STEP_LINE = re.compile(r"^step:(\d+)/\d+ train_loss:(\S+) train_time:(\d+)ms", re.MULTILINE)
BUDGET_LINE = re.compile(r"^clock:\S+ before_loop:\S+ loop_budget:([\d.]+)s", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMetrics:
    """A logged step."""

    seed: int
    step: int
    train_loss: float  # nats a token
    train_seconds: float
    step_ms: float  # a step, on average since the one logged before
    learning_rate_scale: float  # of the step, 1 at its highest


def read_metrics(log: Path, seed: int, recipe: Recipe) -> Iterator[StepMetrics]:
    """The logged steps of a seed's log; of one that was taken twice, after a cut, the last."""
    text = log.read_text(encoding="utf-8", errors="replace")
    budget = BUDGET_LINE.search(text)
    budget_seconds = float(budget[1]) if budget else float("inf")
    last_step, last_ms = 0, 0
    by_step = {int(found[1]): found for found in STEP_LINE.finditer(text)}
    for _, found in sorted(by_step.items()):
        step, train_ms = int(found[1]), int(found[3])
        step_ms = (train_ms - last_ms) / max(step - last_step, 1)
        yield StepMetrics(
            seed=seed,
            step=step,
            train_loss=float(found[2]),
            train_seconds=train_ms / 1000.0,
            step_ms=step_ms,
            learning_rate_scale=learning_rate_scale(
                recipe.schedule, step - 1, (train_ms - step_ms) / 1000.0, budget_seconds
            ),
        )
        last_step, last_ms = step, train_ms


def metrics_lines(metrics: Iterable[StepMetrics]) -> str:
    """The metrics as JSON lines."""
    return "".join(json.dumps(asdict(one)) + "\n" for one in metrics)
