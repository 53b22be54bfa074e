"""The page's example: by itself over pipes, and through the whole rung on a track of seconds."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from stream_text import CONTRACT, example, text, write_tokens
from tiny_track import tiny_track

from verifier.cli import cli
from verifier.stream.channel import open_channel
from verifier.stream.predictor import Patience, Predictor
from verifier.stream.session import PIPES

AMOUNTS = {
    "targets": 10_000,
    "piece_targets": 1_000,
    "first_answer_seconds": 120,
    "answer_seconds": 60,
    "most_seconds": 600,
}
RULES = ("failed_run", "streamed_score_differs", "below_own_entropy")


@pytest.fixture
def text_data(data: Path) -> Path:
    """The tiny track's folder with text in it."""
    for name, seed in (("train", 0), ("val", 1)):
        write_tokens(data / "datasets" / "tiny_sp64" / f"fineweb_{name}_000000.bin", text(seed))
    return data


@pytest.fixture
def start(text_data: Path, tmp_path: Path):
    """Start a script's verb in a folder of its own, as an ordinary process."""
    folder = tmp_path / "alone"
    folder.mkdir()
    environment = os.environ | PIPES | {"DATA_PATH": str(text_data / "datasets" / "tiny_sp64")}

    def call(script: str, verb: str) -> subprocess.Popen[bytes]:
        (folder / "train_gpt.py").write_text(script)
        command = [sys.executable, "train_gpt.py", verb]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)

    return call


@pytest.fixture
def hold(start, tmp_path: Path):
    """Talk to the page's example, or to it with a part replaced; gives what `talk` gives."""
    assert start(example(), "train").wait() == 0

    def call(talk, old: str = "", new: str = "", answer_seconds: float = 60):
        assert not old or example().count(old) == 1, old
        with open_channel(tmp_path / "alone") as channel, ThreadPoolExecutor(1) as pool:
            process = start(example().replace(old, new) if old else example(), "stream")
            patience = Patience(first_seconds=120, answer_seconds=answer_seconds)
            predictor = Predictor(channel=channel, patience=patience, smallest_vocabulary=64)
            talked = pool.submit(talk, predictor)
            while not wait([talked], 0.02).done:
                if process.poll() is not None:
                    channel.has_ended.set()
            process.kill()
            process.wait()
        for path in (tmp_path / "alone").glob(".pgolf*"):
            path.unlink()
        return talked.result()

    return call


def stream_track() -> dict:
    track = tiny_track(hard_wall_seconds=600, memory_bytes=2**31)
    amounts = {n: {"value": v, "unit": "x", "source": "test"} for n, v in AMOUNTS.items()}
    targets = len(text(1)) - 1
    family = {"tokenizer": "tiny", "scored_tokens": targets, "scored_bytes": 2 * targets}
    return track | {
        "id": "stream_tiny",
        "stream": amounts,
        "dataset": track["dataset"] | {"families": [family | {"source": "test"}]},
        "rules": dict.fromkeys(RULES, "reject"),
    }


@pytest.fixture
def climb(tiny_rules: Path, text_data: Path, make_submission, tmp_path: Path):
    """Run the rung on one seed of the example with a part replaced; gives the verdict."""
    (tiny_rules / "tracks" / "stream_tiny.yaml").write_text(yaml.safe_dump(stream_track()))

    def call(old: str = "", new: str = "", contract: dict | None = None) -> dict:
        assert not old or example().count(old) == 1, old
        script = example().replace(old, new) if old else example()
        files = {"pgolf.yaml": yaml.safe_dump(CONTRACT if contract is None else contract)}
        submission = make_submission(script, files)
        words = ["verify", submission, "--track", "stream_tiny", "--rung", "stream"]
        words += ["--data", text_data, "--out", tmp_path / "out", "--seeds", "1"]
        words += ["--format", "json", "-q"]
        result = CliRunner().invoke(cli, list(map(str, words)))
        assert result.stdout, result.output
        return json.loads(result.stdout)

    return call
