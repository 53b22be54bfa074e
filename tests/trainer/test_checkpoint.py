import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forked import run_together

from trainer.checkpoint import file_name, last_checkpoint
from trainer.data.token_shards import shard_paths
from trainer.errors import PausedError, TrainerError
from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.process_group import ProcessGroup, join_process_group, leave_process_group
from trainer.recipe_checks import build_recipe
from trainer.run_log import RunLog
from trainer.training_loop import TrainingRun, seconds_since_start, train

KEYS = ("train_time", "before_loop", "loop_budget")


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
    with pytest.raises(TrainerError, match="is of another recipe or seed"):
        train(make_run(tiny_data, alone, other), never)


def group_of(world_size):
    return ProcessGroup(rank=0, world_size=world_size, device=torch.device("cpu"))


def keep_for(folder, step, *names):
    (folder / f"step_{step}").mkdir(parents=True)
    for name in names:
        (folder / f"step_{step}" / name).touch()


def test_a_step_that_some_processes_had_not_kept_when_they_were_killed_does_not_count(recipe):
    folder = Path(recipe.run.checkpoint_folder)
    every = [file_name(rank, 8) for rank in range(8)]
    keep_for(folder, 90, *every)
    keep_for(folder, 100, *every[:3], "rank_3_of_8.partial")
    assert last_checkpoint(recipe, group_of(8)).name == "step_90"
    keep_for(folder, 110, *every)
    assert last_checkpoint(recipe, group_of(8)).name == "step_110"


def test_another_number_of_processes_does_not_begin_again_unasked(recipe):
    keep_for(Path(recipe.run.checkpoint_folder), 90, "rank_0_of_2.pt", "rank_1_of_2.pt")
    with pytest.raises(TrainerError, match="holds rank_0_of_2.pt, but 8 process"):
        last_checkpoint(recipe, group_of(8))


def trained_in_parts(data, group, recipe):
    """The last of as many runs as it takes, each given no time beyond its first step."""
    hasty = replace(recipe, run=replace(recipe.run, stop_after_seconds=1e-6))
    while True:
        run = make_run(data, group, hasty)
        try:
            train(run, never)
            return run
        except PausedError:
            assert "paused:step:" in run.log.file.getvalue().splitlines()[-1]


GROWING = {"train_seq_schedule": "4@0.2,8@0.5,16@1", "seq_change_warmup_steps": 3}


@pytest.mark.parametrize("growth", [{}, GROWING], ids=["constant", "growing"])
def test_a_run_in_parts_ends_as_one_that_never_paused(recipe, tiny_data, alone, growth):
    recipe = replace(recipe, schedule=replace(recipe.schedule, **growth))
    elsewhere = replace(recipe, run=replace(recipe.run, checkpoint_folder=""))
    whole = make_run(tiny_data, alone, elsewhere)
    train(whole, never)
    parted = trained_in_parts(tiny_data, alone, recipe)
    assert list(losses(parted)) == ["step:8"]
    for mine, theirs in zip(parted.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def train_twice_in_a_process(rank, data, recipe, port):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    test_a_run_in_parts_ends_as_one_that_never_paused(recipe, data, join_process_group(), GROWING)
    leave_process_group()


def test_two_processes_in_parts_end_as_two_that_never_paused(recipe, tiny_data, unused_port):
    sharded = replace(
        recipe.optimizer, gradient_reduction="reduce_scatter", ema_decay=0.9, grad_clip_norm=0.3
    )
    arguments = (tiny_data, replace(recipe, optimizer=sharded), unused_port)
    run_together(train_twice_in_a_process, arguments)
    assert len(list(Path(recipe.run.checkpoint_folder).glob("step_7/rank_*_of_2.pt"))) == 2


@pytest.mark.parametrize("clock", ["loop", "everything"])
def test_the_clock_counts_what_every_part_took(recipe, tiny_data, alone, clock):
    schedule = replace(recipe.schedule, val_loss_every=0, max_wallclock_seconds=1e6, clock=clock)
    began_seconds = seconds_since_start()
    run = trained_in_parts(tiny_data, alone, replace(recipe, schedule=schedule))
    text = run.log.file.getvalue()
    said = {key: float(re.search(rf"{key}:([\d.]+)", text)[1]) for key in KEYS}
    assert said["train_time"] > 0
    assert said["before_loop"] >= 8 * began_seconds
    counted = said["before_loop"] if clock == "everything" else 0.0
    assert said["loop_budget"] == pytest.approx(1e6 - counted, abs=0.01)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_one_clear_error(recipe, tiny_data, alone, content):
    cut_run(tiny_data, alone, recipe)
    path = last_checkpoint(recipe, alone) / file_name(0, 1)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(TrainerError, match="the checkpoint is damaged .* delete"):
        train(make_run(tiny_data, alone, recipe), never)


def test_no_checkpoint_is_kept_where_none_is_asked_for(recipe, tiny_data, alone):
    never_due = replace(recipe, schedule=replace(recipe.schedule, checkpoint_every=0))
    cut_run(tiny_data, alone, never_due)
    assert not Path(recipe.run.checkpoint_folder).exists()


def test_the_command_goes_on_where_it_was_interrupted(tiny_yaml, tiny_data, tmp_path):
    words = [tiny_yaml, "--data", tiny_data, "--out", tmp_path / "out"]
    words += ["--set", "ITERATIONS=1000000", "--set", "CHECKPOINT_EVERY=5"]
    command = [sys.executable, "-m", "trainer", *map(str, words)]
    interrupt_when_it_says("seed 1337 | step:9/", command)
    interrupt_when_it_says("seed 1337 | resumed:step:", [*command, "--resume"])


def interrupt_when_it_says(text, command):
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = next((line for line in process.stderr if text in line), None)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert line and process.returncode == 130
