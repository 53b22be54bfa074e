import io
import itertools
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from forked import run_together

from trainer import training_loop
from trainer.data.token_shards import shard_paths
from trainer.errors import TrainerError
from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.optimizer.parameter_groups import build_optimizers
from trainer.process_group import KEPT_GROUPS, join_process_group, leave_process_group
from trainer.recipe_checks import build_recipe
from trainer.run_log import RunLog
from trainer.training_loop import TrainingRun, train, warm_up

LEVERS = {
    "schedule.iterations": 10,
    "model.use_smeargate": True,
    "model.bigram_hash_buckets": 64,
    "model.bigram_hash_dim": 8,
    "model.orthogonal_init": True,
    "model.phased_resid_mix": True,
    "optimizer.muon_weight_decay": 0.02,
    "optimizer.adam_weight_decay": 0.01,
    "optimizer.grad_clip_norm": 0.3,
}
LOOPED = {
    "model.num_layers": 4,
    "model.num_loops": 1,
    "model.loop_start": 1,
    "model.loop_end": 2,
    "model.skip_gates_enabled": True,
    "model.parallel_start_layer": 3,
    "model.sparse_attn_gate_enabled": True,
    "model.smear_gate_enabled": True,
    "batch.pack_documents": True,
    "optimizer.newton_schulz": "polar_express",
    "optimizer.muon_row_normalize": True,
    "optimizer.grad_clip_norm": 0.3,
    "schedule.iterations": 10,
    "schedule.enable_looping_at": 0.35,
    "schedule.warmdown_frac": 0.8,
}
GROWING = {  # as #2014's sequences do: to 8 after two of ten steps, to 16 after seven
    "schedule.train_seq_schedule": "4@0.1,8@0.6,16@1",
    "schedule.seq_change_warmup_steps": 3,
}
LOSS = re.compile(r"train_loss:(\S+)")


def make_run(data, group, recipe):
    torch.manual_seed(3)
    model = GPT(recipe.model, num_positions=recipe.batch.row_tokens)
    scatters = recipe.optimizer.gradient_reduction == "reduce_scatter"
    return TrainingRun(
        recipe=recipe,
        group=group,
        log=RunLog(file=io.StringIO()),
        model=model,
        forward=model if scatters else group.replicate(model),
        optimizers=build_optimizers(model, recipe.optimizer, group, newton_schulz),
        train_paths=shard_paths(data / "datasets" / "tiny", "train"),
    )


def losses(run):
    return [float(loss) for loss in LOSS.findall(run.log.file.getvalue())]


def weights(run):
    return torch.cat([tensor.detach().flatten() for tensor in run.model.parameters()])


def no_validation(progress):
    raise AssertionError("validation data were asked for")


def test_training_lowers_the_loss_and_leaves_validation_alone(tiny_data, alone, tiny_settings):
    recipe = build_recipe(tiny_settings | {"schedule.iterations": 30})
    run = make_run(tiny_data, alone, recipe)
    batch = next(run.batches()).on(alone.device, recipe.batch.train_seq_len)
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


def test_loops_begin_on_time_and_stay(tiny_data, alone, tiny_settings):
    run = make_run(tiny_data, alone, build_recipe(tiny_settings | LOOPED))
    warm_up(run)
    train(run, no_validation)
    log = run.log.file.getvalue()
    assert "layer_loop:enabled step:4 encoder:[0, 1, 2] decoder:[1, 2, 3]" in log
    assert "\nwarmup_step:2/2\nloop_warmup_step:1/2\n" in log
    assert run.model.is_looped


def test_warming_up_with_loops_changes_nothing(tiny_data, alone, tiny_settings):
    recipe = build_recipe(tiny_settings | LOOPED)
    cold, warm = (make_run(tiny_data, alone, recipe) for _ in range(2))
    warm_up(warm)
    for run in (cold, warm):
        train(run, no_validation)
    assert torch.equal(weights(cold), weights(warm))


