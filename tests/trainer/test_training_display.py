import io
import math

import pytest
from rich.console import Console

from trainer.training_display import TrainingDisplay, Workload, peak_flops, predicted_loss

LINES = [
    "device:cuda NVIDIA H100 80GB HBM3 threads:8",
    "world_size:2 grad_accum_steps:4",
    "phase:warm_up seconds:0.1",
    "clock:loop before_loop:3.100s loop_budget:1.000s",
    "step:5/40 train_loss:6.5432 train_time:250ms step_avg:50.00ms",
    "phase:training seconds:2.0",
]
WORKLOAD = Workload(tokens_per_step=1000, flops_per_token=9.89e9)


def shown(console):
    with TrainingDisplay([7, 8], WORKLOAD, console) as display:
        for line in LINES:
            display(8, line)
            console.file.write("|")
            display._bar.refresh()
    return console.file.getvalue()


def test_on_a_terminal_one_line_says_how_far_the_seed_is():
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    text = shown(console)
    words = ("seed 8 (2/2)", "5/40  loss 6.5432  20,000 tokens/s  MFU 10%", "packing")
    assert all(word in text for word in words), text


def test_the_bar_goes_by_the_time_limit_where_that_ends_the_run():
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    with TrainingDisplay([8], WORKLOAD, console) as display:
        for line in LINES[:-1]:
            display(8, line)
        assert display._bar.tasks[0].completed == pytest.approx(0.25)


def test_the_bar_begins_anew_while_a_run_learns_from_what_it_scored():
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    with TrainingDisplay([8], WORKLOAD, console) as display:
        for line in (*LINES, "ttt:scored 30/120 loss_so_far:2.7654 seconds:11"):
            display(8, line)
        task = display._bar.tasks[0]
    assert task.completed == 0.25 and task.fields["state"] == "evaluating  loss 2.7654 so far"


def test_anywhere_else_the_runs_own_lines_are_shown_whole():
    text = shown(Console(file=io.StringIO(), width=20))
    assert all(f"seed 8 | {line}\n" in text for line in LINES)


def test_quiet_shows_nothing():
    assert shown(Console(file=io.StringIO(), quiet=True)) == "|" * len(LINES)


def test_a_loss_that_falls_with_the_logarithm_is_predicted_exactly():
    losses = [(step, 8.0 - 0.5 * math.log(step)) for step in (1, 2, 50, 100, 150, 200)]
    assert predicted_loss(losses, 1000) == pytest.approx(8.0 - 0.5 * math.log(1000))
    assert predicted_loss(losses[:3], 1000) is None
    assert predicted_loss(losses, 200) is None


def test_gpus_that_are_not_known_have_no_peak():
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA GeForce RTX 4090") is None
