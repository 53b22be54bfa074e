import io
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from trainer.checkpoint import checkpoint_path
from trainer.data.token_shards import shard_paths
from trainer.errors import TrainerError
from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.recipe_checks import build_recipe
from trainer.run_log import RunLog
from trainer.training_loop import TrainingRun, train


class CutOffError(Exception):
    """Ends a run in the middle."""


def cut_off(progress):
    if progress.step == 5:
        raise CutOffError


def never(progress):
    pass


def make_run(data, group, recipe):
    torch.manual_seed(3)
    model = GPT(recipe.model, num_positions=16)
    return TrainingRun(
        recipe=recipe,
        group=group,
        log=RunLog(file=io.StringIO()),
        model=model,
        forward=model,
        optimizers=build_optimizers(model, recipe.optimizer, group, newton_schulz),
        train_paths=shard_paths(data / "datasets" / "tiny", "train"),
    )


def losses(run):
    lines = run.log.file.getvalue().splitlines()
    return {line.split("/")[0]: line.split()[1] for line in lines if line.startswith("step:")}


@pytest.fixture
def recipe(tiny_settings, tmp_path):
    settings = {
        "schedule.iterations": 8,
        "schedule.warmdown_iters": 5,
        "schedule.val_loss_every": 1,
        "schedule.checkpoint_every": 2,
        "run.checkpoint_folder": str(tmp_path / "checkpoints"),
    }
    return build_recipe(tiny_settings | settings)


def cut_run(data, group, recipe):
    with pytest.raises(CutOffError):
        train(make_run(data, group, recipe), cut_off)


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(recipe, tiny_data, alone):
    elsewhere = replace(recipe, run=replace(recipe.run, checkpoint_folder=""))
    whole = make_run(tiny_data, alone, elsewhere)
    train(whole, never)
    cut_run(tiny_data, alone, recipe)
    resumed = make_run(tiny_data, alone, recipe)
    train(resumed, never)
    assert "resumed:step:4 train_time:" in resumed.log.file.getvalue()
    assert list(losses(resumed)) == ["step:5", "step:6", "step:7", "step:8"]
    assert losses(resumed).items() <= losses(whole).items()
    for mine, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_another_recipes_checkpoint_is_refused(recipe, tiny_data, alone):
    cut_run(tiny_data, alone, recipe)
    other = replace(recipe, optimizer=replace(recipe.optimizer, matrix_lr=0.01))
    with pytest.raises(TrainerError, match="is of another recipe, seed or number of processes"):
        train(make_run(tiny_data, alone, other), never)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_one_clear_error(recipe, tiny_data, alone, content):
    cut_run(tiny_data, alone, recipe)
    path = checkpoint_path(recipe, alone)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(TrainerError, match="the checkpoint is damaged .* delete"):
        train(make_run(tiny_data, alone, recipe), never)


def test_no_checkpoint_is_kept_where_none_is_asked_for(recipe, alone):
    assert checkpoint_path(recipe, alone).name == "rank_0.pt"
    never_due = replace(recipe, schedule=replace(recipe.schedule, checkpoint_every=0))
    assert checkpoint_path(never_due, alone) is None


def test_the_command_goes_on_where_it_was_interrupted(tiny_yaml, tiny_data, tmp_path):
    words = [tiny_yaml, "--data", tiny_data, "--out", tmp_path / "out"]
    words += ["--set", "ITERATIONS=2000", "--set", "CHECKPOINT_EVERY=5"]
    command = [sys.executable, "-m", "trainer", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "out" / "checkpoints" / "seed_1337"
    deadline = time.monotonic() + 120
    while not (folder / "rank_0.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "seed 1337 | resumed:step:" in resumed.stderr
    assert not (tmp_path / "out" / "checkpoints").exists()