def test_every_stage_is_compiled_once_and_before_training(tiny_data, alone, tiny_settings):
    run = make_run(tiny_data, alone, build_recipe(tiny_settings | LOOPED | GROWING))
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(run.model, fullgraph=True, dynamic=False, backend=backend)
    run = replace(run, forward=compiled)
    warm_up(run)
    assert len(graphs) == 4
    train(run, no_validation)
    assert len(graphs) == 4


class Watched(torch.nn.Module):
    """A model that notes the tokens and the lengths of the sequences that it is shown."""

    def __init__(self, model):
        super().__init__()
        self.model, self.tokens, self.lengths = model, [], []

    def forward(self, input_ids, target_ids, *, boundaries):
        self.tokens.append(torch.cat((input_ids.flatten(), target_ids.flatten())))
        cuts = torch.arange(0, input_ids.numel() + 1, input_ids.size(1))
        self.lengths.append((cuts if boundaries is None else boundaries).diff().max().item())
        return self.model(input_ids, target_ids, boundaries=boundaries)


@pytest.mark.parametrize("is_packed", [False, True], ids=["dense", "packed"])
def test_sequences_grow_over_tokens_that_are_seen_once_and_in_order(
    tiny_data, alone, tiny_settings, is_packed
):
    settings = tiny_settings | {"schedule.iterations": 10, "batch.pack_documents": is_packed}
    seen = []
    for growing in ({}, GROWING):
        run = make_run(tiny_data, alone, build_recipe(settings | growing))
        watched = Watched(run.model)
        train(replace(run, forward=watched), no_validation)
        seen.append(watched)
    constant, grown = seen
    assert torch.equal(torch.cat(constant.tokens), torch.cat(grown.tokens))
    assert grown.lengths == 2 * [4] * 2 + 2 * [8] * 5 + 2 * [16] * 3
    log = run.log.file.getvalue()
    assert "growth_stage:seq_len:8 step:2\n" in log and "growth_stage:seq_len:16 step:7\n" in log


def test_the_average_takes_the_weights_place_at_the_end(tiny_data, alone, tiny_settings):
    ends = []
    for ema_decay in (0.0, 0.5, 0.999):
        recipe = build_recipe(tiny_settings | LOOPED | {"optimizer.ema_decay": ema_decay})
        run = make_run(tiny_data, alone, recipe)
        ends += [weights(run)] if not ends else []
        train(run, no_validation)
        ends.append(weights(run))
    start, raw, fast, slow = ends
    distances = [(end - start).norm() for end in (slow, fast, raw)]
    assert distances[0] < 0.05 * distances[1] < 0.05 * distances[2]


