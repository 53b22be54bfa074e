"""Checkpoints: a run that was cut off goes on as if it had not been.

Each process keeps its own, since momentum is shared out among them. A checkpoint is written beside
the one before and takes its place only when all processes have theirs on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from trainer.errors import TrainerError
from trainer.process_group import ProcessGroup
from trainer.recipe import Recipe, recipe_settings


class Stateful(Protocol):
    """A model or an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Go on from that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a run had come."""

    step: int  # steps done
    train_seconds: float


def checkpoint_path(recipe: Recipe, group: ProcessGroup) -> Path | None:
    """Where this process's checkpoint lies; None where the recipe keeps none."""
    if recipe.schedule.checkpoint_every == 0 or not recipe.run.checkpoint_folder:
        return None
    return Path(recipe.run.checkpoint_folder) / f"rank_{group.rank}.pt"


def save_checkpoint(
    recipe: Recipe, group: ProcessGroup, parts: Mapping[str, Stateful], position: Position
) -> None:
    """Write a checkpoint, if the recipe keeps any and this step is due.

    Args:
        recipe: of the run.
        group: whose process this is.
        parts: what changes while training, by name.
        position: how far the run has come.
    """
    path = checkpoint_path(recipe, group)
    if path is None or position.step % recipe.schedule.checkpoint_every != 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    content = {
        "settings": run_settings(recipe),
        "world_size": group.world_size,
        "step": position.step,
        "train_seconds": position.train_seconds,
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    torch.save(content, partial)
    group.barrier()
    partial.replace(path)


def load_checkpoint(recipe: Recipe, group: ProcessGroup, parts: Mapping[str, Stateful]) -> Position:
    """Go on from this run's checkpoint, or from the beginning if there is none.

    Raises:
        TrainerError: the checkpoint is damaged, of another run, or of another step than those of
            the other processes.
    """
    path = checkpoint_path(recipe, group)
    position = Position(step=0, train_seconds=0.0)
    if path is not None and path.is_file():
        position = _load(path, recipe, group, parts)
    step = position.step
    if group.largest(step) != step or -group.largest(-step) != step:
        raise TrainerError(
            f"{path}: the processes' checkpoints are of different steps; "
            "delete the folder and start again"
        )
    return position


def _load(
    path: Path, recipe: Recipe, group: ProcessGroup, parts: Mapping[str, Stateful]
) -> Position:
    mend = f"delete {path.parent} and start again"
    try:
        content = torch.load(path, map_location=group.device, weights_only=True)
        of_this_run = (content["settings"], content["world_size"]) == (
            run_settings(recipe),
            group.world_size,
        )
        if of_this_run:
            for name, part in parts.items():
                part.load_state_dict(content["parts"][name])
    except Exception as error:  # the reader raises errors of many kinds, pickle's own among them
        first_line = str(error).partition("\n")[0]
        raise TrainerError(f"{path}: the checkpoint is damaged ({first_line}); {mend}") from None
    if not of_this_run:
        raise TrainerError(f"{path}: is of another recipe, seed or number of processes; {mend}")
    return Position(step=content["step"], train_seconds=content["train_seconds"])


def run_settings(recipe: Recipe) -> dict[str, object]:
    """What a run must share with its checkpoint: all but where things lie."""
    places = ("run.run_id", "run.checkpoint_folder", "run.data_path", "run.tokenizer_path")
    return {path: value for path, value in recipe_settings(recipe).items() if path not in places}
