"""Evidence rules without evidence: what the logs' own figures break under each convention."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook
from verifier.schemas.rule_record_json import RuleRecord

BOOK = load_rulebook("10min_16mb")
LOG = """seed:1
step:9/20000 train_loss:2.0 train_time:590000ms step_avg:1ms
stopping_early: wallclock_cap train_time:{loop_ms}ms step:9/20000
{calibration}
Serialize: per-group compression done in 97.8s
Serialized model int8+zlib: 15900000 bytes (payload:1 raw_torch:1 payload_ratio:1x)
Code size: 30000 bytes
Total submission size int8+zlib: 15930000 bytes
Deserialize: per-group decompression done in 18.2s
ttt_lora:compile warmup done (156.2s)
final_a_exact val_loss:2.0 val_bpb:1.20000000 eval_time:519500ms
"""


def outcome(folder: Path, rule: str, **conventions: str) -> RuleRecord:
    profile = BOOK.profile("leaderboard-apr29").model_copy(update=conventions)
    book = replace(BOOK, profiles={profile.id: profile})
    rules = pipeline.check(folder, book, profile.id, None).rules
    return next(record for record in rules if record.rule == rule)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train_gpt.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("#" * 120_000)
    (tmp_path / "train_seed1.log").write_text(LOG.format(loop_ms=590000, calibration=""))
    return tmp_path


@pytest.mark.parametrize(("clock", "broken"), [("loop", False), ("everything", True)])
def test_packing_counts_as_training_where_everything_counts(folder, clock, broken):
    record = outcome(folder, "overlong_training", clock=clock)
    assert bool(record.findings) == broken


@pytest.mark.parametrize(("clock", "broken"), [("loop", False), ("everything", True)])
def test_warm_up_and_loading_count_as_evaluation_where_everything_counts(folder, clock, broken):
    record = outcome(folder, "overlong_evaluation", clock=clock)
    assert bool(record.findings) == broken


@pytest.mark.parametrize("byte_count", ["literal", "every_file_opened"])
def test_helpers_count_where_shipped_code_counts(folder, byte_count):
    assert (
        "16,020,014 bytes"
        in outcome(folder, "oversized_artifact", byte_count=byte_count).findings[0].message
    )
    assert not outcome(folder, "oversized_artifact", byte_count="as_logged").findings


@pytest.mark.parametrize(
    ("clock", "loop_ms", "broken"),
    [("loop", 600050, False), ("loop_plus_calibration", 600050, True)]
    + [("loop_plus_calibration", 590000, False)],
)
def test_untimed_calibration_after_a_full_loop_is_over_time(folder, clock, loop_ms, broken):
    text = LOG.format(loop_ms=loop_ms, calibration="gptq:calibrating with training data...")
    (folder / "train_seed1.log").write_text(text)
    assert bool(outcome(folder, "overlong_training", clock=clock).findings) == broken


@pytest.mark.parametrize(("stated", "is_binary"), [(16_500_000, True), (17_000_000, False)])
def test_a_stated_size_counts_where_no_log_gives_one(folder, stated, is_binary):
    (folder / "train_seed1.log").unlink()
    (folder / "submission.json").write_text(f'{{"bytes_total": {stated}}}')
    (finding,) = outcome(folder, "oversized_artifact").findings
    assert ("below 16 MiB" in finding.message) == is_binary


def test_stated_seeds_are_judged_where_there_is_no_log(folder):
    (folder / "train_seed1.log").unlink()
    (folder / "submission.json").write_text(
        '{"seed_results": {"42": {"val_bpb": 1.1, "eval_time_s": 617, "train_time_s": 899}}}'
    )
    assert outcome(folder, "overlong_evaluation").findings[0].file == "submission.json"
    assert outcome(folder, "overlong_training").findings[0].file == "submission.json"


def test_a_time_stated_for_the_whole_counts_where_there_is_no_log(folder):
    (folder / "train_seed1.log").unlink()
    (folder / "submission.json").write_text('{"val_bpb": 1.1, "training_time_seconds": 2145}')
    assert "2145.0 s" in outcome(folder, "overlong_training").findings[0].message


def test_a_logged_total_counts_without_a_logged_model(folder):
    text = LOG.format(loop_ms=590000, calibration="").replace("15930000", "16930000")
    lines = [line for line in text.split("\n") if not line.startswith("Serialized model")]
    (folder / "train_seed1.log").write_text("\n".join(lines))
    assert "16,930,000" in outcome(folder, "oversized_artifact").findings[0].message


@pytest.mark.parametrize(("helper_bytes", "broken"), [(100_001, True), (20_000, False)])
def test_a_script_packed_after_the_run_counts_as_it_is_shipped(folder, helper_bytes, broken):
    text = LOG.format(loop_ms=590000, calibration="").replace("15930000", "16030000")
    (folder / "train_seed1.log").write_text(text)
    (folder / "helper.py").write_text("#" * helper_bytes)
    assert bool(outcome(folder, "oversized_artifact").findings) == broken


@pytest.mark.parametrize(("bpb", "broken"), [(1.2, True), (1.21, False)])
def test_the_size_of_another_packing_is_held_against_the_stated_one_alone(folder, bpb, broken):
    text = LOG.format(loop_ms=590000, calibration="").replace("15930000", "16930000")
    (folder / "train_seed1.log").write_text(text)
    stated = {"val_bpb": bpb, "bytes_total": 15_990_000}
    (folder / "submission.json").write_text(json.dumps(stated))
    assert bool(outcome(folder, "oversized_artifact").findings) == broken
    assert outcome(folder, "claim_contradicts_log").findings


@pytest.mark.parametrize(
    ("line", "carried"),
    [("mixed 8 bytes, bpb=1.100000", True), ("windows 3/9 running_bpb=1.100000", False)],
)
def test_a_log_that_gives_the_claim_in_its_own_words_contradicts_nothing(folder, line, carried):
    log = folder / "train_seed1.log"
    log.write_text(line + "\n" + log.read_text())
    (folder / "submission.json").write_text('{"val_bpb": 1.1}')
    assert bool(outcome(folder, "claim_contradicts_log").findings) != carried


@pytest.mark.parametrize(
    ("lines", "carried"),
    [
        (["own_eval val_bpb:1.1010", "own_eval val_bpb:1.0990"], True),
        (["own_eval val_bpb:1.1010", "own_eval val_bpb:1.1005 val_bpb:1.0990"], False),
        (["own_eval val_bpb:1.1010", "diagnostic own_eval val_bpb:1.0990"], False),
        (["windows 3/9 bpb:1.1010", "windows 3/9 bpb:1.0990"], False),
        (["own_eval val_bpb:1.1020", "own_eval val_bpb:1.0990"], False),
    ],
    ids=["mean", "two figures on a line", "other words", "in passing", "another mean"],
)
def test_a_mean_over_logs_is_carried_where_each_gives_its_part_in_the_same_words(
    folder, lines, carried
):
    text = (folder / "train_seed1.log").read_text()
    for seed, line in enumerate(lines, start=1):
        log = text.replace("seed:1", f"seed:{seed}", 1)
        (folder / f"train_seed{seed}.log").write_text(f"{line}\n{log}")
    (folder / "submission.json").write_text('{"val_bpb": 1.1}')
    assert bool(outcome(folder, "claim_contradicts_log").findings) != carried


@pytest.mark.parametrize(
    ("val_bpb", "outcome_"), [(1.1918, "passed"), (1.0212, "broken"), (1.12, "not_evaluated")]
)
def test_a_pair_that_submission_json_alone_states_is_held_against_the_bytes(
    tmp_path, val_bpb, outcome_
):
    (tmp_path / "train_seed1.log").write_text("seed:1\nval_tokens:62021632\n")
    (tmp_path / "submission.json").write_text(json.dumps({"val_loss": 2.0123, "val_bpb": val_bpb}))
    record = outcome(tmp_path, "wrong_byte_denominator")
    assert record.outcome == outcome_
    assert all(finding.file == "submission.json" for finding in record.findings)


@pytest.mark.parametrize(
    ("hardware", "outcome_"),
    [
        ("8xH100 80GB SXM", "not_evaluated"),
        ("NVIDIA H100 SXM", "not_evaluated"),
        ("1x H100", "broken"),
        ("RTX A6000", "broken"),
    ],
)
def test_stated_hardware_counts_where_no_log_prints_its_world_size(folder, hardware, outcome_):
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2, "hardware": hardware}))
    assert outcome(folder, "wrong_hardware").outcome == outcome_


def test_a_script_that_is_no_python_is_listed_as_unread(folder):
    (folder / "train_gpt.py").write_text("!pip install torch\nimport torch")
    unread = pipeline.check(folder, BOOK, "leaderboard-apr29", None).unread
    assert [line for line in unread if line.startswith("train_gpt.py: does not parse as Python")]


@pytest.mark.parametrize(
    ("metadata", "broken"),
    [
        ({"val_bpb": 1.2, "seed_results": {"1": {"val_bpb": 1.1}}}, False),
        ({"val_bpb": 1.25}, False),
        ({"seed_results": {"1": {"val_bpb": 1.25}}}, False),
        ({"val_bpb": 1.1, "seed_results": {"1": {"val_bpb": 1.1}}}, True),
    ],
    ids=["headline borne out", "modest headline", "modest seed", "better than any log"],
)
def test_only_a_claim_better_than_the_logs_contradicts_them(folder, metadata, broken):
    (folder / "submission.json").write_text(json.dumps(metadata))
    assert bool(outcome(folder, "claim_contradicts_log").findings) == broken


@pytest.mark.parametrize(("steps", "broken"), [(6000, True), (300, False), (3, True)])
def test_a_slow_last_step_may_end_behind_the_budget(folder, steps, broken):
    text = LOG.format(loop_ms=601_500, calibration="").replace("9/20000", f"{steps}/20000")
    (folder / "train_seed1.log").write_text(text)
    assert bool(outcome(folder, "overlong_training").findings) == broken


@pytest.mark.parametrize(
    ("end", "broken"),
    [
        ("", True),
        ("final_int8_roundtrip_exact val_loss:2.0 val_bpb:1.1787\n", False),
        ("diagnostic quantized val_loss:2.0 val_bpb:1.1787\n", False),
    ],
)
def test_a_log_that_ends_behind_training_scores_no_artifact(folder, end, broken):
    (folder / "submission.json").write_text('{"val_bpb": 1.1787}')
    trained = "seed:1\nstep:9/90 val_loss:2.0 val_bpb:1.1787 train_time:600033ms step_avg:1ms\n"
    (folder / "train_seed1.log").write_text(trained + end)
    record = outcome(folder, "diagnostic_taken_for_score")
    assert bool(record.findings) == broken


@pytest.mark.parametrize(
    ("readme", "broken"),
    [
        ("**val_bpb = 1.1747** (stride 64)", True),
        ("- **Sliding window BPB: 1.1790**", True),  # half a thousandth off is no rounding
        ("**val_bpb = 1.1747**, later packed to 1.1787", False),
        ("- **Sliding window BPB: 1.179**", False),
        ("| **Packed BPB** | **1.17871234** |", False),
        ("**running val_bpb = 1.1747** after 200 chunks, **val_loss:1.9747** of BPB", False),
        ("**EMA 1.1747** and **BPB -1.1747**", False),  # neither is a score
        ("Best of five trials: 1.1747 BPB", False),  # nothing sets it out as the score
    ],
)
def test_a_readme_that_states_another_score_and_not_the_claimed_one(folder, readme, broken):
    (folder / "submission.json").write_text('{"val_bpb": 1.1787}')
    (folder / "README.md").write_text(f"# A run\n\n{readme}\n")
    assert bool(outcome(folder, "claims_disagree").findings) == broken


TABLE = "| run | seed | BPB |\n|---|---|---|\n| a | 1 | 1.1790 |\n| b | **2** | 1.1784 |\n"


@pytest.mark.parametrize(
    ("readme", "broken"),
    [
        (TABLE, True),
        (TABLE.replace("seed |", "warm-up |"), False),
        (TABLE.replace("BPB", "seconds"), False),
        (TABLE.replace("1.1784", "pending"), False),  # nothing is claimed of it
        (TABLE.replace("**2**", "1"), False),  # a grid of settings, not of seeds
        (TABLE.replace("| 1 |", "| 3 |"), False),  # numbered runs: no log's seeds
        (f"{TABLE.replace('**2**', '7')}\nBefore:\n{TABLE}", True),
        (f"{TABLE.replace('| b | **2** | 1.1784 |', '')}\nBefore:\n{TABLE}", False),
    ],
)
def test_a_seed_that_the_readme_s_table_alone_lists_has_a_log(folder, readme, broken):
    (folder / "submission.json").write_text('{"val_bpb": 1.1787}')
    (folder / "README.md").write_text(f"# A run\n\n{readme}")
    for seed in (2, 3):
        (folder / f"train_seed{seed}.log").unlink(missing_ok=True)
    assert bool(outcome(folder, "missing_seed_log").findings) == broken


GAP = "quant_gap: 0.0136 BPB (pre:1.1787 post:1.1923)\n"


@pytest.mark.parametrize(
    ("said", "broken"),
    [
        ("roundtrip: vq K=1024 val_bpb_before=1.1787 val_bpb_after=1.1923 delta=+0.0136\n", True),
        ("RUN_SUMMARY: steps=9 pre_quant_bpb=1.1787 post_quant_bpb=1.1923\n", True),
        (GAP, True),
        (GAP.replace("1.1923", "1.1785"), False),  # packing cost nothing
        (GAP.replace("1.1787", "1.1700"), False),  # another score
        ("ttt: bpb (pre:1.1787 post:1.1923)\n", False),  # nothing is packed here
        (GAP + "final_int6_roundtrip val_loss:2.0 val_bpb:1.1787\n", False),
    ],
)
def test_a_score_before_packing_is_none_of_the_artifact(folder, said, broken):
    (folder / "submission.json").write_text('{"val_bpb": 1.17871}')
    text = f"seed:1\nstep:9/90 train_loss:2.0 train_time:600033ms\n{said}val_bpb: 1.17871\n"
    (folder / "train_seed1.log").write_text(text)
    assert bool(outcome(folder, "diagnostic_taken_for_score").findings) == broken


def test_the_score_of_loaded_weights_is_one_of_the_artifact(folder):
    (folder / "submission.json").write_text('{"val_bpb": 1.1787}')
    (folder / "train_seed1.log").write_text("seed:1\nstep:0/90 val_loss:2.0 val_bpb:1.1787\n")
    assert not outcome(folder, "diagnostic_taken_for_score").findings