def join_as(rank, port):
    """This process as one of two."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    return join_process_group()


def train_in_a_process(rank, data, recipe, port, path):
    run = make_run(data, join_as(rank, port), recipe)
    train(run, no_validation)
    if rank == 0:
        torch.save({"weights": weights(run), "losses": losses(run)}, path)
    leave_process_group()


# The two differ by the order of fp32 sums alone: 2^-24 a sum, which ten steps make grow.
@pytest.mark.parametrize(
    "levers",
    [LEVERS | GROWING, LOOPED | GROWING | {"optimizer.gradient_reduction": "reduce_scatter"}],
    ids=["ladder", "modern"],
)
def test_two_processes_train_the_same_model_as_one(
    tiny_data, alone, tiny_settings, tmp_path, unused_port, levers
):
    both_train_the_same(
        build_recipe(tiny_settings | levers), tiny_data, alone, tmp_path, unused_port
    )


def test_two_processes_train_pr61_as_one(tiny_data, alone, tiny_form, tmp_path, unused_port):
    settings = tiny_form("pr61_v2") | {"schedule.iterations": 10, "schedule.val_loss_every": 0}
    both_train_the_same(build_recipe(settings), tiny_data, alone, tmp_path, unused_port)


def both_train_the_same(recipe, tiny_data, alone, tmp_path, unused_port):
    """Losses and weights of two processes against those of one."""
    arguments = (tiny_data, recipe, unused_port, tmp_path / "both")
    run_together(train_in_a_process, arguments)
    single = make_run(tiny_data, alone, recipe)
    initial = weights(single).clone()
    train(single, no_validation)
    both = torch.load(tmp_path / "both")
    assert losses(single) == pytest.approx(both["losses"], abs=2e-4)
    assert len(losses(single)) == recipe.schedule.iterations
    moved = (weights(single) - initial).norm()
    assert (both["weights"] - weights(single)).norm() < 1e-3 * moved


def a_clock(seconds_a_look):
    """Time that goes by when it is looked at, however busy the machine is."""
    looks = itertools.count()
    return SimpleNamespace(perf_counter=lambda: seconds_a_look * next(looks))


def watch_in_a_process(rank, data, recipe, port, folder):
    run = make_run(data, join_as(rank, port), recipe)
    training_loop.seconds_since_start = lambda: 0.0
    training_loop.time = a_clock(0.01 * (1 + rank))
    watched = Watched(run.model)
    train(replace(run, forward=watched), no_validation)
    torch.save(watched.lengths, folder / f"lengths_{rank}")
    leave_process_group()


def drop_the_model_in_a_process(rank, port):
    group = join_as(rank, port)
    replica = group.replicate(torch.nn.Linear(2, 2))
    leave_process_group()
    del replica
    [kept] = KEPT_GROUPS
    assert kept.size() == 2


def test_a_group_outlives_its_model_else_both_may_wait_for_the_interpreters_lock(unused_port):
    run_together(drop_the_model_in_a_process, (unused_port,))


def test_processes_that_are_not_equally_fast_grow_their_sequences_in_the_same_step(
    tiny_data, tiny_settings, tmp_path, unused_port
):
    timed = {"schedule.iterations": 10**6, "schedule.max_wallclock_seconds": 0.5}
    recipe = build_recipe(tiny_settings | GROWING | timed)
    arguments = (tiny_data, recipe, unused_port, tmp_path)
    run_together(watch_in_a_process, arguments)
    slow, fast = (torch.load(tmp_path / f"lengths_{rank}") for rank in (1, 0))
    assert slow == fast and set(slow) == {4, 8, 16}


def test_the_same_seed_gives_the_same_bits_again(tiny_data, alone, tiny_settings):
    runs = [make_run(tiny_data, alone, build_recipe(tiny_settings | LEVERS)) for _ in range(2)]
    for run in runs:
        train(run, no_validation)
    assert torch.equal(weights(runs[0]), weights(runs[1]))


def test_a_clock_that_covers_everything_leaves_less_to_the_loop(
    tiny_data, alone, tiny_settings, monkeypatch
):
    monkeypatch.setattr(training_loop, "seconds_since_start", lambda: 7.0)
    monkeypatch.setattr(training_loop, "time", a_clock(0.01))
    limits = {
        "schedule.iterations": 10**6,
        "schedule.max_wallclock_seconds": 7.5,
        "schedule.clock": "everything",
    }
    run = make_run(tiny_data, alone, build_recipe(tiny_settings | limits))
    assert train(run, no_validation).train_seconds == pytest.approx(0.5, abs=0.05)
    said = "clock:everything before_loop:7.000s loop_budget:0.500s"
    assert said in run.log.file.getvalue()


def test_a_clock_that_has_run_out_before_training_is_an_error(tiny_data, alone, tiny_settings):
    limits = {"schedule.max_wallclock_seconds": 0.1, "schedule.clock": "everything"}
    run = make_run(tiny_data, alone, build_recipe(tiny_settings | limits))
    with pytest.raises(TrainerError, match="leaves no time to train of max_wallclock_seconds 0.1"):
        train(run, no_validation)


def test_a_loss_that_is_no_number_stops_training_before_the_update(
    tiny_data, alone, tiny_settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    steep = {"optimizer.matrix_lr": 1e38, "optimizer.tied_embed_lr": 1e38}
    run = make_run(tiny_data, alone, build_recipe(tiny_settings | steep))
    with pytest.raises(
        TrainerError, match=r"step [23]: the training loss is (nan|inf); .* weights"
    ):
        train(run, no_validation)
    kept = torch.load(Path("diverged_rank0.pt"), weights_only=True)
    assert kept["step"] in (1, 2) and set(kept["weights"]) == set(run.model.state_dict())
