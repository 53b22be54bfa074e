"""What a submission's folder is to hold, and what its files are called."""

from dataclasses import dataclass
from pathlib import Path

from trainer.recipe_file import ResolvedRecipe

SCRIPT_NAME = "train_gpt.py"
READABLE_NAME = "train_gpt_readable.py"  # beside a packed script
METRICS_NAME = "metrics.jsonl"
FIGURE_NAME = "training.svg"
CONTRACT_NAME = "pgolf.yaml"  # written with the script, so it marks a folder as one of ours


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderRequest:
    """What is to be written, and by whom."""

    resolved: ResolvedRecipe
    folder: Path
    dataset: str  # name of the data set's folder
    tokenizer: str  # name of the tokenizer's file
    num_gpus: int | None  # None: no torchrun
    is_packed: bool  # the script is compressed, with its readable source beside it
    author: str
    github_id: str
    date: str  # ISO

    @property
    def launch(self) -> str:
        if self.num_gpus is None:
            return f"python {SCRIPT_NAME}"
        return f"torchrun --standalone --nproc_per_node={self.num_gpus} {SCRIPT_NAME}"
