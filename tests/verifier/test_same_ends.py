"""Logs of two seeds that differ on the way and end with one score, beside those that may."""

from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

BOOK = load_rulebook("10min_16mb")
EXACT = "final_exact val_loss:2.81310075 val_bpb:1.66593378"


def num_told(folder: Path, *logs: tuple[int, str]) -> int:
    for n, (seed, final) in enumerate(logs):
        trained = f"step:9/9 val_loss:2.{n}600 val_bpb:1.{n}936 train_time:60002{n}ms step_avg:1ms"
        (folder / f"run{n}.log").write_text(f"seed:{seed}\n{trained}\n{final}\n")
    rules = pipeline.audit(folder, BOOK).rules
    return len(next(rule for rule in rules if rule.rule == "duplicate_seed_logs").findings)


@pytest.mark.parametrize(
    ("seed", "final", "told"),
    [
        (2024, EXACT, 1),
        (2024, EXACT.replace("075 ", "076 "), 0),
        (2024, EXACT.replace("378", "379"), 0),
        (1337, EXACT, 0),  # one seed, evaluated twice
    ],
)
def test_two_seeds_do_not_end_alike_to_eight_digits(
    tmp_path: Path, seed: int, final: str, told: int
) -> None:
    assert num_told(tmp_path, (1337, EXACT), (seed, final)) == told


def test_four_digits_agree_by_chance(tmp_path: Path) -> None:
    short = "final val_loss:2.8131 val_bpb:1.6659"
    assert num_told(tmp_path, (1, short), (2, short)) == 0
