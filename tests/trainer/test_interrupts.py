"""Whenever and however a run that learns as it is scored is ended: the next command mends it."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

LEARNING_YAML = """
# pgolf-train learning.yaml
extends: pr1886
what: PR 1886 in tiny, a warm start, phases, calibration.
track: demo
device: {cpu_threads: 1}
batch: {train_batch_tokens: 256, train_seq_len: 32, micro_batches_per_step: 1, val_batch_size: 256}
model:
  {vocab_size: 320, num_layers: 4, model_dim: 32, num_heads: 2, num_kv_heads: 1,
   loop_start: 1, loop_end: 2, parallel_start_layer: 3}
schedule: {iterations: 20, warmup_steps: 1, train_log_every: 1}
quantization: {fit_total_bytes: 0}
evaluation:
  {ttt_lora_rank: 2, ttt_chunk_size: 2, ttt_eval_seq_len: 32, ttt_batch_size: 2,
   phased_ttt_prefix_docs: 2, global_ttt_chunk_tokens: 64}
"""
PLACES = {
    "warm-up": "model_params:",
    "training": "step:3/",
    "calibration": "phase:training ",
    "packing": "gptq:collected ",
    "learning while it is scored": "eval_mode:test_time_training ",
}
HURRIED_SECONDS = 0.3
"""From the last line before scoring to its midst."""


@pytest.fixture(scope="module")
def command(tmp_path_factory, tiny_data):
    """Start or finish the same run in a folder: it has its own place for temporary files."""
    recipe = tmp_path_factory.mktemp("recipe") / "learning.yaml"
    recipe.write_text(LEARNING_YAML.lstrip())

    def begin(folder, *more):
        (folder / "tmp").mkdir(exist_ok=True)
        words = ["--data", tiny_data, "--seeds", "7", "--out", folder / "out", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "trainer", *map(str, [recipe, *words])],
            env=os.environ | {"TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    """The score of a run that nothing ended."""
    folder = tmp_path_factory.mktemp("undisturbed")
    _, errors = (run := command(folder)).communicate(timeout=400)
    assert run.returncode == 0, errors
    return score(folder)


def score(folder):
    log = (folder / "out" / "train_seed7.log").read_text()
    [last] = re.findall(r"^final_\S+_exact (.*)$", log, re.MULTILINE)[-1:]
    return last


def wait_for(line, folder, run):
    deadline = time.monotonic() + 300
    log = folder / "out" / "train_seed7.log.partial"
    while not (log.exists() and line in log.read_text(errors="replace")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline, f"never said {line}"
        time.sleep(0.005)


def gone(processes):
    """Whether all have ended; what was killed takes a moment to go."""
    _, alive = psutil.wait_procs(processes, timeout=60)
    return not alive


@pytest.mark.slow  # what mends each place has its own test in test_launcher.py
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_was_ended_anywhere_goes_on_to_the_same_score(
    command, undisturbed, tmp_path, place, number
):
    run = command(tmp_path)
    wait_for(PLACES[place], tmp_path, run)
    if "learning" in place:
        time.sleep(HURRIED_SECONDS)
    children = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(number)
    _, errors = run.communicate(timeout=120)
    assert children and gone(children)
    assert run.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert "--resume" in errors.splitlines()[-1]
        assert not list((tmp_path / "tmp").glob("pgolf-train-*"))
    assert not list((tmp_path / "out").glob("*.log"))
    assert not (tmp_path / "out" / "submission.json").exists()
    _, errors = (resumed := command(tmp_path, "--resume")).communicate(timeout=400)
    assert resumed.returncode == 0, errors
    assert score(tmp_path) == undisturbed
    assert not list((tmp_path / "tmp").glob("pgolf-train-*"))
    assert not list((tmp_path / "out").rglob("*partial*"))
