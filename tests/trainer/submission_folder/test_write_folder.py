"""Whatever cuts the writing of a folder off, no half of it passes for whole, and it goes on."""

import json
from pathlib import Path

import pytest

from trainer.errors import TrainerError
from trainer.recipe_file import load_recipe
from trainer.submission_folder import write_folder
from trainer.submission_folder.folder_request import FolderRequest
from trainer.submission_folder.seed_results import SeedResult
from trainer.submission_folder.write_folder import begin_folder, finish_folder

RESULT = SeedResult(
    seed=42,
    script_sha256="0" * 64,
    val_bpb=2.5,
    val_loss=4.0,
    num_tokens=1_000,
    total_bytes=300_000,
    train_seconds=10.0,
    eval_seconds=2.0,
    steps=100,
    hardware="1 x cpu",
    torch_version="2.9",
)


@pytest.fixture
def request_(tmp_path):
    return FolderRequest(
        resolved=load_recipe("demo", {}),
        folder=tmp_path / "out",
        dataset="jargon",
        tokenizer="jargon.model",
        num_gpus=None,
        is_packed=True,
        author="unknown",
        github_id="unknown",
        date="2026-11-23",
    )


def begin(request, *, resume=False, overwrite=False):
    begin_folder(request, "# A script.\n", overwrite=overwrite, resume=resume)


def cut_off_at(monkeypatch, owner, name, number):
    """Let a function be cut off half-way in its call of that number, from 0."""
    whole, calls = getattr(owner, name), iter(range(number + 1))

    def cut_off(*words, **options):
        if next(calls) == number:
            raise KeyboardInterrupt
        return whole(*words, **options)

    monkeypatch.setattr(owner, name, cut_off)


@pytest.mark.parametrize("number", range(1, 4))
def test_a_folder_whose_beginning_was_cut_off_is_gone_on_with(monkeypatch, request_, number):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off_at(patch, write_folder, "write_whole", number)
        begin(request_)
    begin(request_, resume=True)
    assert sorted(path.name for path in request_.folder.iterdir()) == [
        *("pgolf.yaml", "requirements.txt", "train_gpt.py", "train_gpt_readable.py")
    ]


@pytest.mark.parametrize("number", range(4))
def test_an_overwriting_that_was_cut_off_can_be_done_again(monkeypatch, request_, number):
    begin(request_)
    (request_.folder / "checkpoints").mkdir()
    (request_.folder / "train_seed42.log").touch()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off_at(patch, Path, "unlink", number)
        begin(request_, overwrite=True)
    begin(request_, overwrite=True)
    assert not (request_.folder / "train_seed42.log").exists()


@pytest.mark.parametrize("number", range(4))
def test_no_claim_stands_in_a_folder_that_was_not_finished(monkeypatch, request_, number):
    begin(request_)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off_at(patch, write_folder, "write_whole", number)
        finish_folder(request_, [RESULT], [], 2_000)
    assert not (request_.folder / "submission.json").exists()
    finish_folder(request_, [RESULT], [], 2_000)
    assert json.loads((request_.folder / "submission.json").read_text())["val_bpb"] == 2.5


def test_a_file_that_a_full_disk_cuts_off_is_not_there(monkeypatch, request_):
    begin(request_)
    before = (request_.folder / "train_gpt.py").read_text()

    def full(path, text, **options):
        path.write_bytes(text.encode()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(TrainerError, match="No space left on device.*make room"):
        finish_folder(request_, [RESULT], [], 2_000)
    assert (request_.folder / "train_gpt.py").read_text() == before
    assert not (request_.folder / "README.md").exists()
    assert not list(request_.folder.glob("*.partial"))
