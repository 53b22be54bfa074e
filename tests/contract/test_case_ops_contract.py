"""A submission with case operators among documents that nobody was shown, honest and not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from verifier.probe.scoring import write_shard
from verifier.rulebook import rules_folder
from verifier.track_data import HEADER_BYTES

BIN = Path(sys.executable).parent
SIDECAR = "data/datasets/ops/fineweb_val_bytes_000000.bin"
COUNTED = "return int(read_token_bytes(recipe.run.data_path)[1 : tokens.size].sum(dtype=np.int64))"
OPERATORS = " + 3 * int(np.isin(tokens[1:], range(4, 8)).sum())  # as UTF-8 has them"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """Data with case operators, a submission trained for 30 steps, and a track without pins."""
    folder = tmp_path_factory.mktemp("ops")
    corpus = rules_folder() / "corpora" / "jargon"
    lines = (corpus / "documents_val.jsonl").read_text().splitlines(keepends=True)
    (folder / "val.jsonl").write_text("".join(lines[::2]))
    (folder / "fresh.jsonl").write_text("".join(lines[1::2]))
    shutil.copytree(rules_folder(), folder / "site" / "rules")
    track = folder / "site" / "rules" / "tracks" / "demo.yaml"
    told = yaml.safe_load(track.read_text())
    told["dataset"]["pins"] = []
    track.write_text(yaml.safe_dump(told))
    source = (str(corpus / "documents_train.jsonl"), "--val", "val.jsonl", "--name", "ops")
    call(folder, "pgolf-train", "data", "build", *source, "--case-ops", "--out", "data")
    changes = ("CASEOPS_ENABLED=1", "ITERATIONS=30", "WARMDOWN_ITERS=10", "NUM_LAYERS=1")
    words = [part for change in changes for part in ("--set", change)]
    call(folder, "pgolf-train", "demo", "--data", "data", "--untrained", "--out", "sub", *words)
    return folder


def call(folder: Path, *words: str) -> str:
    path = {"PYTHONPATH": str(folder / "site"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [BIN / words[0], *words[1:]], cwd=folder, check=False, capture_output=True, text=True,
        env=path,
    ).stdout  # fmt: skip


def judged(folder: Path) -> tuple[dict[str, str], dict]:
    words = ("--track", "demo", "--rung", "rehearsal", "--num-seeds", "1", "--format", "json")
    fresh = ("--fresh", "fresh.jsonl", "--out", "run")
    shutil.rmtree(folder / "run", ignore_errors=True)
    told = call(folder, "pgolf-verify", "verify", "sub", "--data", "data", *words, *fresh)
    verdict = json.loads(told)
    return {r["rule"]: r["outcome"] for r in verdict["rules"]}, verdict["fresh"]


@pytest.mark.slow
def test_an_honest_one_passes_and_its_bytes_are_those_of_the_original_text(workplace):
    outcomes, fresh = judged(workplace)
    assert outcomes["untrue_bytes"] == outcomes["easier_than_fresh"] == "passed"
    assert fresh["transform"] == "CaseOps" and fresh["num_fresh"] > 70
    assert fresh["implied_bytes_low"] == pytest.approx(fresh["text_bytes_low"], abs=2)


@pytest.mark.slow
def test_a_sidecar_with_a_byte_too_many_at_every_twentieth_token_is_found(workplace):
    place = workplace / SIDECAR
    honest = place.read_bytes()
    sizes = np.fromfile(place, dtype="<u2", offset=HEADER_BYTES)
    sizes[::20] += 1
    write_shard(place, sizes)
    outcomes, fresh = judged(workplace)
    place.write_bytes(honest)
    assert outcomes["untrue_bytes"] == "broken"
    assert fresh["sidecar_bytes"] > 1.01 * fresh["sidecar_text_bytes"]


@pytest.mark.slow
def test_a_script_that_counts_the_operators_is_found(workplace):
    script = workplace / "sub" / "train_gpt.py"
    honest = script.read_text()
    assert honest.count(COUNTED) == 1
    script.write_text(honest.replace(COUNTED, COUNTED + OPERATORS))
    outcomes, fresh = judged(workplace)
    script.write_text(honest)
    assert outcomes["untrue_bytes"] == "broken"
    assert fresh["implied_bytes_low"] > 1.05 * fresh["text_bytes_high"]
