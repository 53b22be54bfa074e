"""Probes of the small predictor of scored_script.py, in this process or through the whole rung."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scored_script
import yaml
from click.testing import CliRunner
from tiny_track import tiny_track

from verifier.cli import cli
from verifier.floor.world import World, WorldSize, draw_world, write_world
from verifier.probe.asking import ask
from verifier.probe.climb import tapes
from verifier.probe.scored import Scored
from verifier.probe.tapes.variants import Variant, choose_sample
from verifier.schemas.probe_record_json import ProbeRecord

SCRIPT = Path(scored_script.__file__).read_text()
RULES = (
    *("future_token_dependence", "unnormalized_distribution", "unscored_tokens", "carried_state"),
    *("update_before_score", "rescored_tokens", "remembered_validation", "shared_documents"),
    *("easier_than_fresh", "untrue_bytes", "foreseen_canaries", "remembered_order"),
)
WORLD_SECRET = "5eed"
DIVIDED = "train: python train_gpt.py train\nevaluate: python train_gpt.py evaluate\n"
CONTRACT = DIVIDED + "artifact: [model.npy]\n"


@pytest.fixture(scope="session")
def world() -> World:
    """Text whose words hang on those before, so that looking ahead tells something.

    The same each time: what a probe sees of a leak hangs on where it happens to look.
    """
    size = WorldSize(
        source="markov",
        vocab_size=300,
        document_tokens=400,
        training_tokens=60_000,
        num_targets=15_360,
    )
    return draw_world(size, WORLD_SECRET)


@pytest.fixture(scope="session")
def pairs(world: World) -> np.ndarray:
    counts = np.zeros((scored_script.VOCABULARY, scored_script.VOCABULARY))
    np.add.at(counts, (world.training[:-1], world.training[1:]), 1)
    return counts


@pytest.fixture(scope="session")
def assessed(world: World, pairs: np.ndarray):
    """Probe a way of scoring within this process; gives the record."""

    @cache
    def call(mode: str, secret: int = 1, promise: str | None = "alone") -> ProbeRecord:
        def score(variant: Variant) -> Scored:
            tape = variant.tokens.astype(np.int64)
            model = scored_script.Model(pairs.copy())
            losses = -np.log(scored_script.WAYS[mode](model, tape[:-1], tape[1:]))
            return Scored(losses=losses.astype(np.float32), detail="exit code 0", wall_seconds=1.0)

        rng = np.random.default_rng(secret)
        sample = choose_sample(world.tape.tokens, 65_537, rng)
        planned = tapes(sample, world.training, rng, promise)
        return ask(sample, planned, score, f"{secret:x}")

    return call


@pytest.fixture
def probed(world: World, tiny_rules: Path, make_submission, tmp_path: Path):
    """Climb the rung with a script, in the sandbox; gives the verdict."""
    limits = {"hard_wall_seconds": 600, "memory_bytes": 2**31, "scratch_bytes": 2**26}
    track = tiny_track("probe_tiny", **limits) | {"rules": dict.fromkeys(RULES, "reject")}
    (tiny_rules / "tracks" / "probe_tiny.yaml").write_text(yaml.safe_dump(track))
    write_world(world, tmp_path / "world")

    def call(script: str, contract: str = CONTRACT, options=("--rung", "probe"), **files) -> dict:
        files |= {"pgolf.yaml": contract} if contract else {}
        submission = make_submission(script, files)
        words = ["verify", submission, "--track", "probe_tiny", *options, "-q"]
        words += ["--data", tmp_path / "world", "--out", tmp_path / "out", "--format", "json"]
        result = CliRunner().invoke(cli, list(map(str, words)))
        assert result.stdout, result.output
        return json.loads(result.stdout)

    return call


@pytest.fixture
def probed_mode(probed):
    """Climb the rung with the small predictor, scored in the given way."""

    def call(mode: str, contract: str = CONTRACT, *options, **files) -> dict:
        script = SCRIPT.replace('MODE = "plain"', f'MODE = "{mode}"', 1)
        return probed(script, contract, options or ("--rung", "probe"), **files)

    return call
