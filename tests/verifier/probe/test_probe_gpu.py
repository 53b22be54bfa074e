"""The rung on a GPU, with the demo's script: evaluation apart, and heard from inside."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from verifier.cli import cli
from verifier.probe import climb as rung

DEMO = Path(__file__).parents[3] / "submissions" / "demo"
pytestmark = pytest.mark.gpu


@pytest.fixture
def climb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Climb with the tapes of some kinds, one of each: each costs the start of CUDA, some 8 s."""

    def call(folder: Path, kinds: set[str]) -> dict:
        drawn = rung.tapes

        def few(*inputs):
            one_of_each = {variant.kind: variant for variant in drawn(*inputs)}
            return tuple(v for kind, v in one_of_each.items() if kind in kinds)

        monkeypatch.setattr(rung, "tapes", few)
        words = ["verify", folder, "--track", "demo", "--rung", "probe", "--format", "json", "-q"]
        words += ["--env", "TORCH_COMPILE=never", "--out", tmp_path / "run"]
        result = CliRunner().invoke(cli, list(map(str, words)))
        assert result.stdout, result.output
        [log] = (tmp_path / "run").glob("seed_*/stdout.log")
        assert "device:cuda" in log.read_text()
        return json.loads(result.stdout)

    return call


def test_the_demos_script_passes_the_probes_on_a_gpu(climb):
    verdict = climb(DEMO, {"base", "repeat", "spliced", "poison"})
    probe = verdict["probe"]
    assert probe["not_evaluated"] is None and verdict["verdict"] != "rejected"
    assert {move["kind"] for move in probe["moves"]} == {"repeat", "spliced", "poison"}
    assert probe["noise_nats"] < 0.05
    assert probe["ledger"]["num_scored"] == probe["num_targets"]


def test_the_instrument_hears_the_demos_script_on_a_gpu(climb, tmp_path):
    shutil.copytree(DEMO, folder := tmp_path / "whole")
    (folder / "pgolf.yaml").unlink()
    verdict = climb(folder, {"base", "repeat", "spliced", "flip"})
    assert verdict["probe"]["ledger"]["num_scored"] == verdict["probe"]["num_targets"]
    assert verdict["verdict"] != "rejected"
