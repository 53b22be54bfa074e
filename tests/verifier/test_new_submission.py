"""init: what it writes passes the check and runs."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from verifier.cli import cli
from verifier.commands.new_submission import TEMPLATE
from verifier.rulebook import load_rules, rules_folder


@pytest.fixture
def jargon(tmp_path: Path) -> dict[str, str]:
    """A thousand tokens of each split beside the demo track's tokenizer."""
    for split in ("train", "val"):
        header = np.zeros(256, "<i4")
        header[:3] = 20240520, 1, 1000
        tokens = np.random.default_rng(0).integers(0, 1024, 1000, dtype="<u2")
        shard = tmp_path / f"fineweb_{split}_000000.bin"
        shard.write_bytes(header.tobytes() + tokens.tobytes())
    tokenizer = rules_folder() / "corpora/jargon/jargon_1024.model"
    return {"DATA_PATH": str(tmp_path), "TOKENIZER_PATH": str(tokenizer)}


def invoke(*words: str):
    return CliRunner().invoke(cli, list(words))


def test_a_new_folder_passes_the_check_as_it_stands(tmp_path):
    folder = tmp_path / "mine"
    assert invoke("init", str(folder), "--author", "A", "--github-id", "a").exit_code == 0
    checked = invoke("check", str(folder), "--fail-on", "rejected", "--format", "json")
    assert checked.exit_code == 0
    verdict = json.loads(checked.stdout)
    assert verdict["track"] == "demo"
    assert not [rule for rule in verdict["rules"] if rule["outcome"] == "broken"]


def test_it_says_whose_it_is(tmp_path):
    invoke("init", str(tmp_path / "mine"), "--author", "A", "--github-id", "a")
    stated = json.loads((tmp_path / "mine/submission.json").read_text())
    assert (stated["author"], stated["github_id"], stated["name"]) == ("A", "a", "mine")
    assert (tmp_path / "mine/README.md").read_text().startswith("# mine\n")


def test_a_folder_that_exists_is_left_alone(tmp_path):
    result = invoke("init", str(tmp_path))
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "exists; name a folder" in result.stderr


def test_its_logs_are_of_its_own_script():
    size = (TEMPLATE / "train_gpt.py").stat().st_size
    logs = sorted(TEMPLATE.glob("*.log"))
    assert len(logs) == 3
    assert all(f"Code size: {size} bytes" in log.read_text() for log in logs)


def test_its_script_evaluates_what_it_trained(tmp_path, jargon):
    script = TEMPLATE / "train_gpt.py"
    short = tmp_path / "train_gpt.py"
    short.write_text(script.read_text().replace("= 24, 200, 2048, 1.0", "= 24, 3, 64, 1.0"))
    environment = os.environ | jargon | {"SEED": "1", "OMP_NUM_THREADS": "1"}
    scores = []
    for words in ([], ["evaluate"]):
        command = [sys.executable, "train_gpt.py", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        scores.append(done.stdout.splitlines()[-1].split(" eval_time")[0])
    assert scores[0] == scores[1] and "val_bpb:" in scores[0]


def test_every_rule_says_how_to_mend_it():
    rules = load_rules()
    assert len(rules) > 40
    assert not [name for name, rule in rules.items() if len(rule.mend) < 20]


@pytest.mark.parametrize("form", ["text", "json", "junit", "markdown", "html", "sarif"])
def test_a_broken_rule_is_told_with_its_mend(tmp_path, form):
    invoke("init", str(tmp_path / "mine"))
    (tmp_path / "mine/README.md").unlink()
    told = invoke("check", str(tmp_path / "mine"), "--format", form).stdout
    assert "Add the file, or repair it" in told.replace("\\", "")


def test_the_deciding_command_can_be_pasted(tmp_path):
    invoke("init", str(tmp_path / "it's $(touch pwned)"))
    verdict = json.loads(
        invoke("check", str(tmp_path / "it's $(touch pwned)"), "--format", "json").stdout
    )
    words = shlex.split(verdict["next_command"])
    assert words[1] == str(tmp_path / "it's $(touch pwned)")
