"""The rung on a GPU, with the demo's script as it ships."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[3] / "submissions" / "demo"


@pytest.mark.gpu
def test_the_demos_script_stays_above_the_floor_on_a_gpu(tmp_path):
    words = ["verify", DEMO, "--track", "demo", "--rung", "floor", "--format", "json", "-q"]
    command = [sys.executable, "-m", "verifier", *map(str, words), "--out", str(tmp_path / "run")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.stdout, ran.stderr
    verdict = json.loads(ran.stdout)
    assert verdict["floor"]["not_evaluated"] is None
    assert verdict["floor"]["total_odds_nats"] < 0 and verdict["verdict"] != "rejected"
