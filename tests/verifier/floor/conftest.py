"""A track with a floor that takes two seconds, and a submission of one script on it."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tiny_track import tiny_track

from verifier.cli import cli

TAPE_SCRIPT = Path(__file__).with_name("tape_script.py").read_text()
RULES = ("failed_run", "below_entropy_floor", "dropped_tokens", "miscounted_bytes")
AMOUNTS = {
    "train_minutes": 0.1,
    "other_seconds": 60,
    "vocab_size": 300,
    "document_tokens": 300,
    "training_tokens": 200_000,
    "validation_tokens": 15_360,
    "tolerance_nats": 1e-4,
}


def floor_track() -> dict:
    track = tiny_track()
    amounts = {n: {"value": v, "unit": "x", "source": "test"} for n, v in AMOUNTS.items()}
    track["limits"]["memory_bytes"]["value"] = 2**32
    return track | {
        "id": "floor_tiny",
        "floor": {"source": "zipf", "environment": {}} | amounts,
        "rules": dict.fromkeys(RULES, "reject"),
    }


@pytest.fixture
def climb(tiny_rules: Path, make_submission, tmp_path: Path):
    """Run the rung on a script, which writes its losses; gives the verdict."""
    track = tiny_rules / "tracks" / "floor_tiny.yaml"
    track.write_text(yaml.safe_dump(floor_track()))

    def call(script: str, *arguments: str) -> dict:
        submission = make_submission(script, {"pgolf.yaml": "contract: 1"})
        words = ["verify", submission, "--track", "floor_tiny", "--rung", "floor"]
        words += ["--out", tmp_path / "out", "--format", "json", "-q", *arguments]
        result = CliRunner().invoke(cli, list(map(str, words)))
        assert result.stdout, result.output
        return json.loads(result.stdout)

    return call


@pytest.fixture
def scored(climb):
    """Run the rung on the small predictor, scored in the given way."""

    def call(mode: str) -> dict:
        return climb(TAPE_SCRIPT.replace('"plain"', f'"{mode}"', 1))

    return call
