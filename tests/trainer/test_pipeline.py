from dataclasses import replace
from pathlib import Path

import pytest

from trainer.data.run_data import DataLocation
from trainer.errors import LaunchError, RecipeError
from trainer.pipeline import SubmissionRequest, make_untrained, missing_gpus
from trainer.recipe_file import load_recipe
from trainer.submission_folder.folder_request import FolderRequest


def untrained(folder, fit_total_bytes):
    """Ask for a folder whose script has at least 1,000 characters of two bytes each."""
    setting = ("a test", str(fit_total_bytes))
    resolved = load_recipe("best", {"quantization.fit_total_bytes": setting})
    request = SubmissionRequest(
        folder=FolderRequest(
            resolved=replace(resolved, what="é" * 1_000),
            folder=folder,
            dataset="fineweb",
            tokenizer="fineweb.model",
            num_gpus=8,
            is_packed=False,
            author="unknown",
            github_id="unknown",
            date="2026-11-23",
        ),
        data=DataLocation(dataset=Path("unused"), tokenizer=Path("unused")),
        seeds=[42],
        overwrite=False,
        resume=False,
        stop_after_seconds=None,
    )
    make_untrained(request, lambda _: None)
    return folder / "train_gpt.py"


def test_a_total_that_the_script_takes_alone_is_refused_by_its_bytes(tmp_path):
    script = untrained(tmp_path / "large", 999_999)
    num_bytes, num_characters = script.stat().st_size, len(script.read_text(encoding="utf-8"))
    assert num_bytes - num_characters >= 1_000
    with pytest.raises(RecipeError, match=f"leaves nothing for the artifact beside {num_bytes:,} "):
        untrained(tmp_path / "small", num_bytes - 500)


@pytest.mark.parametrize(("wanted", "found"), [(0, 0), (0, 8), (1, 1), (2, 8)])
def test_nothing_is_said_where_there_are_gpus_enough(wanted, found):
    assert missing_gpus(wanted, found) is None


def test_a_machine_without_gpus_is_told_and_used_all_the_same():
    assert (
        missing_gpus(2, 0)
        == "--gpus 2: this machine has no GPU, so that its CPU does the work of all"
    )


def test_too_few_gpus_are_refused_before_anything_is_started():
    with pytest.raises(LaunchError, match="--gpus 8: this machine has 2; lower it"):
        missing_gpus(8, 2)
