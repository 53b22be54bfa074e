import json
from dataclasses import replace

import pytest

from trainer.submission_folder.metrics import metrics_lines, read_metrics

LOG = """source step:9/9 train_loss:1 train_time:1ms
clock:loop before_loop:1.000s loop_budget:{budget}
step:1/40 train_loss:6.5 train_time:100ms step_avg:100.00ms
step:2/40 train_loss:6.0 train_time:150ms step_avg:75.00ms
step:12/40 train_loss:4.25 train_time:1150ms step_avg:95.83ms
final_int8_zlib_roundtrip_exact val_loss:4.0 val_bpb:1.5
"""


@pytest.fixture
def recipe(tiny_recipe):
    schedule = replace(tiny_recipe.schedule, iterations=40, warmdown_iters=60)
    return replace(tiny_recipe, schedule=schedule)


def test_each_logged_step_becomes_a_line(tmp_path, recipe):
    (tmp_path / "log").write_text(LOG.format(budget="none"))
    lines = metrics_lines(read_metrics(tmp_path / "log", 7, recipe)).splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 12]
    last = json.loads(lines[-1])
    assert (last["seed"], last["train_loss"], last["train_seconds"]) == (7, 4.25, 1.15)
    assert last["step_ms"] == 100.0 and last["learning_rate_scale"] == pytest.approx(29 / 60)


def test_a_step_that_was_taken_again_after_a_cut_counts_once(tmp_path, recipe):
    again = "step:2/40 train_loss:6.1 train_time:180ms step_avg:90.00ms\n"
    (tmp_path / "log").write_text(LOG.format(budget="none") + again)
    steps = {one.step: one.train_loss for one in read_metrics(tmp_path / "log", 7, recipe)}
    assert steps == {1: 6.5, 2: 6.1, 12: 4.25}


def test_under_a_time_limit_the_rate_follows_the_budget_that_the_log_names(tmp_path, recipe):
    timed = replace(recipe, schedule=replace(recipe.schedule, max_wallclock_seconds=3.0))
    (tmp_path / "log").write_text(LOG.format(budget="1.200s"))
    scales = [one.learning_rate_scale for one in read_metrics(tmp_path / "log", 7, timed)]
    assert scales[0] == 1.0 and scales[-1] < 0.5
