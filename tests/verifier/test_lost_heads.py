"""Logs that hold only the end of the script they print: other output lies over its head."""

from pathlib import Path

import pytest

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook
from verifier.schemas.rule_record_json import RuleRecord

BOOK = load_rulebook("10min_16mb")
HEAD = '"""Trains."""\nimport os\nimport sys\nfrom math import pi\n\n'
REST = "".join(f"def layer{n}(x):\n    return {n} * x\n\n\n" for n in range(6))
SCRIPT = HEAD + REST
RULER = "=" * 100
SIZE = len(SCRIPT)


def answer(folder: Path, rule: str, *sources: str, size: int | None = SIZE) -> RuleRecord:
    """Of one log a source: its head is a line of output and the end of a statement."""
    (folder / "train_gpt.py").write_text(SCRIPT)
    for seed, source in enumerate(sources):
        counted = "" if size is None else f"Code size: {size} bytes\n"
        text = f"step:1/2 train_loss:1.0\n    )\n{source}{RULER}\nseed:{seed}\n{counted}"
        (folder / f"run_seed{seed}.log").write_text(
            f"{text}final_a val_loss:2.0 val_bpb:1.2{seed}\n"
        )
    return next(record for record in pipeline.audit(folder, BOOK).rules if record.rule == rule)


@pytest.mark.parametrize(
    ("source", "size", "outcome"),
    [
        (REST, SIZE, Outcome.PASSED),
        (REST, SIZE + 1, Outcome.BROKEN),  # the head that is lost was another
        (REST, None, Outcome.NOT_EVALUATED),
        (SCRIPT, None, Outcome.PASSED),
        ("import json\n" + REST, SIZE, Outcome.BROKEN),  # not lost: it begins otherwise
    ],
)
def test_what_is_left_is_held_against_the_same_part(
    tmp_path: Path, source: str, size: int | None, outcome: Outcome
) -> None:
    record = answer(tmp_path, "script_is_not_the_logged_script", source, size=size)
    assert record.outcome is outcome


def test_a_difference_is_shown_where_it_is(tmp_path: Path) -> None:
    changed = REST.replace("return 3 * x", "return 4 * x")
    (finding,) = answer(tmp_path, "script_is_not_the_logged_script", changed).findings
    shipped_line = SCRIPT.split("\n").index("    return 3 * x") + 1
    assert f"from its line {shipped_line} on" in finding.message
    assert finding.line == changed.split("\n").index("    return 4 * x") + 3


@pytest.mark.parametrize("order", [(SCRIPT, REST), (REST, SCRIPT)])
def test_seeds_are_compared_by_what_both_logs_hold(tmp_path: Path, order: tuple[str, str]) -> None:
    assert not answer(tmp_path, "code_differs_between_seeds", *order).findings
    changed = [source.replace("return 5 * x", "return x") for source in order[:1]]
    (finding,) = answer(tmp_path, "code_differs_between_seeds", *changed, order[1]).findings
    assert "return" in (finding.evidence or "")
