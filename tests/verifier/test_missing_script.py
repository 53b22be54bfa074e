"""Python that neither trains nor scores is no training script."""

from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

TRACK = load_rulebook("non_record_16mb")


@pytest.mark.parametrize(
    "name, code, is_missing",
    [
        ("patch_frontier.py", "text = open('train.txt').read()\n", True),
        ("experiment.py", "print(f'val_bpb:{1.2}')\n", False),  # it prints the score
        ("train_small.py", "import torch\n", False),  # it says that it trains
    ],
)
def test_helpers_alone_are_no_script(tmp_path: Path, name, code, is_missing):
    (tmp_path / name).write_text(code)
    rules = pipeline.audit(tmp_path, TRACK).rules
    record = next(record for record in rules if record.rule == "missing_file")
    told = [finding.message for finding in record.findings]
    assert any("training script" in message for message in told) is is_missing


def test_a_file_that_is_there_and_was_not_read_is_told_with_the_reason(tmp_path: Path):
    (tmp_path / "train_gpt.py").write_text("import torch\n")
    (tmp_path / "README.md").symlink_to(tmp_path / "train_gpt.py")
    (tmp_path / "submission.json").write_text(f'{{"name": "{"x" * 1_100_000}"}}')
    rules = pipeline.audit(tmp_path, TRACK).rules
    record = next(record for record in rules if record.rule == "missing_file")
    told = {finding.file: finding.message for finding in record.findings}
    assert told["README.md"] == (
        "README.md is missing: what is here is a symbolic link; not followed"
    )
    assert "cannot be read as JSON: holds more than" in told["submission.json"]
