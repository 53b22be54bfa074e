"""Names of logs that count the runs, beside names that say which seed it was."""

from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

TRACK = load_rulebook("10min_16mb")


@pytest.mark.parametrize(
    "seeds_by_name, num_flagged",
    [
        ({1: 1337, 2: 42, 3: 123}, 0),
        ({0: 1337, 1: 42}, 0),
        ({1: 1337, 2: 1337, 3: 123}, 3),  # two are of one seed
        ({0: 1337, 42: 42}, 1),  # the other name is a seed
        ({1: 1337, 3: 42}, 2),
    ],
)
def test_names_that_count_are_no_labels(tmp_path: Path, seeds_by_name, num_flagged):
    for name, seed in seeds_by_name.items():
        log = f"seed:{seed}\nfinal_a_exact val_loss:2.0 val_bpb:1.2{name}\n"
        (tmp_path / f"run_seed{name}.log").write_text(log)
    rules = pipeline.audit(tmp_path, TRACK).rules
    record = next(record for record in rules if record.rule == "seed_label_mismatch")
    assert len(record.findings) == num_flagged
