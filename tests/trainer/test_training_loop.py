import os
import socket

import pytest
import torch
import torch.multiprocessing

from trainer.data.token_shards import shard_paths
from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.process_group import join_process_group, leave_process_group
from trainer.recipe import build_recipe
from trainer.run_log import RunLog
from trainer.training_loop import TrainingRun, train, warm_up


def make_run(data, group, recipe):
    torch.manual_seed(3)
    model = GPT(recipe.model, num_positions=16)
    return TrainingRun(
        recipe=recipe,
        group=group,
        log=RunLog(file=None),
        model=model,
        forward=group.replicate(model),
        optimizers=build_optimizers(model, recipe.optimizer, group, newton_schulz),
        train_paths=shard_paths(data / "datasets" / "tiny", "train"),
    )


def weights(run):
    return torch.cat([tensor.detach().flatten() for tensor in run.model.parameters()])


def no_validation(progress):
    raise AssertionError("validation data were asked for")


def test_training_lowers_the_loss_and_leaves_validation_alone(tiny_data, alone, tiny_settings):
    recipe = build_recipe(tiny_settings | {"schedule.iterations": 30})
    run = make_run(tiny_data, alone, recipe)
    batch = next(run.batches())
    before = run.forward(batch.input_ids, batch.target_ids).mean().item()
    progress = train(run, no_validation)
    after = run.forward(batch.input_ids, batch.target_ids).mean().item()
    assert progress.step == 30 and after < before - 0.2


def test_warming_up_changes_nothing(tiny_data, alone, tiny_recipe):
    cold, warm = (make_run(tiny_data, alone, tiny_recipe) for _ in range(2))
    warm_up(warm)
    assert torch.equal(weights(cold), weights(warm))
    for run in (cold, warm):
        train(run, no_validation)
    assert torch.equal(weights(cold), weights(warm))


def test_training_stops_when_the_time_is_up(tiny_data, alone, tiny_settings):
    limits = {"schedule.iterations": 10**6, "schedule.max_wallclock_seconds": 0.5}
    run = make_run(tiny_data, alone, build_recipe(tiny_settings | limits))
    progress = train(run, no_validation)
    assert progress.train_seconds >= 0.5 and 1 <= progress.step < 10**6


def test_validation_comes_when_the_recipe_asks_and_after_the_last_step(
    tiny_data, alone, tiny_settings
):
    steps = []
    asked = {"schedule.iterations": 5, "schedule.val_loss_every": 2}
    run = make_run(tiny_data, alone, build_recipe(tiny_settings | asked))
    train(run, lambda progress: steps.append(progress.step))
    assert steps == [0, 2, 4, 5]


def train_in_a_process(rank, data, recipe, port, path):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    run = make_run(data, join_process_group(), recipe)
    train(run, no_validation)
    if rank == 0:
        torch.save(weights(run), path)
    leave_process_group()


@pytest.fixture
def unused_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_processes_train_the_same_model_as_one(
    tiny_data, alone, tiny_recipe, tmp_path, unused_port
):
    arguments = (tiny_data, tiny_recipe, unused_port, tmp_path / "weights")
    torch.multiprocessing.spawn(train_in_a_process, arguments, nprocs=2)
    single = make_run(tiny_data, alone, tiny_recipe)
    initial = weights(single).clone()
    train(single, no_validation)
    both = torch.load(tmp_path / "weights")
    assert (both - weights(single)).norm() < 1e-3 * (weights(single) - initial).norm()
