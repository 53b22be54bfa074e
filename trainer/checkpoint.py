"""Checkpoints: a run that was cut off goes on as if it had not been.

Each process keeps its own, since momentum is shared out among them. Those of a step lie in a folder
of its own, and older ones are deleted only when it is complete: whenever a run is cut off, there is
a step of which every process has its checkpoint.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from trainer.errors import TrainerError
from trainer.process_group import ProcessGroup
from trainer.recipe import Recipe, recipe_settings
from trainer.run_log import written_whole


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
    before_seconds: float  # of start and warm-up, in all the processes that it took

    def __str__(self) -> str:
        return f"step:{self.step} train_time:{1000.0 * self.train_seconds:.0f}ms"


def save_checkpoint(
    recipe: Recipe, group: ProcessGroup, parts: Mapping[str, Stateful], position: Position
) -> None:
    """Write a checkpoint, if the recipe says where; those of earlier steps are deleted.

    Args:
        recipe: of the run.
        group: whose process this is.
        parts: what changes while training, by name.
        position: how far the run has come.

    Raises:
        TrainerError: the disk refused; the checkpoints of the step before are kept.
    """
    if not recipe.run.checkpoint_folder:
        return
    folder = Path(recipe.run.checkpoint_folder, f"step_{position.step}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(group.rank, group.world_size)
    content = {
        "settings": run_settings(recipe),
        "step": position.step,
        "train_seconds": position.train_seconds,
        "before_seconds": position.before_seconds,
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    with written_whole(path) as part:
        torch.save(content, part)
    group.barrier()
    if group.is_master:
        for other in set(folder.parent.glob("step_*")) - {folder}:
            shutil.rmtree(other)


def file_name(rank: int, world_size: int) -> str:
    """What a process's checkpoint is called."""
    return f"rank_{rank}_of_{world_size}.pt"


def load_checkpoint(recipe: Recipe, group: ProcessGroup, parts: Mapping[str, Stateful]) -> Position:
    """Go on from this run's checkpoint, or from the beginning if there is none.

    Raises:
        TrainerError: the checkpoint is damaged, or of another run.
    """
    folder = last_checkpoint(recipe, group) if recipe.run.checkpoint_folder else None
    if folder is None:
        return Position(step=0, train_seconds=0.0, before_seconds=0.0)
    return _load(folder / file_name(group.rank, group.world_size), recipe, group, parts)


def last_checkpoint(recipe: Recipe, group: ProcessGroup) -> Path | None:
    """The folder of the last step of which every process has its checkpoint; None without any.

    Raises:
        TrainerError: there are only those of another number of processes.
    """
    root = Path(recipe.run.checkpoint_folder)
    names = [file_name(rank, group.world_size) for rank in range(group.world_size)]
    folders = sorted(root.glob("step_*"), key=lambda folder: int(folder.name.partition("_")[2]))
    complete = [folder for folder in folders if all((folder / name).is_file() for name in names)]
    if complete:
        return complete[-1]
    if others := sorted({path.name for path in root.glob("*/*.pt")} - set(names)):
        raise TrainerError(
            f"{root}: holds {others[0]}, but {group.world_size} process(es) want to go on; start "
            "as many as before, or delete the folder and start again"
        )
    return None


def _load(
    path: Path, recipe: Recipe, group: ProcessGroup, parts: Mapping[str, Stateful]
) -> Position:
    mend = f"delete {path.parent.parent} and start again"
    try:
        content = torch.load(path, map_location=group.device, weights_only=True)
        position = Position(
            step=content["step"],
            train_seconds=content["train_seconds"],
            before_seconds=content["before_seconds"],
        )
        of_this_run = content["settings"] == run_settings(recipe)
        if of_this_run:
            for name, part in parts.items():
                part.load_state_dict(content["parts"][name])
    except Exception as error:  # the reader raises errors of many kinds, pickle's own among them
        first_line = str(error).partition("\n")[0]
        raise TrainerError(f"{path}: the checkpoint is damaged ({first_line}); {mend}") from None
    if not of_this_run:
        raise TrainerError(f"{path}: is of another recipe or seed; {mend}")
    return position


def run_settings(recipe: Recipe) -> dict[str, object]:
    """What a run must share with its checkpoint: all but where things lie and when it pauses."""
    return {
        path: value
        for path, value in recipe_settings(recipe).items()
        if not path.startswith("run.") or path == "run.seed"
    }
