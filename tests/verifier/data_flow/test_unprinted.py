"""Logs of other code: nothing that is read off the shipped script is an answer then."""

import shutil
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.data_flow import unprinted
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook

CASES = Path(__file__).parents[1] / "rule_cases" / "log_of_another_script"


def reason(case: str) -> str:
    records = pipeline.audit(CASES / case, load_rulebook("10min_16mb")).rules
    return next(record.reason or "" for record in records if record.rule == "train_then_score")


@pytest.mark.parametrize(("case", "is_other_code"), [("flagged", True), ("clean", False)])
def test_conditions_are_answered_for_the_code_that_ran_alone(
    case: str, is_other_code: bool
) -> None:
    assert ("which no shipped code does" in reason(case)) == is_other_code


def test_texts_of_many_holes_are_held_against_a_line_at_once(tmp_path: Path) -> None:
    """A regular expression of so many holes would not come to an end."""
    folder = shutil.copytree(CASES / "flagged", tmp_path / "submission")
    with (folder / "train_gpt.py").open("a") as script:
        script.write(f'\nhole = ""\nprint(f"{"{hole}" * 12}never printed")\n')
    rules = pipeline.audit(folder, load_rulebook("10min_16mb")).rules
    (record,) = (record for record in rules if record.rule == "log_of_another_script")
    assert record.outcome is Outcome.BROKEN


def test_what_the_script_never_reaches_is_parsed_only_where_its_words_do_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(CASES / "clean", tmp_path / "submission")
    (folder / "aside.py").write_text("print('nothing of the run')\n")
    parsed: list[str] = []
    read = unprinted.read_module
    monkeypatch.setattr(
        unprinted, "read_module", lambda file: parsed.append(str(file.path)) or read(file)
    )
    script = folder / "train_gpt.py"
    code = script.read_text()
    final = "final_int8_zlib_roundtrip"
    script.write_text(f"{code}# packing_zlib {final} {final}_exact\n")
    pipeline.audit(folder, load_rulebook("10min_16mb"))
    assert parsed == []
    script.write_text(code)  # the labels are composed in it: no word of its text
    pipeline.audit(folder, load_rulebook("10min_16mb"))
    assert parsed == ["aside.py"]
