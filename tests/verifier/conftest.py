"""The command line on a track that runs in a second (tiny_track.py)."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner, Result
from tiny_track import HONEST_SCRIPT, README, TINY_TOKENS, tiny_track, write_shard

from verifier.cli import cli
from verifier.rulebook import rules_folder
from verifier.sandbox.bubblewrap import Bubblewrap
from verifier.schemas.run_record_json import SeedMeasurement

PROGRAM = Path(sys.executable).with_name("pgolf-verify")


DRAWING = ("floor.world", "probe.fresh.assessment", "probe.climb", "probe.sampled", "stream.climb")


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory) -> Path:
    """The demo track's data, made of the text that the project ships, wherever the tests run."""
    out = tmp_path_factory.mktemp("demo")
    build = ("-m", "trainer", "data", "build", "--corpus", "jargon", "--out", out)
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    return out


@pytest.fixture(autouse=True)
def same_draws(monkeypatch):
    """What a rung draws in secret is the same each time: no test passes or fails by luck."""
    numbers = itertools.count()

    def token_hex(num_bytes: int) -> str:
        return hashlib.sha256(b"%d" % next(numbers)).hexdigest()[: 2 * num_bytes]

    for module in DRAWING:
        monkeypatch.setattr(f"verifier.{module}.secrets", SimpleNamespace(token_hex=token_hex))


@pytest.fixture(scope="session")
def rules_parent(tmp_path_factory) -> Path:
    """What to put on the Python path so that the rules there are the installed ones."""
    parent = tmp_path_factory.mktemp("installed")
    shutil.copytree(
        rules_folder(), parent / "rules", ignore=shutil.ignore_patterns("corpora", "__pycache__")
    )
    for_torchrun = tiny_track("tiny_torchrun", memory_bytes=2**31)
    hurried = tiny_track("tiny_hurried", hard_wall_seconds=3)
    for track in (tiny_track(), for_torchrun, hurried):
        (parent / "rules" / "tracks" / f"{track['id']}.yaml").write_text(yaml.safe_dump(track))
    return parent


@pytest.fixture(scope="session")
def probed_once():
    """The sandbox's guarantees as the first run found them; they have their own tests."""
    probe, held = Bubblewrap.guarantees, []

    def guarantees(sandbox: Bubblewrap, scratch: Path):
        held[:] = held or [probe(sandbox, scratch)]
        return held[0]

    return guarantees


@pytest.fixture
def tiny_rules(rules_parent: Path, probed_once, monkeypatch) -> Path:
    """Make this very process see the tiny track."""
    monkeypatch.setattr(Bubblewrap, "guarantees", probed_once)
    monkeypatch.setattr("verifier.commands.ahead.probed_ahead", lambda *_: nullcontext())
    monkeypatch.delitem(sys.modules, "rules", raising=False)
    monkeypatch.syspath_prepend(rules_parent)
    return rules_parent / "rules"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The tiny track's data folder."""
    folder = tmp_path / "data"
    dataset = folder / "datasets" / "tiny_sp64"
    dataset.mkdir(parents=True)
    write_shard(dataset / "fineweb_train_000000.bin", 5_000)
    write_shard(dataset / "fineweb_val_000000.bin", TINY_TOKENS + 1)
    (folder / "tokenizers").mkdir()
    (folder / "tokenizers" / "tiny_64_bpe.model").write_bytes(b"tokenizer")
    return folder


@pytest.fixture
def make_submission(tmp_path: Path):
    """Write a submission folder: a script, a README, and files by name."""

    def make(script: str = HONEST_SCRIPT, files: dict[str, str | bytes] | None = None) -> Path:
        folder = tmp_path / "submission"
        folder.mkdir()
        contents = {"train_gpt.py": script, "README.md": README} | (files or {})
        for name, content in contents.items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(data)
        return folder

    return make


@pytest.fixture
def pgolf(tiny_rules: Path, data: Path, tmp_path: Path):
    """Call the command line within this process, on the tiny track and its data."""

    def call(verb: str, *arguments: str | Path) -> Result:
        words = [verb, *map(str, arguments)]
        if verb in ("verify", "run", "check") and "--track" not in words:
            words += ["--track", "tiny"]
        if verb in ("verify", "run") and "--data" not in words:
            words += ["--data", str(data)]
        if verb in ("verify", "run") and "--out" not in words:
            words += ["--out", str(tmp_path / "out")]
        return CliRunner().invoke(cli, words)

    return call


@pytest.fixture
def start_pgolf(rules_parent: Path, data: Path, tmp_path: Path):
    """Start `pgolf-verify run` on the tiny track as a process of its own."""

    def start(submission: Path, *arguments: str) -> subprocess.Popen[str]:
        words = ["run", str(submission), "--track", "tiny", "--data", str(data)]
        return subprocess.Popen(
            [PROGRAM, *words, "--out", str(tmp_path / "out"), *arguments],
            env=os.environ | {"PYTHONPATH": str(rules_parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def measured(tmp_path: Path):
    """The measurement of one seed below the run directory; without a seed, the only one."""

    def read(seed: int | None = None) -> SeedMeasurement:
        pattern = f"seed_{'*' if seed is None else seed}/measurement.json"
        [path] = (tmp_path / "out").glob(pattern)
        return SeedMeasurement.model_validate(json.loads(path.read_text()))

    return read
