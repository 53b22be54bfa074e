"""The rung on a GPU, with the demo's script: evaluation apart, and heard from inside."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[3] / "submissions" / "demo"


def climb(folder: Path, out: Path) -> dict:
    words = ["verify", folder, "--track", "demo", "--rung", "probe", "--format", "json", "-q"]
    words += ["--env", "TORCH_COMPILE=never"]  # compiling anew takes 20 s in each of 15 evaluations
    command = [sys.executable, "-m", "verifier", *map(str, words), "--out", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.gpu
def test_the_demos_script_passes_the_probes_on_a_gpu(tmp_path):
    verdict = climb(DEMO, tmp_path / "run")
    assert verdict["probe"]["not_evaluated"] is None and verdict["verdict"] != "rejected"
    assert verdict["probe"]["noise_nats"] < 0.05


@pytest.mark.gpu
def test_the_instrument_hears_the_demos_script_on_a_gpu(tmp_path):
    folder = tmp_path / "whole"
    shutil.copytree(DEMO, folder)
    (folder / "pgolf.yaml").unlink()
    verdict = climb(folder, tmp_path / "run")
    assert verdict["probe"]["ledger"]["num_scored"] == verdict["probe"]["num_targets"]
    assert verdict["verdict"] != "rejected"
