"""The rung on a GPU, with the demo's script: heard from inside, and evaluation apart.

Every run starts CUDA anew, some 8 s: the first test has none, the second four, the third six, and
one or two more where something moved.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from click.testing import CliRunner

from verifier.cli import cli
from verifier.probe import climb as rung
from verifier.probe.tapes.variants import Sample, Variant, take_apart
from verifier.probe.watched.instrument.sitecustomize import HEADER, Record, listening

DEMO = Path(__file__).parents[3] / "submissions" / "demo"
pytestmark = pytest.mark.gpu


@pytest.fixture
def climb(tmp_path: Path, demo_data: Path, monkeypatch: pytest.MonkeyPatch):
    """Climb with few tapes, one change among them; gives the verdict, and all that it says."""

    def call(folder: Path, changed: str) -> tuple[dict, str]:
        drawn = rung.tapes

        def few(sample: Sample, *others) -> tuple[Variant, ...]:
            of_kind = {variant.kind: variant for variant in drawn(sample, *others)[::-1]}
            shared = of_kind["changed"]
            [change, *_] = (change for change in shared.changes if change.kind == changed)
            return of_kind["base"], of_kind["spliced"], *take_apart(sample, shared, [change])

        monkeypatch.setattr(rung, "tapes", few)
        words = ["verify", folder, "--track", "demo", "--rung", "probe", "--format", "json", "-q"]
        words += ["--env", "TORCH_COMPILE=never", "--env", "ITERATIONS=20"]
        words += ["--data", demo_data, "--out", tmp_path / "run"]
        result = CliRunner().invoke(cli, list(map(str, words)))
        assert result.stdout, result.output
        verdict = json.loads(result.stdout)
        logs = sorted((tmp_path / "run").glob("**/stdout.log"))
        told = "\n".join((_told(verdict), *(f"{log}\n{log.read_text()[-600:]}" for log in logs)))
        assert "device:cuda" in logs[0].read_text() + logs[-1].read_text(), told
        return verdict, told

    return call


def _told(verdict: dict) -> str:
    """What a failure on a machine that is rarely there must say at once."""
    probe, broken = verdict["probe"], [r for r in verdict["rules"] if r["outcome"] == "broken"]
    said = [f"{verdict['verdict']}: {verdict['because']}"]
    said += [f"{key}: {probe[key]}" for key in ("not_evaluated", "noise_nats", "ledger", "moves")]
    said += [f"{rule['rule']}: {rule['findings']}" for rule in broken]
    said += [f"{m['outcome']}: {m['detail']}" for m in verdict["measurements"]]
    return "\n".join(said)


def test_a_loss_on_a_gpu_is_noted_as_on_a_cpu(tmp_path):
    logits, target = torch.randn(512, 64), torch.randint(64, (512,))
    noted = []
    for device in ("cpu", "cuda"):
        loss = listening(functional.cross_entropy, Record(tmp_path / device))
        there = logits.to(device, torch.bfloat16).requires_grad_()
        with torch.autocast(device, torch.bfloat16):
            loss(there, target.to(device, non_blocking=True)).backward()
        content = bytearray((tmp_path / device).read_bytes()[HEADER.size :])
        noted.append(torch.frombuffer(content, dtype=torch.int32))
    assert torch.equal(noted[0][:512], target.int()) and torch.equal(noted[1][:512], target.int())
    losses = [half[512:].view(torch.float32) for half in noted]
    assert torch.allclose(*losses, atol=1e-5)


def test_the_instrument_hears_the_demos_script_on_a_gpu(climb, tmp_path):
    shutil.copytree(DEMO, folder := tmp_path / "whole")
    (folder / "pgolf.yaml").unlink()
    verdict, told = climb(folder, "flip")
    probe = verdict["probe"]
    assert probe["ledger"] and probe["ledger"]["num_scored"] == probe["num_targets"], told
    assert verdict["verdict"] != "rejected", told


def test_the_demos_script_passes_the_probes_on_a_gpu(climb):
    verdict, told = climb(DEMO, "poison")
    probe = verdict["probe"]
    assert probe["not_evaluated"] is None and verdict["verdict"] != "rejected", told
    assert {"spliced", "poison"} <= {move["kind"] for move in probe["moves"]}, told
    assert probe["noise_nats"] is None or probe["noise_nats"] < 0.05, told
    assert probe["ledger"]["num_scored"] == probe["num_targets"], told
